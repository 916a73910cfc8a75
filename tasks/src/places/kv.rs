//! `kv:` datasets: wide-column tables, whose rows are found by their key.
//!
//! The trait is cut so that HBase fits it. A row is a key and cells, named `family:qualifier`;
//! every cell has a timestamp, and of two cells in one place the newer one counts, whichever was
//! written later. So a load can be repeated, and an old one be made again, without harm.

#[cfg(test)]
pub(crate) mod conformance;
mod embedded;
mod hbase;

pub use embedded::EmbeddedKeyValues;
pub use hbase::{HbaseKeyValues, HbaseSettings};
pub(super) use hbase::{SERVER as HBASE, check as check_hbase};

use super::tables::Publication;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use jiff::Timestamp;
use orchestrator::attempt::{Progress, TaskError};
use orchestrator::event::Published;
use std::sync::Arc;

/// The name of the key in the rows of a [`Load`].
pub const ROW_KEY: &str = "row_key";

/// The wide-column tables of a place.
#[async_trait]
pub trait KeyValues: Send + Sync {
    /// Where a table lies, for people.
    fn locate(&self, table: &str) -> String;

    /// The names of all tables, sorted.
    async fn names(&self) -> Result<Vec<String>, TaskError>;

    /// What there is of a table; `None` if there is no such table.
    async fn summary(&self, table: &str) -> Result<Option<Summary>, TaskError>;

    /// Puts rows into a table, which is made if there is none. Returns when they are durable.
    async fn load(&self, table: &str, load: Load) -> Result<Published, TaskError>;

    /// The row of a key.
    async fn get(&self, table: &str, key: &str) -> Result<Option<Row>, TaskError>;

    /// Rows by their key, in the order of its bytes.
    async fn scan(&self, table: &str, scan: &Scan) -> Result<Vec<Row>, TaskError>;
}

/// A table at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Where the place has versions.
    pub version: Option<i64>,
    /// Where the place counts them.
    pub rows: Option<u64>,
    /// Size as stored.
    pub bytes: Option<u64>,
    /// `family:qualifier`, in no order.
    pub columns: Vec<String>,
}

/// Rows for a table.
pub struct Load {
    /// Who loads; a place with versions looks for an earlier commit of it first.
    pub publication: Publication,
    /// The timestamp of all cells.
    pub at: Timestamp,
    /// The rows: [`ROW_KEY`], a text that is never null, then cells named `family:qualifier` of any
    /// type; a cell is what Arrow's cast to text makes of it, and a null is no cell. Of cells that
    /// the rows put into one place, any may stay.
    pub rows: Arc<dyn ExecutionPlan>,
    /// The rows' keys alone, for a place that looks before it writes.
    pub keys: Arc<dyn ExecutionPlan>,
    /// Where both run.
    pub session: SessionContext,
    /// Told of each row twice: when it is read, and when it is written.
    pub progress: Arc<Progress>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: String,
    /// By column.
    pub cells: Vec<Cell>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// `family:qualifier`.
    pub column: String,
    pub value: String,
    pub timestamp: Timestamp,
}

/// Which rows to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// From this key on.
    pub start: String,
    /// Up to this one, which is left out; `None`: to the end.
    pub stop: Option<String>,
    /// At most so many.
    pub limit: usize,
}

impl Scan {
    /// The rows whose keys begin with `prefix`.
    pub fn prefix(prefix: &str, limit: usize) -> Self {
        Scan { start: prefix.to_owned(), stop: behind_prefix(prefix), limit }
    }
}

/// The least text that comes behind all that begin with `prefix`; `None` if there is none.
fn behind_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // Steps over the surrogates, which are no characters.
        let next = (last..=char::MAX).nth(1);
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_a_prefix() {
        let check = |prefix: &str, expect: Option<&str>| {
            assert_eq!(behind_prefix(prefix).as_deref(), expect, "{prefix:?}");
        };
        check("", None);
        check("ab", Some("ac"));
        check("a\u{10ffff}", Some("b"));
        check("\u{d7ff}", Some("\u{e000}"));
        check("\u{10ffff}", None);
    }
}
