//! What people ask the store: runs, and versions of datasets.

use super::journal::{parse_end, parse_trigger, timestamp};
use super::{Store, StoreError, Trigger};
use crate::dataset::DatasetName;
use crate::event::RunEnd;
use crate::plan::Interval;
use jiff::Timestamp;
use rusqlite::{Row, params};

/// One run, as a line of the history.
#[derive(Clone, Debug)]
pub struct RunRow {
    pub id: String,
    pub pipeline: String,
    pub created_at: Timestamp,
    pub interval: Interval,
    /// `None` while it has not ended.
    pub end: Option<RunEnd>,
    pub ended_at: Option<Timestamp>,
    pub pid: Option<u32>,
    pub trigger: Trigger,
    /// How often a process has begun or taken over the run.
    pub epoch: u64,
}

/// A run's state as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    Running,
    Ended(RunEnd),
    /// Its process died; `run --resume` goes on with it.
    Crashed,
}

impl RunStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            RunStatus::Running => "running",
            RunStatus::Ended(end) => end.as_str(),
            RunStatus::Crashed => "crashed",
        }
    }
}

impl RunRow {
    /// `alive`: whether the run has a process.
    pub fn status(&self, alive: bool) -> RunStatus {
        match self.end {
            Some(end) => RunStatus::Ended(end),
            None if alive => RunStatus::Running,
            None => RunStatus::Crashed,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    pub pipeline: Option<String>,
    pub limit: Option<usize>,
}

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

const RUN_COLUMNS: &str =
    "id, pipeline, created_at, interval_start, interval_end, state, ended_at, pid, trigger, epoch";

impl Store {
    /// Runs, newest first.
    pub fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let limit = filter.limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(-1);
        let order = "order by created_at desc, id desc limit";
        self.sqlite(|connection| match &filter.pipeline {
            Some(pipeline) => connection
                .prepare_cached(&format!(
                    "select {RUN_COLUMNS} from runs where pipeline = ? {order} ?"
                ))?
                .query_map(params![pipeline, limit], run_row)?
                .collect(),
            None => connection
                .prepare_cached(&format!("select {RUN_COLUMNS} from runs {order} ?"))?
                .query_map([limit], run_row)?
                .collect(),
        })
    }

    /// The run that `text` means: a whole id, `latest`, or an id's unique beginning or end.
    pub fn find_run(&mut self, text: &str) -> Result<RunRow, StoreError> {
        if text == "latest" {
            let newest = RunFilter { limit: Some(1), ..RunFilter::default() };
            let newest = self.runs(&newest)?.pop();
            return newest.ok_or_else(|| StoreError::NoSuchRun(text.into()));
        }
        let mut found: Vec<RunRow> = self.sqlite(|connection| {
            connection
                .prepare_cached(&format!(
                    "select {RUN_COLUMNS} from runs
                     where substr(id, 1, length(?1)) = ?1 or substr(id, -length(?1)) = ?1
                     order by created_at desc limit 6"
                ))?
                .query_map([text], run_row)?
                .collect()
        })?;
        if let Some(exact) = found.iter().position(|run| run.id == text) {
            return Ok(found.swap_remove(exact));
        }
        match found.len() {
            1 if !text.is_empty() => Ok(found.swap_remove(0)),
            0 | 1 => Err(StoreError::NoSuchRun(text.into())),
            _ => Err(StoreError::AmbiguousRun {
                prefix: text.into(),
                candidates: found.into_iter().map(|run| run.id).collect(),
            }),
        }
    }

    /// The runs of a pipeline whose intervals begin in `span`, oldest first.
    pub fn runs_about(
        &mut self,
        pipeline: &str,
        span: Interval,
    ) -> Result<Vec<RunRow>, StoreError> {
        let (start, end) = (span.start.as_microsecond(), span.end.as_microsecond());
        self.sqlite(|connection| {
            connection
                .prepare_cached(&format!(
                    "select {RUN_COLUMNS} from runs
                     where pipeline = ? and interval_start >= ? and interval_start < ?
                     order by created_at"
                ))?
                .query_map(params![pipeline, start, end], run_row)?
                .collect()
        })
    }

    /// The runs that have not ended, oldest first.
    pub fn open_runs(&mut self) -> Result<Vec<RunRow>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached(&format!(
                    "select {RUN_COLUMNS} from runs where state = 'running' order by created_at"
                ))?
                .query_map([], run_row)?
                .collect()
        })
    }

    /// The newest run that has not ended, of a pipeline or of all.
    pub fn newest_open_run(&mut self) -> Result<Option<RunRow>, StoreError> {
        let found: Vec<RunRow> = self.sqlite(|connection| {
            connection
                .prepare_cached(&format!(
                    "select {RUN_COLUMNS} from runs where state = 'running'
                     order by created_at desc limit 1"
                ))?
                .query_map([], run_row)?
                .collect()
        })?;
        Ok(found.into_iter().next())
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
                .query_map([dataset], |row| {
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
                    Ok((version, row.get::<_, String>(7)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter()
            .map(|(version, schema)| {
                let schema = serde_json::from_str(&schema).map_err(self.damaged("schema"))?;
                Ok(DatasetVersion { schema, ..version })
            })
            .collect()
    }
}

impl Store {
    /// Which datasets were made of which, by what; over all runs.
    pub fn lineage(&mut self) -> Result<Vec<LineageEdge>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached(
                    "select distinct r.dataset, runs.pipeline, v.task, v.dataset
                     from dataset_versions v join runs on runs.id = v.run
                     left join dataset_reads r on r.run = v.run and r.task = v.task
                     order by 4, 2, 3, 1",
                )?
                .query_map([], |row| {
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

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        id: row.get(0)?,
        pipeline: row.get(1)?,
        created_at: timestamp(row.get(2)?),
        interval: Interval { start: timestamp(row.get(3)?), end: timestamp(row.get(4)?) },
        end: parse_end(&row.get::<_, String>(5)?),
        ended_at: row.get::<_, Option<i64>>(6)?.map(timestamp),
        pid: row.get(7)?,
        trigger: parse_trigger(&row.get::<_, String>(8)?),
        epoch: row.get::<_, i64>(9)?.cast_unsigned(),
    })
}
