//! What the pages ask of the daemon.

use jiff::Timestamp;
use jiff::civil::Date;
use orchestrator::diagnostic::{Diagnostic, Problems};
use orchestrator::load::Definition;
use orchestrator::plan::Plan;
use orchestrator::scheduler::Scheduled;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the pages ask of the daemon. All of it may block for a moment.
pub trait Daemon: Send + Sync + 'static {
    /// The pipelines of its directory, by name; files without a valid version last.
    fn pipelines(&self) -> Arc<Vec<KnownPipeline>>;

    /// Reads a pipeline's file as it is now: its definition and plan, or its problems.
    fn inspect(&self, path: &Path) -> Result<Inspected, Problems>;

    /// The first rows of a table's newest version; an error is a sentence for people. Takes a
    /// second or so.
    fn first_rows(&self, table: &str, limit: usize) -> Result<Vec<Map<String, Value>>, String>;

    /// Starts a run; its id comes back.
    fn start(&self, start: Start) -> Result<String, Refusal>;

    /// Goes on with a run whose process died.
    fn resume(&self, run: &str) -> Result<(), Refusal>;
}

/// A file of the daemon's directory, and the last valid version of its pipeline.
#[derive(Clone, Debug)]
pub struct KnownPipeline {
    pub path: PathBuf,
    /// The file's name where it has had no valid version yet.
    pub name: String,
    /// Whether there is a version that can be run.
    pub valid: bool,
    pub description: Option<String>,
    pub schedule: Option<Scheduled>,
    /// What is wrong with the file as it is now, as the terminal shows it.
    pub problems: Option<String>,
    /// Since when it is so.
    pub since: Timestamp,
}

/// A pipeline's file as it is now.
pub struct Inspected {
    pub definition: Definition,
    pub plan: Plan,
}

/// A run that somebody asks for.
#[derive(Clone, Debug, Default)]
pub struct Start {
    pub pipeline: String,
    /// Params by name, as texts.
    pub set: Vec<(String, String)>,
    pub profile: Option<String>,
    /// The day that the run is about; yesterday where `None`.
    pub date: Option<Date>,
    /// A run to repeat: its definition's file as it is now, with its interval, params and profile.
    pub like: Option<String>,
    /// If not empty, only these tasks and all that come after them.
    pub from: Vec<String>,
}

impl Refusal {
    pub fn invalid(problems: &Problems) -> Refusal {
        let of_param = |problem: &Diagnostic| {
            let name = problem.path.strip_prefix("params.")?.split('.').next()?;
            // Without the option of the command line that it is called by there.
            let said = problem.message.strip_prefix("--set ");
            let message =
                said.and_then(|said| said.split_once(": ")).map_or(&*problem.message, |(_, m)| m);
            Some((name.to_owned(), message.to_owned()))
        };
        Refusal::Invalid {
            text: problems.render(false),
            params: problems.diagnostics.iter().filter_map(of_param).collect(),
        }
    }
}

/// Why the daemon does not do what it is asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no pipeline or run `{0}`")]
    Unknown(String),
    #[error("{text}")]
    Invalid {
        /// The problems as the terminal shows them.
        text: String,
        /// What is wrong with values of params, by name.
        params: Vec<(String, String)>,
    },
    #[error("{0}")]
    Busy(String),
    #[error("{0}")]
    Failed(String),
}
