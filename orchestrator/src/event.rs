//! The closed set of events: the only durable vocabulary of a run.
//!
//! Everything that happens to a run is one of these, written to the journal before its effect is
//! allowed. State, history, pages and lineage are folds over them. Their JSON is stored for ever:
//! add a field with `#[serde(default)]`, or raise [`VERSION`] and convert.

use crate::dataset::DatasetName;
use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The version of the events' JSON that this program writes.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A process took the run over: at its first start, and at each resume.
    RunOwned { epoch: u64, pid: u32 },
    /// An attempt may begin now.
    AttemptStarted { task: String, attempt: u32 },
    /// An attempt will read this version, and so will its retries. `None`: the dataset has no
    /// versions, or does not exist yet.
    ReadPinned { task: String, input: String, dataset: DatasetName, version: Option<i64> },
    /// The writer of a topic begins at these offsets.
    StreamOpened {
        task: String,
        output: String,
        dataset: DatasetName,
        #[serde(deserialize_with = "offsets")]
        start: Offsets,
    },
    /// The writer of a topic is done: all of it lies before these offsets.
    StreamClosed {
        task: String,
        output: String,
        dataset: DatasetName,
        #[serde(deserialize_with = "offsets")]
        end: Offsets,
    },
    /// The next commit to the dataset may be this task's. `base`: its newest version before that.
    PublishIntended { task: String, output: String, dataset: DatasetName, base: Option<i64> },
    /// The dataset holds the output.
    Published { task: String, output: String, dataset: DatasetName, published: Published },
    /// An attempt is over.
    AttemptEnded {
        task: String,
        attempt: u32,
        result: AttemptResult,
        #[serde(default)]
        counts: Counts,
    },
    /// The next attempt begins no earlier than `at`.
    RetryScheduled { task: String, at: Timestamp },
    /// A task has reached its final state.
    TaskEnded {
        task: String,
        state: TaskEnd,
        /// Why, where the attempts do not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody asked the run to stop.
    CancelRequested { reason: String },
    /// The run has reached its final state.
    RunEnded { state: RunEnd },
}

/// Offsets by partition.
pub type Offsets = BTreeMap<u32, u64>;

/// In an internally tagged enum, serde hands on the keys of JSON objects as texts only.
fn offsets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Offsets, D::Error> {
    let texts: BTreeMap<String, u64> = BTreeMap::deserialize(deserializer)?;
    let parse = |(partition, offset): (String, u64)| {
        let partition = partition.parse().map_err(D::Error::custom)?;
        Ok((partition, offset))
    };
    texts.into_iter().map(parse).collect()
}

/// What an output became.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The dataset's new version, where its place has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    pub rows: u64,
    /// Size as stored.
    pub bytes: u64,
    /// Columns as `name: type`, in order, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<(String, String)>,
}

/// What an attempt has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub rows_in: u64,
    pub rows_out: u64,
    /// Bytes written.
    pub bytes_out: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum AttemptResult {
    Succeeded {
        /// What the task hands on: `tasks.NAME.values.KEY` in expressions.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        values: Map<String, Value>,
        /// What the kind has to tell of its work, such as rejected rows by reason.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        report: Map<String, Value>,
    },
    Failed {
        class: ErrorClass,
        message: String,
    },
    Cancelled,
    /// The process that ran it died.
    Lost,
}

/// What the caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Can pass: worth a retry.
    Transient,
    /// Will come again: no retry helps.
    Permanent,
}

/// A task's final state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskEnd {
    Succeeded,
    Failed,
    Cancelled,
    Skipped,
    UpstreamFailed,
}

impl TaskEnd {
    pub const fn as_str(self) -> &'static str {
        match self {
            TaskEnd::Succeeded => "succeeded",
            TaskEnd::Failed => "failed",
            TaskEnd::Cancelled => "cancelled",
            TaskEnd::Skipped => "skipped",
            TaskEnd::UpstreamFailed => "upstream_failed",
        }
    }
}

/// A run's final state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    Succeeded,
    Failed,
    Cancelled,
}

impl RunEnd {
    pub const fn as_str(self) -> &'static str {
        match self {
            RunEnd::Succeeded => "succeeded",
            RunEnd::Failed => "failed",
            RunEnd::Cancelled => "cancelled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Journals of every earlier version must still load: never change a line of this file, add.
    const GOLDEN: &str = include_str!("event/golden.jsonl");

    #[test]
    fn what_was_stored_still_loads_and_is_stored_alike() {
        let mut kinds = std::collections::BTreeSet::new();
        for line in GOLDEN.lines() {
            let event: Event = serde_json::from_str(line).expect(line);
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
            let value = serde_json::to_value(&event).unwrap();
            kinds.insert(value["kind"].as_str().unwrap().to_owned());
        }
        assert_eq!(kinds.len(), 12, "every kind of event has its line: {kinds:?}");
    }
}
