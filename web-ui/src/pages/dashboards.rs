//! The artifacts, such as dashboards: each version, and `latest` at a stable address.

use super::{Page, render};
use crate::Site;
use crate::artifacts::root;
use crate::chrome::{Chrome, Section, Taste};
use crate::failure::Failure;
use crate::words;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use orchestrator::dataset::DatasetName;
use orchestrator::store::{DatasetVersion, Store};
use serde::Deserialize;
use std::sync::Arc;

/// Versions in the list beside the artifact.
const VERSIONS: usize = 50;
/// Files of an artifact that are listed.
const FILES: usize = 200;

#[derive(Template)]
#[template(path = "dashboards.html")]
struct List {
    chrome: Chrome,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    written: String,
    run: String,
    by: String,
}

pub async fn list(State(site): State<Arc<Site>>, headers: HeaderMap) -> Page {
    let taste = Taste::of(&headers);
    site.ask(move |site, store| {
        let chrome = site.chrome(Section::Dashboards, taste);
        let all = store.newest_versions()?;
        let mut rows: Vec<(Timestamp, Row)> = (all.into_iter())
            .filter_map(|version| {
                let name = version.dataset.strip_prefix("artifact:")?.to_owned();
                let written = chrome.clock.when(version.at);
                let (run, by) = (version.run, version.task);
                Some((version.at, Row { name, written, run, by }))
            })
            .collect();
        rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        render(&List { rows: rows.into_iter().map(|(_, row)| row).collect(), chrome })
    })
    .await
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// The run that has made it; the newest where empty.
    version: String,
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    chrome: Chrome,
    name: String,
    note: String,
    run: String,
    is_latest: bool,
    /// Where the page itself is, alone.
    source: Option<String>,
    /// Other files of the artifact.
    files: Vec<(String, String)>,
    versions: Vec<(String, String, bool)>,
}

pub async fn page(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Page {
    let taste = Taste::of(&headers);
    site.ask(move |site, store| render(&view(site, store, &name, &wanted, taste)?)).await
}

fn view(
    site: &Site,
    store: &mut Store,
    name: &str,
    wanted: &Wanted,
    taste: Taste,
) -> Result<Dashboard, Failure> {
    let chrome = site.chrome(Section::Dashboards, taste);
    let missing = || Failure::not_found("artifact", name);
    let dataset: DatasetName = format!("artifact:{name}").parse().map_err(|_| missing())?;
    let versions = store.versions_of(&dataset, None, VERSIONS)?;
    let newest = versions.first().ok_or_else(missing)?;
    let is_latest = wanted.version.is_empty() || wanted.version == newest.run;
    let shown: &DatasetVersion = match is_latest {
        true => newest,
        false => {
            versions.iter().find(|version| version.run == wanted.version).ok_or_else(|| {
                Failure::not_found("version of this artifact by a run", &wanted.version)
            })?
        }
    };
    let directory = root(site).join(name).join(&shown.run);
    let mut files = Vec::new();
    list_files(&directory, "", &mut files);
    files.sort();
    let version = if is_latest { "latest" } else { shown.run.as_str() };
    let link = |file: &str| {
        let parts: Vec<String> = file.split('/').map(words::encode).collect();
        format!("/artifacts/{}/{version}/{}", words::encode(name), parts.join("/"))
    };
    let has_page = files.iter().any(|file| file == "index.html");
    let clock = &chrome.clock;
    Ok(Dashboard {
        name: name.to_owned(),
        note: format!("made {} by {}", clock.when(shown.at), shown.task),
        run: shown.run.clone(),
        is_latest,
        source: has_page.then(|| link("index.html")),
        files: (files.iter().filter(|file| *file != "index.html"))
            .map(|file| (link(file), file.clone()))
            .collect(),
        versions: (versions.iter())
            .map(|one| (one.run.clone(), clock.when(one.at), one.run == shown.run))
            .collect(),
        chrome,
    })
}

/// The files of a directory and of those in it, by their paths from there.
fn list_files(directory: &std::path::Path, prefix: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if files.len() >= FILES {
            return;
        }
        let path = format!("{prefix}{name}");
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => list_files(&entry.path(), &format!("{path}/"), files),
            false => files.push(path),
        }
    }
}
