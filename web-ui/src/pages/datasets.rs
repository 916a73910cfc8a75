//! The catalogue of datasets, and a page for each.

use super::{Page, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::failure::Failure;
use crate::words::{self, Cursor, Markup, bytes, plural};
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use orchestrator::dataset::{DatasetName, Scheme};
use orchestrator::figures::exact;
use orchestrator::store::{DatasetVersion, Store, Toucher};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Versions on one page.
const PAGE: usize = 25;
/// Rows of a table that are shown.
const FIRST_ROWS: usize = 20;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CatalogueQuery {
    kind: String,
    q: String,
}

#[derive(Template)]
#[template(path = "datasets.html")]
struct Catalogue {
    chrome: Chrome,
    count: usize,
    rows: Vec<Entry>,
    kinds: Vec<(&'static str, bool)>,
    q: String,
    is_filtered: bool,
}

struct Entry {
    scheme: String,
    name: String,
    href: String,
    rows: String,
    size: String,
    version: String,
    written: String,
    task: String,
    run: String,
}

pub async fn catalogue(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Query(query): Query<CatalogueQuery>,
) -> Page {
    let taste = Taste::of(&headers);
    site.ask(move |site, store| {
        let chrome = site.chrome(Section::Datasets, taste);
        let all = store.newest_versions()?;
        let wanted = query.q.trim().to_lowercase();
        let fits = |version: &&DatasetVersion| {
            let scheme = version.dataset.split(':').next().unwrap_or_default();
            (query.kind.is_empty() || scheme == query.kind)
                && version.dataset.to_lowercase().contains(&wanted)
        };
        let entry = |version: &DatasetVersion| {
            let (scheme, name) = version.dataset.split_once(':').unwrap_or_default();
            Entry {
                scheme: scheme.to_owned(),
                name: name.to_owned(),
                href: href(&version.dataset),
                rows: exact(version.rows),
                size: bytes(version.bytes),
                version: version.version.map(|v| v.to_string()).unwrap_or_default(),
                written: chrome.clock.when(version.at),
                task: version.task.clone(),
                run: version.run.clone(),
            }
        };
        let known = Scheme::ALL.map(Scheme::as_str);
        render(&Catalogue {
            count: all.len(),
            rows: all.iter().filter(fits).map(entry).collect(),
            kinds: known.into_iter().map(|kind| (kind, kind == query.kind)).collect(),
            is_filtered: !query.kind.is_empty() || !wanted.is_empty(),
            q: query.q,
            chrome,
        })
    })
    .await
}

/// The page of a dataset, whose name needs no encoding.
pub fn href(dataset: &str) -> String {
    format!("/datasets/{dataset}")
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DatasetQuery {
    /// Only versions older than this: a [`Cursor`].
    before: String,
    /// Whether the first rows are to be shown: not empty.
    rows: String,
}

#[derive(Template)]
#[template(path = "dataset.html")]
struct DatasetPage {
    chrome: Chrome,
    scheme: &'static str,
    name: String,
    answer: Markup,
    facts: Vec<(&'static str, String, String)>,
    versions: Vec<Version>,
    older: Option<String>,
    columns: Vec<(String, String)>,
    /// Where the first rows are asked for, of a table.
    ask_rows: Option<String>,
    rows: Option<Result<Rows, String>>,
    dashboard: Option<String>,
}

/// The first rows of a table.
struct Rows {
    /// Names, and whether they hold numbers.
    columns: Vec<(String, bool)>,
    /// Cells; `None` is an empty one.
    rows: Vec<Vec<Option<String>>>,
}

struct Version {
    version: String,
    written: String,
    rows: String,
    size: String,
    task: String,
    run: String,
}

pub async fn page(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(query): Query<DatasetQuery>,
) -> Page {
    let taste = Taste::of(&headers);
    site.ask(move |site, store| render(&view(site, store, &name, &query, taste)?)).await
}

fn view(
    site: &Site,
    store: &mut Store,
    name: &str,
    query: &DatasetQuery,
    taste: Taste,
) -> Result<DatasetPage, Failure> {
    let mut chrome = site.chrome(Section::Datasets, taste);
    // Rows are asked for once, not at every event.
    chrome.is_live = query.rows.is_empty();
    let clock = &chrome.clock;
    let dataset: DatasetName = name.parse().map_err(|_| Failure::not_found("dataset", name))?;
    let newest = store.versions_of(&dataset, None, 1)?.pop();
    let Some(newest) = newest else {
        return Err(Failure::not_found("dataset that a run has written, named", name));
    };
    let before = Cursor::parse(&query.before);
    let before = before.as_ref().map(|cursor| (cursor.at, cursor.run.as_str()));
    let mut versions = store.versions_of(&dataset, before, PAGE + 1)?;
    let has_older = versions.len() > PAGE;
    versions.truncate(PAGE);
    let older = versions.last().filter(|_| has_older).map(|last| {
        format!("{}?before={}#versions", href(name), Cursor::after(last.at, &last.run))
    });
    let (writers, readers) = (store.writers_of(&dataset)?, store.readers_of(&dataset)?);
    let mut answer = touched(Markup::new().text("Written by "), &writers).text(".");
    answer = match readers.as_slice() {
        [] => answer.text(" No task has read it."),
        some => touched(answer.text(" Read by "), some).text("."),
    };
    let is_table = dataset.scheme() == Scheme::Table;
    let is_artifact = dataset.scheme() == Scheme::Artifact;
    let mut facts = vec![("Written", clock.when(newest.at), format!("by {}", newest.task))];
    if !is_artifact {
        facts.insert(0, ("Rows written last", exact(newest.rows), String::new()));
    }
    if newest.bytes > 0 {
        facts.push(("Size", bytes(newest.bytes), String::new()));
    }
    if let Some(version) = newest.version {
        facts.push(("Version", version.to_string(), String::new()));
    }
    let version = |version: &DatasetVersion| Version {
        version: version.version.map(|v| v.to_string()).unwrap_or_default(),
        written: clock.when(version.at),
        rows: exact(version.rows),
        size: bytes(version.bytes),
        task: version.task.clone(),
        run: version.run.clone(),
    };
    Ok(DatasetPage {
        scheme: dataset.scheme().as_str(),
        name: dataset.name().to_owned(),
        answer,
        facts,
        versions: versions.iter().map(version).collect(),
        older,
        rows: (is_table && !query.rows.is_empty()).then(|| {
            let rows = site.daemon.first_rows(dataset.name(), FIRST_ROWS)?;
            Ok(Rows::of(&newest.schema, &rows))
        }),
        ask_rows: is_table.then(|| format!("{}?rows=1#rows", href(name))),
        columns: newest.schema.clone(),
        dashboard: is_artifact.then(|| format!("/dashboards/{}", words::encode(dataset.name()))),
        chrome,
    })
}

/// `clean of ecommerce and clean of ecommerce_nightly`
fn touched(mut text: Markup, by: &[Toucher]) -> Markup {
    let pipelines: BTreeSet<&String> = by.iter().map(|one| &one.pipeline).collect();
    let count = pipelines.len();
    for (index, pipeline) in pipelines.into_iter().enumerate() {
        let tasks: Vec<String> = (by.iter().filter(|one| one.pipeline == *pipeline))
            .map(|one| format!("`{}`", one.task))
            .collect();
        text = match index {
            0 => text,
            _ if index + 1 == count => text.text(" and "),
            _ => text.text(", "),
        };
        let tasks = if tasks.len() > 6 { vec![plural(tasks.len(), "task")] } else { tasks };
        text = text.text(&format!("{} of ", words::list(&tasks)));
        text = text.link(&format!("/pipelines/{}", words::encode(pipeline)), pipeline);
    }
    text
}

impl Rows {
    fn of(schema: &[(String, String)], rows: &[Map<String, Value>]) -> Rows {
        let is_number =
            |name: &str| rows.iter().filter_map(|row| row.get(name)).any(Value::is_number);
        let columns: Vec<(String, bool)> =
            schema.iter().map(|(name, _)| (name.clone(), is_number(name))).collect();
        let cell = |row: &Map<String, Value>, name: &str| match row.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.chars().take(200).collect()),
            other => Some(other.to_string()),
        };
        let rows = rows
            .iter()
            .map(|row| columns.iter().map(|(name, _)| cell(row, name)).collect())
            .collect();
        Rows { columns, rows }
    }
}
