//! `topic:` datasets: logs of records in partitions, which are written in transactions.
//!
//! The trait is cut so that Kafka fits it. A transaction carries records and the position that
//! the producer has reached in its own input; both are committed or neither is. Readers see only
//! what is committed. Offsets grow within a partition, but may have gaps: Kafka spends some on
//! the marks of its transactions.

#[cfg(test)]
pub(crate) mod conformance;
mod embedded;
mod kafka;
mod partitioner;
mod records;
mod segment;

pub use embedded::EmbeddedTopics;
pub use kafka::{KafkaSettings, KafkaTopics};
pub(super) use kafka::{SERVER as KAFKA, check as check_kafka};
pub use partitioner::{murmur2, partition_of};
pub use records::{Batch, Records};

use async_trait::async_trait;
use orchestrator::attempt::TaskError;
use orchestrator::event::Offsets;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The topics of a place.
#[async_trait]
pub trait Topics: Send + Sync {
    /// Where a topic lies, for people.
    fn locate(&self, topic: &str) -> String;

    /// The names of all topics, sorted.
    async fn names(&self) -> Result<Vec<String>, TaskError>;

    /// What a topic holds at this moment; `None` if there is no such topic.
    async fn bounds(&self, topic: &str) -> Result<Option<Bounds>, TaskError>;

    /// Takes over the writing of `origin`'s run and task: whoever wrote in their name before can
    /// commit nothing more. Creates the topic if there is none, with `partitions` of them, or one.
    async fn producer(
        &self,
        topic: &str,
        origin: Origin,
        partitions: Option<u32>,
    ) -> Result<Box<dyn Producer>, TaskError>;

    /// Reads a topic from `start` on; a partition that `start` does not name, from its beginning.
    async fn consumer(&self, topic: &str, start: &Offsets) -> Result<Box<dyn Consumer>, TaskError>;
}

/// Writes transactions in the name of one run and task.
#[async_trait]
pub trait Producer: Send {
    /// How many partitions the topic has: [`Records`] are made for as many.
    fn partitions(&self) -> u32;

    /// The position committed last in the name of this run and task, by whatever process.
    fn position(&self) -> Option<&Position>;

    /// Offsets behind the last record that was committed in the name of this run and task; where
    /// the topic ended when they first took it over, if they have committed nothing yet.
    fn end(&self) -> &Offsets;

    /// One transaction: the records, of which there is at least one, and the position behind
    /// them. When this returns, they are durable. After an error they may or may not have been
    /// committed: a new producer knows, by its position.
    async fn commit(&mut self, records: Records, position: Position) -> Result<(), TaskError>;
}

/// Reads committed records, in the order of each partition.
#[async_trait]
pub trait Consumer: Send {
    /// The next records, of one or several partitions. Waits for the first of them, but no longer
    /// than `wait`; then returns none.
    async fn poll(&mut self, wait: Duration) -> Result<Vec<Batch>, TaskError>;

    /// Where the next records will come from, for every partition of the topic. A partition is
    /// drained up to an offset when its position has reached it; its last record may lie well
    /// before that.
    fn position(&self) -> &Offsets;
}

/// From where to where a topic has records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub start: Offsets,
    pub end: Offsets,
}

/// Whose records they are, and how to read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub run: String,
    pub task: String,
    pub content: Content,
}

/// What the values of records are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub format: Format,
    /// The columns' names, in order; empty if the producer does not know them.
    pub columns: Vec<String>,
}

/// The form of a record's value.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One record of CSV, without the line break.
    #[default]
    Csv,
    /// One JSON object.
    Json,
}

/// How far a producer has come in its input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Records sent so far: the next one's number, from 0.
    pub next: u64,
    /// What else the producer needs to go on, in its own words; up to 4 KiB, as Kafka allows.
    pub detail: String,
}
