//! Logs of attempts: what a task and the libraries under it said, kept as a file for each attempt.
//!
//! The driver runs an attempt inside a span that names its log file; the layer here writes every
//! event within that span, with time and level, to the file. Each line is one write: a reader sees
//! it at once, and a crash loses none.

use jiff::Timestamp;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

const SPAN: &str = "attempt";
const LOG_FIELD: &str = "log";

/// Where the log of an attempt lies.
pub fn path(run_directory: &Path, task: &str, attempt: u32) -> PathBuf {
    run_directory.join("logs").join(format!("{task}.{attempt}.log"))
}

/// The span of an attempt, whose events go to `log`.
pub(crate) fn span(task: &str, attempt: u32, log: &Path) -> Span {
    tracing::error_span!("attempt", task, attempt, log = log.to_str())
}

/// Writes the events of attempts to their files. Add it to the program's subscriber.
#[derive(Debug, Default)]
pub struct AttemptLogs;

/// The log file of one attempt; opened at its first line.
struct LogFile {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl LogFile {
    fn write(&self, line: &str) {
        let Ok(mut file) = self.file.lock() else { return };
        if file.is_none() {
            if let Some(directory) = self.path.parent() {
                let _ = std::fs::create_dir_all(directory);
            }
            *file = OpenOptions::new().create(true).append(true).open(&self.path).ok();
        }
        // A log that can't be written (disk full) must not stop the work.
        if let Some(file) = file.as_mut() {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for AttemptLogs {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != SPAN {
            return;
        }
        let mut log = FindLog(None);
        attributes.record(&mut log);
        if let (Some(path), Some(span)) = (log.0, context.span(id)) {
            span.extensions_mut().insert(LogFile { path, file: Mutex::new(None) });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(scope) = context.event_scope(event) else { return };
        for span in scope {
            if let Some(log) = span.extensions().get::<LogFile>() {
                log.write(&line(event, Timestamp::now()));
                return;
            }
        }
    }
}

struct FindLog(Option<PathBuf>);

impl Visit for FindLog {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == LOG_FIELD {
            self.0 = Some(PathBuf::from(value));
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

/// `2026-11-24T02:00:00.123Z  INFO stdout: text key=value`
fn line(event: &Event<'_>, at: Timestamp) -> String {
    let metadata = event.metadata();
    let mut text = Text::default();
    event.record(&mut text);
    let mut line = format!("{at:.3} {:>5} {}: ", metadata.level(), metadata.target());
    // Control characters of a foreign program must not reach the reader's terminal.
    for c in text.message.chars().chain(text.fields.chars()) {
        match c {
            '\n' => line.push_str("\n    "),
            '\t' => line.push('\t'),
            c if c.is_control() => {
                let _ = write!(line, "{}", c.escape_default());
            }
            c => line.push(c),
        }
    }
    line.push('\n');
    line
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn only_events_within_an_attempt_reach_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = path(directory.path(), "clean", 2);
        let subscriber = tracing_subscriber::registry().with(AttemptLogs);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before");
            span("clean", 2, &file).in_scope(|| {
                tracing::info!(rows = 3, name = "x", "read");
                tracing::info_span!("inner").in_scope(|| tracing::warn!("two\nlines \x1b[31m"));
            });
        });
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.contains("  INFO tidemill_orchestrator::log::tests: read rows=3 name=\"x\"\n")
        );
        assert!(text.contains("  WARN tidemill_orchestrator::log::tests: two\n    lines \\u{1b}["));
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
