//! What people ask the store about datasets: their versions, and who writes and reads them.

use super::journal::timestamp;
use super::{Store, StoreError};
use crate::dataset::DatasetName;
use jiff::Timestamp;
use rusqlite::{Row, params};

/// One version of a dataset, written by a run.
#[derive(Clone, Debug)]
pub struct DatasetVersion {
    pub dataset: String,
    pub at: Timestamp,
    pub run: String,
    pub task: String,
    pub version: Option<i64>,
    pub rows: u64,
    pub bytes: u64,
    pub schema: Vec<(String, String)>,
}

/// A task that, in some run, wrote a dataset and read another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineageEdge {
    /// `None`: the task reads nothing.
    pub from: Option<String>,
    pub pipeline: String,
    pub task: String,
    pub to: String,
}

/// A task that writes or reads a dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Toucher {
    pub pipeline: String,
    pub task: String,
}

const COLUMNS: &str = "dataset, at, run, task, version, rows, bytes, schema";

/// Runs that are looked at for who writes and reads a dataset: older ones say little.
const LATELY: i64 = 200;

/// The names of all datasets, from each to the next one by the index: there are many more versions.
const NAMES: &str = "with recursive names (name) as (
    select min(dataset) from dataset_versions
    union all
    select (select min(dataset) from dataset_versions where dataset > name)
    from names where name is not null
)";

impl Store {
    /// The newest version of each dataset, by name.
    pub fn newest_versions(&mut self) -> Result<Vec<DatasetVersion>, StoreError> {
        let rows = self.sqlite(|connection| {
            connection
                .prepare_cached(&format!(
                    "{NAMES}
                     select {COLUMNS} from names join dataset_versions v on v.dataset = name
                     where at = (select max(at) from dataset_versions where dataset = name)
                     group by name order by name"
                ))?
                .query_map([], version_row)?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        self.with_schemas(rows)
    }

    /// The versions of a dataset older than `before` (its time and its run), newest first.
    pub fn versions_of(
        &mut self,
        dataset: &DatasetName,
        before: Option<(Timestamp, &str)>,
        limit: usize,
    ) -> Result<Vec<DatasetVersion>, StoreError> {
        let (at, run) = before.map_or((i64::MAX, ""), |(at, run)| (at.as_microsecond(), run));
        let dataset = dataset.to_string();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.sqlite(|connection| {
            connection
                .prepare_cached(&format!(
                    "select {COLUMNS} from dataset_versions where dataset = ? and (at, run) < (?, ?)
                     order by at desc, run desc limit ?"
                ))?
                .query_map(params![dataset, at, run, limit], version_row)?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        self.with_schemas(rows)
    }

    /// The tasks that have written a dataset lately.
    pub fn writers_of(&mut self, dataset: &DatasetName) -> Result<Vec<Toucher>, StoreError> {
        self.touchers("dataset_versions", dataset)
    }

    /// The tasks that have read a dataset lately.
    pub fn readers_of(&mut self, dataset: &DatasetName) -> Result<Vec<Toucher>, StoreError> {
        self.touchers("dataset_reads", dataset)
    }

    fn touchers(&mut self, table: &str, dataset: &DatasetName) -> Result<Vec<Toucher>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached(&format!(
                    "select distinct pipeline, task from
                     (select run, task from {table} where dataset = ? order by at desc limit ?)
                     join runs on runs.id = run order by 1, 2"
                ))?
                .query_map(params![dataset.to_string(), LATELY], |row| {
                    Ok(Toucher { pipeline: row.get(0)?, task: row.get(1)? })
                })?
                .collect()
        })
    }

    fn with_schemas(
        &self,
        rows: Vec<(DatasetVersion, String)>,
    ) -> Result<Vec<DatasetVersion>, StoreError> {
        rows.into_iter()
            .map(|(version, schema)| {
                let schema = serde_json::from_str(&schema).map_err(self.damaged("schema"))?;
                Ok(DatasetVersion { schema, ..version })
            })
            .collect()
    }

    /// What runs wrote to a dataset, newest first; to all datasets without a name.
    pub fn dataset_versions(
        &mut self,
        dataset: Option<&DatasetName>,
    ) -> Result<Vec<DatasetVersion>, StoreError> {
        let dataset = dataset.map(ToString::to_string);
        let rows = self.sqlite(|connection| {
            connection
                .prepare_cached(
                    "select dataset, at, run, task, version, rows, bytes, schema
                     from dataset_versions where ?1 is null or dataset = ?1
                     order by at desc, dataset",
                )?
                .query_map([dataset], version_row)?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        self.with_schemas(rows)
    }

    /// Which datasets were made of which lately, by what.
    pub fn lineage(&mut self) -> Result<Vec<LineageEdge>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached(&format!(
                    "{NAMES}
                     select distinct r.dataset, runs.pipeline, v.task, v.dataset
                     from names join dataset_versions v on v.dataset = name and v.at >= coalesce(
                         (select at from dataset_versions where dataset = name
                          order by at desc limit 1 offset ?), 0
                     )
                     join runs on runs.id = v.run
                     left join dataset_reads r on r.run = v.run and r.task = v.task
                     order by 4, 2, 3, 1"
                ))?
                .query_map([LATELY], |row| {
                    Ok(LineageEdge {
                        from: row.get(0)?,
                        pipeline: row.get(1)?,
                        task: row.get(2)?,
                        to: row.get(3)?,
                    })
                })?
                .collect()
        })
    }
}

fn version_row(row: &Row<'_>) -> rusqlite::Result<(DatasetVersion, String)> {
    let version = DatasetVersion {
        dataset: row.get(0)?,
        at: timestamp(row.get(1)?),
        run: row.get(2)?,
        task: row.get(3)?,
        version: row.get(4)?,
        rows: row.get::<_, i64>(5)?.cast_unsigned(),
        bytes: row.get::<_, i64>(6)?.cast_unsigned(),
        schema: Vec::new(),
    };
    Ok((version, row.get(7)?))
}
