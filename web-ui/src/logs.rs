//! Logs of tasks: shown on the page of a run, and given as text.

use crate::Site;
use crate::failure::Failure;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use orchestrator::event::Event;
use orchestrator::log;
use orchestrator::run::ownership;
use orchestrator::store::Record;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use tokio_util::io::ReaderStream;

/// Lines shown at once: the newest that are asked for.
pub const MOST_LINES: usize = 500;
/// How much of a log's end is looked at for a page.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

pub(crate) fn router() -> Router<Arc<Site>> {
    Router::new().route("/runs/{run}/log", get(download))
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LogQuery {
    /// `None` or empty: the page chooses.
    pub task: Option<String>,
    /// `warn`: only warnings, errors, and what commands say on standard error.
    pub level: String,
    /// Lines that hold this text.
    pub q: String,
    /// Of the tasks, where there are many.
    pub page: u16,
}

/// A line of a log, with those that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `02:00:00.123` in UTC, as written; the page shows the local time.
    pub at: String,
    /// `info`, or `stderr` of a command.
    pub level: String,
    pub text: String,
}

/// The end of a log.
#[derive(Clone, Debug, Default)]
pub struct Excerpt {
    pub lines: Vec<Line>,
    /// Lines that match, at least.
    pub matching: usize,
    /// Whether the log is longer than what was looked at.
    pub cut: bool,
}

/// Where the logs of a task lie, by attempt, in their order.
pub fn files(site: &Site, run: &str, records: &[Record], task: &str) -> Vec<(u32, PathBuf)> {
    let directory = ownership::run_directory(&site.data_dir, run);
    let started = records.iter().filter_map(|record| match &record.event {
        Event::AttemptStarted { task: of, attempt } if of == task => Some(*attempt),
        _ => None,
    });
    started.map(|attempt| (attempt, log::path(&directory, task, attempt))).collect()
}

/// The newest lines of a task's logs that a query asks for.
pub fn excerpt(files: &[(u32, PathBuf)], query: &LogQuery) -> Excerpt {
    let mut excerpt = Excerpt::default();
    let wanted = query.q.to_lowercase();
    for (attempt, path) in files {
        let (text, cut) = end_of(path);
        excerpt.cut |= cut;
        if files.len() > 1 {
            let text = format!("attempt {attempt}");
            excerpt.lines.push(Line { at: String::new(), level: "attempt".into(), text });
        }
        for line in lines(&text) {
            let fits =
                query.level != "warn" || matches!(line.level.as_str(), "warn" | "error" | "stderr");
            if fits && (wanted.is_empty() || line.text.to_lowercase().contains(&wanted)) {
                excerpt.matching += 1;
                excerpt.lines.push(line);
            }
        }
    }
    let surplus = excerpt.lines.len().saturating_sub(MOST_LINES);
    excerpt.lines.drain(..surplus);
    excerpt.cut |= surplus > 0;
    excerpt
}

/// The last part of a file, from the beginning of a line on.
fn end_of(path: &FilePath) -> (String, bool) {
    let read = || -> std::io::Result<(Vec<u8>, bool)> {
        let mut file = File::open(path)?;
        let skipped = file.metadata()?.len().saturating_sub(MOST_BYTES);
        file.seek(SeekFrom::Start(skipped))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if skipped > 0 {
            let start = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            bytes.drain(..start);
        }
        Ok((bytes, skipped > 0))
    };
    // An attempt that has said nothing has no file.
    let (bytes, cut) = read().unwrap_or_default();
    (String::from_utf8_lossy(&bytes).into_owned(), cut)
}

/// `2026-11-24T02:00:00.123Z  INFO target: text`; what is indented belongs to the line before.
fn lines(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for line in text.lines() {
        let parsed = || {
            let (at, rest) = line.split_once(' ')?;
            let (level, rest) = rest.trim_start().split_once(' ')?;
            let known = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
            if !at.ends_with('Z') || !known.contains(&level) {
                return None;
            }
            let (target, text) = rest.split_once(": ").unwrap_or(("", rest));
            // What a command says on standard error may be a warning, or none.
            let level = match target {
                "stderr" => target.to_owned(),
                _ => level.to_lowercase(),
            };
            Some(Line { at: at.to_owned(), level, text: text.to_owned() })
        };
        match (parsed(), lines.last_mut()) {
            (Some(parsed), _) => lines.push(parsed),
            (None, Some(last)) => {
                last.text.push('\n');
                last.text.push_str(line.strip_prefix("    ").unwrap_or(line));
            }
            (None, None) => {
                lines.push(Line { at: String::new(), level: "info".into(), text: line.to_owned() });
            }
        }
    }
    lines
}

/// The whole log of a task, all attempts, as it is on the disk.
async fn download(
    State(site): State<Arc<Site>>,
    Path(run): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Failure> {
    let task = query.task.unwrap_or_default();
    let log = whole(&site, run, task).await?;
    let name = format!("attachment; filename=\"{}\"", log.name);
    Ok(([(header::CONTENT_DISPOSITION, name)], log).into_response())
}

/// The log of a task, all attempts.
pub struct WholeLog {
    name: String,
    task: String,
    files: Vec<(u32, PathBuf)>,
}

pub async fn whole(site: &Arc<Site>, run: String, task: String) -> Result<WholeLog, Failure> {
    site.ask(move |site, store| {
        let row = store.find_run(&run)?;
        let records = store.events(&row.id, 0)?;
        let files = files(site, &row.id, &records, &task);
        if files.is_empty() {
            return Err(Failure::not_found("attempt in this run at a task", &task));
        }
        Ok(WholeLog { name: format!("{}-{task}.log", row.id), task, files })
    })
    .await
}

impl IntoResponse for WholeLog {
    /// Sends it piece by piece: logs can be large.
    fn into_response(self) -> Response {
        let WholeLog { task, files, .. } = self;
        let parts = futures::stream::iter(files).then(move |(attempt, path)| {
            let head = Bytes::from(format!("== {task}, attempt {attempt}\n"));
            async move {
                let head = futures::stream::once(async { Ok::<_, io::Error>(head) });
                // An attempt that has said nothing has no file.
                let file = tokio::fs::File::open(path).await.ok();
                let file = file.map(ReaderStream::new);
                head.chain(futures::stream::iter(file).flatten())
            }
        });
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        (kind, Body::from_stream(parts.flatten())).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let text = "2026-11-24T02:00:00.123Z  INFO stdout: a: b\n    more\n\
                    2026-11-24T02:00:01.000Z ERROR x: bad\n";
        let lines = lines(text);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].level.as_str(), lines[0].text.as_str()), ("info", "a: b\nmore"));
        assert_eq!((lines[1].level.as_str(), lines[1].text.as_str()), ("error", "bad"));
    }

    #[test]
    fn the_end_of_a_long_log_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.1.log");
        let line = |n: u32| format!("2026-11-24T02:00:00.123Z  INFO x: line {n}\n");
        std::fs::write(&path, (0..60_000).map(line).collect::<String>()).unwrap();
        let files = [(1, path)];
        let all = excerpt(&files, &LogQuery::default());
        assert!(all.cut);
        assert_eq!(all.lines.len(), MOST_LINES);
        assert_eq!(all.lines.last().unwrap().text, "line 59999");
        let query = LogQuery { q: "LINE 59998".into(), ..LogQuery::default() };
        assert_eq!(excerpt(&files, &query).matching, 1);
        let query = LogQuery { level: "warn".into(), ..LogQuery::default() };
        assert_eq!(excerpt(&files, &query).matching, 0);
    }
}
