//! A plan: a pipeline with its params, interval and profile filled in, checked, and ordered.

use crate::dataset::DatasetName;
use crate::kind::Write;
use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What one run will do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub pipeline: String,
    pub profile: String,
    pub params: Map<String, Value>,
    pub interval: Interval,
    /// In the order of the file; edges refer to their index.
    pub tasks: Vec<PlannedTask>,
    pub edges: Vec<Edge>,
    /// The tasks' indices, each after all that it depends on.
    pub order: Vec<usize>,
}

/// The half-open span of time `[start, end)` that a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    pub start: Timestamp,
    pub end: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedTask {
    pub name: String,
    /// The kind: what `uses:` said.
    pub kind: String,
    /// `with:`, rendered as far as the plan can.
    pub options: Value,
    /// Pointers (RFC 6901) into `options` to texts whose templates only the attempt can render:
    /// they use `tasks.` or `secrets.`.
    pub late: Vec<String>,
    pub inputs: IndexMap<String, DatasetName>,
    pub outputs: IndexMap<String, PlannedOutput>,
    /// An expression still to be evaluated right before the task, because it uses `tasks.`.
    pub when: Option<String>,
    /// Why the task will not run, if the plan could already tell from `when`.
    pub skip: Option<String>,
    pub trigger_rule: TriggerRule,
    pub retry: Retry,
    pub timeout: Option<SignedDuration>,
}

/// An output with the properties of its dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedOutput {
    pub dataset: DatasetName,
    pub write: Write,
    /// The condition of `write: replace_where`, rendered.
    pub replace_where: Option<String>,
    pub partition_by: Vec<String>,
    /// The columns that tell rows apart, for `merge` and `kv:`.
    pub key: Vec<String>,
}

/// When a task runs, given how those before it ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    /// All succeeded.
    #[default]
    AllSuccess,
    /// All have ended, however.
    AllDone,
    /// All have ended, and at least one failed.
    AnyFailed,
    /// All have ended, however, and also when the run is being cancelled.
    Always,
}

/// How often and after which pause a failed attempt is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// The pause before the second attempt, at most.
    pub delay: SignedDuration,
    pub backoff: Backoff,
    /// No pause is longer.
    pub max_delay: SignedDuration,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Every pause is drawn from the same range.
    Constant,
    /// The range doubles with each attempt.
    #[default]
    Exponential,
}

/// `to` comes after `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub reason: EdgeReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeReason {
    /// `needs:` says so.
    Needs,
    /// `to` reads what `from` writes, and waits until `from` has succeeded.
    Dataset(DatasetName),
    /// `to` reads the topic that `from` writes, and starts together with it.
    Stream(DatasetName),
    /// An expression of `to` uses a result of `from`.
    Expression,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 1,
            delay: SignedDuration::from_secs(2),
            backoff: Backoff::Exponential,
            max_delay: SignedDuration::from_secs(60),
        }
    }
}
