//! Admin: what comes in, what is asked, what is stored, and how the daemon is.

mod ingestion;

use super::{Page, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::drawing::Svg;
use crate::failure::Failure;
use crate::runs;
use crate::words::{Clock, Markup, bytes, duration, plural};
use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use ingestion::Topic;
use jiff::{SignedDuration, Timestamp};
use orchestrator::figures::{count, exact, quantile};
use orchestrator::scheduler::Why;
use orchestrator::store::{QueryRow, RunRow, RunStatus, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is looked at.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Queries that are taken into the statistics.
const MOST_QUERIES: usize = 10_000;
/// Queries that are shown.
const SLOWEST: usize = 5;

#[derive(Template)]
#[template(path = "admin.html")]
struct Admin {
    chrome: Chrome,
    headline: String,
    answer: Markup,
    facts: Vec<(&'static str, String)>,
    topics: Vec<Topic>,
    queries_note: String,
    queries: Vec<Query>,
    storage_note: String,
    storage: Vec<Stored>,
    daemon: Vec<(&'static str, String, Markup)>,
}

struct Query {
    sql: String,
    count: String,
    median: String,
    p95: String,
    failed: String,
    note: String,
}

struct Stored {
    name: String,
    /// Whether it has a page: directories of files have none.
    is_dataset: bool,
    share: Svg,
    size: String,
}

pub async fn page(State(site): State<Arc<Site>>, headers: HeaderMap) -> Page {
    let taste = Taste::of(&headers);
    site.ask(move |site, store| render(&view(site, store, taste)?)).await
}

fn view(site: &Site, store: &mut Store, taste: Taste) -> Result<Admin, Failure> {
    let chrome = site.chrome(Section::Admin, taste);
    let clock = &chrome.clock;
    let since = clock.now.checked_sub(DAY).unwrap_or(Timestamp::MIN);
    let came_in = store.ingestion(since)?;
    let mut at_work = store.open_runs()?;
    at_work.retain(|run| runs::status(site, run) == RunStatus::Running);
    let queries = store.queries(since, MOST_QUERIES)?;
    let left_out = store.left_out(since, 1000)?;
    let mut missed: u64 = 0;
    let mut waited: u64 = 0;
    for (_, row) in &left_out {
        match row.why {
            Why::Missed | Why::TooOld => missed += row.count,
            Why::Overlap | Why::Replaced => waited += row.count,
            Why::Paused => {}
        }
    }
    let broken = site.daemon.pipelines().iter().filter(|known| known.problems.is_some()).count();
    let failed = queries.iter().filter(|query| query.result.is_err()).count();
    let dead: u64 = came_in.iter().map(|topic| topic.dead_letters).sum();
    let mut troubles = Vec::new();
    if missed > 0 {
        let verb = if missed == 1 { "was" } else { "were" };
        let fires = plural(usize::try_from(missed).unwrap_or(usize::MAX), "fire");
        troubles.push(format!("{fires} {verb} missed"));
    }
    if broken > 0 {
        let verb = if broken == 1 { "has" } else { "have" };
        troubles.push(format!("{} {verb} problems", plural(broken, "file")));
    }
    let headline = match troubles.as_slice() {
        [] => "All is well now".to_owned(),
        some => crate::words::list(some),
    };
    let answer = Markup::new().text(&format!(
        "In the last 24 hours, {} did not fit and went to the dead letters, {}, and {}.",
        plural(usize::try_from(dead).unwrap_or(usize::MAX), "message"),
        match failed {
            0 => "no query failed".to_owned(),
            1 => "1\u{a0}query failed".to_owned(),
            many => format!("{many}\u{a0}queries failed"),
        },
        match missed + waited {
            0 => "every run that was due was made".to_owned(),
            1 => "1\u{a0}run that was due was not made".to_owned(),
            many => format!("{many}\u{a0}runs that were due were not made"),
        },
    ));
    let stored = site.storage.sizes(site);
    let known: BTreeSet<String> =
        store.newest_versions()?.into_iter().map(|version| version.dataset).collect();
    let total: u64 = stored.iter().map(|(_, size)| size).sum();
    let rows_in: u64 = came_in.iter().map(|topic| topic.rows).sum();
    let largest = stored.iter().map(|(_, size)| *size).max().unwrap_or(1).max(1);
    Ok(Admin {
        headline,
        answer,
        facts: vec![
            ("Rows taken in, last 24 h", count(rows_in).replace(' ', "\u{a0}")),
            ("Dead letters, last 24 h", exact(dead)),
            ("Queries, last 24 h", exact(queries.len() as u64)),
            ("Stored", bytes(total)),
        ],
        topics: ingestion::topics(site, store, &came_in, &at_work, clock),
        queries_note: queries_note(&queries),
        queries: by_text(&queries),
        storage_note: match site.storage.free(site) {
            Some(free) => format!("the disk has {} left", bytes(free)),
            None => String::new(),
        },
        storage: stored
            .into_iter()
            .map(|(name, size)| Stored {
                is_dataset: known.contains(&name),
                share: share(size, largest),
                size: bytes(size),
                name,
            })
            .collect(),
        daemon: daemon(site, store, since, (missed, waited), &at_work, clock)?,
        chrome,
    })
}

/// The median and the 95th percentile of how long queries took.
fn spans<'a>(queries: impl Iterator<Item = &'a QueryRow>) -> (SignedDuration, SignedDuration) {
    let mut spans: Vec<SignedDuration> = queries.map(|query| query.took).collect();
    let mut at = |share| quantile(&mut spans, share).unwrap_or_default();
    (at(0.5), at(0.95))
}

fn queries_note(queries: &[QueryRow]) -> String {
    if queries.is_empty() {
        return String::new();
    }
    let (median, p95) = spans(queries.iter());
    let failed = queries.iter().filter(|query| query.result.is_err()).count();
    format!(
        "{} in the last 24 h: half in {}, 95\u{a0}% in {}; {failed} failed",
        exact(queries.len() as u64),
        duration(median),
        duration(p95),
    )
}

/// The slowest queries, each text once.
fn by_text(queries: &[QueryRow]) -> Vec<Query> {
    let mut texts: BTreeMap<&str, Vec<&QueryRow>> = BTreeMap::new();
    for query in queries {
        texts.entry(&query.sql).or_default().push(query);
    }
    let mut rows: Vec<(SignedDuration, Query)> = texts
        .into_iter()
        .map(|(sql, queries)| {
            let (median, p95) = spans(queries.iter().copied());
            let failed: Vec<&String> =
                queries.iter().filter_map(|query| query.result.as_ref().err()).collect();
            let note = failed.first().and_then(|error| error.lines().next()).unwrap_or_default();
            let row = Query {
                sql: sql.chars().take(300).collect(),
                count: exact(queries.len() as u64),
                median: duration(median),
                p95: duration(p95),
                failed: exact(failed.len() as u64),
                note: note.chars().take(120).collect(),
            };
            (p95, row)
        })
        .collect();
    rows.sort_by_key(|(p95, _)| std::cmp::Reverse(*p95));
    rows.into_iter().take(SLOWEST).map(|(_, row)| row).collect()
}

fn share(size: u64, largest: u64) -> Svg {
    let percent = size as f64 / largest as f64 * 100.0;
    Svg(format!(
        "<svg class=\"share\" aria-hidden=\"true\"><rect width=\"100%\" height=\"8\" rx=\"4\"/><rect \
         width=\"{percent:.2}%\" height=\"8\" rx=\"4\"/></svg>"
    ))
}

fn daemon(
    site: &Site,
    store: &mut Store,
    since: Timestamp,
    (missed, waited): (u64, u64),
    at_work: &[RunRow],
    clock: &Clock,
) -> Result<Vec<(&'static str, String, Markup)>, Failure> {
    let note = |text: String| Markup::new().text(&text);
    let up = site.started.duration_until(clock.now);
    let mut rows = vec![("Up", duration(up), note(format!("since {}", clock.when(site.started))))];
    if let Some(memory) = memory() {
        rows.push(("Memory", bytes(memory), note("of the daemon alone".to_owned())));
    }
    let mut delays = store.delays(since)?;
    if let Some(late) = quantile(&mut delays, 0.99) {
        let of = format!("99\u{a0}% of {}", plural(delays.len(), "fire"));
        rows.push(("Late by", duration(late), note(of)));
    }
    rows.push(("Missed fires", exact(missed), note("in the last 24 h".to_owned())));
    rows.push(("Left out for another run", exact(waited), note("in the last 24 h".to_owned())));
    let size =
        |file: &str| std::fs::metadata(site.data_dir.join(file)).map_or(0, |file| file.len());
    let journal = size("store.db") + size("store.db-wal");
    let all: u64 = store.tally()?.iter().map(|(_, _, count)| count).sum();
    rows.push(("Journal", bytes(journal), note(plural(usize::try_from(all).unwrap_or(0), "run"))));
    let mut links = Markup::new();
    for run in at_work.iter().take(10) {
        links = if links.is_empty() { links } else { links.text(", ") };
        links = links.link(&format!("/runs/{}", run.id), &run.pipeline);
    }
    rows.push(("Runs now", exact(at_work.len() as u64), links));
    Ok(rows)
}

/// The memory of this process that is resident, in bytes.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
