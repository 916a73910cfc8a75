//! What people ask the store: runs, and versions of datasets.

use super::journal::{parse_end, parse_trigger, timestamp};
use super::{Store, StoreError, Trigger};
use crate::event::{RunEnd, TaskEnd};
use crate::plan::Interval;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

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

/// Which runs. By default all.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    pub pipeline: Option<String>,
    pub state: Option<RunState>,
    /// Only those created in this span of time.
    pub created: Option<Interval>,
    /// Only those older than this one: its time of creation and its id.
    pub before: Option<(Timestamp, String)>,
    pub limit: Option<usize>,
}

/// A run's state as the store knows it: whether a run that has not ended has a process, its lock
/// tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    Open,
    Ended(RunEnd),
}

const RUN_COLUMNS: &str =
    "id, pipeline, created_at, interval_start, interval_end, state, ended_at, pid, trigger, epoch";

impl Store {
    /// Runs, newest first.
    pub fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let RunFilter { pipeline, state, created, before, limit } = filter;
        let state = state.map(|state| match state {
            RunState::Open => "running",
            RunState::Ended(end) => end.as_str(),
        });
        // Each combination is a statement of its own, so that it finds its index.
        let mut sql = format!("select {RUN_COLUMNS} from runs where true");
        let mut values: Vec<rusqlite::types::Value> = Vec::new();
        if let Some(pipeline) = pipeline {
            sql.push_str(" and pipeline = ?");
            values.push(pipeline.clone().into());
        }
        if let Some(state) = state {
            sql.push_str(" and state = ?");
            values.push(state.to_owned().into());
        }
        if let Some(Interval { start, end }) = created {
            sql.push_str(" and created_at >= ? and created_at < ?");
            values.extend([start.as_microsecond().into(), end.as_microsecond().into()]);
        }
        if let Some((at, id)) = before {
            sql.push_str(" and (created_at, id) < (?, ?)");
            values.extend([at.as_microsecond().into(), id.clone().into()]);
        }
        sql.push_str(" order by created_at desc, id desc limit ?");
        values.push(limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(-1).into());
        self.sqlite(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map(rusqlite::params_from_iter(values), run_row)?
                .collect()
        })
    }

    /// The task whose attempt failed last in a run, which attempt that was, and why it failed.
    pub fn last_failure(&mut self, run: &str) -> Result<Option<(String, u32, String)>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached(
                    "select json ->> '$.task', json ->> '$.attempt', json ->> '$.result.message'
                     from events
                     where run = ? and kind = 'attempt_ended'
                     and json ->> '$.result.result' = 'failed' order by seq desc limit 1",
                )?
                .query_row([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })
    }

    /// The digest of the definition that a run has.
    pub fn definition_of(&mut self, run: &str) -> Result<Option<String>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached("select definition from runs where id = ?")?
                .query_row([run], |row| row.get(0))
                .optional()
        })
    }

    /// The names of the pipelines that have runs, sorted.
    pub fn pipelines(&mut self) -> Result<Vec<String>, StoreError> {
        self.sqlite(|connection| {
            connection
                // From each name to the next one, by the index: there are many more runs.
                .prepare_cached(
                    "with recursive names (name) as (
                         select min(pipeline) from runs
                         union all
                         select (select min(pipeline) from runs where pipeline > name) from names
                         where name is not null
                     )
                     select name from names where name is not null",
                )?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    /// How many runs of a pipeline there are.
    pub fn count_runs(&mut self, pipeline: &str) -> Result<u64, StoreError> {
        let count: i64 = self.sqlite(|connection| {
            connection
                .prepare_cached("select count(*) from runs where pipeline = ?")?
                .query_row([pipeline], |row| row.get(0))
        })?;
        Ok(count.cast_unsigned())
    }

    /// The final states of a run's tasks, by name; of those that have one.
    pub fn task_ends(&mut self, run: &str) -> Result<Vec<(String, TaskEnd)>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached("select task, state from task_ends where run = ? order by task")?
                .query_map([run], |row| {
                    Ok((row.get(0)?, parse_task_end(&row.get::<_, String>(1)?)))
                })?
                .collect()
        })
    }

    /// The run that `text` means: a whole id, `latest`, or an id's unique beginning or end.
    pub fn find_run(&mut self, text: &str) -> Result<RunRow, StoreError> {
        let back = text.strip_prefix('-').and_then(|number| number.parse().ok());
        if let Some(back) = if text == "latest" { Some(1) } else { back.filter(|back| *back > 0) } {
            let newest = RunFilter { limit: Some(back), ..RunFilter::default() };
            let newest = self.runs(&newest)?;
            return newest
                .into_iter()
                .nth(back - 1)
                .ok_or_else(|| StoreError::NoSuchRun(text.into()));
        }
        let exact = self.sqlite(|connection| {
            connection
                .prepare_cached(&format!("select {RUN_COLUMNS} from runs where id = ?"))?
                .query_row([text], run_row)
                .optional()
        })?;
        if let Some(exact) = exact {
            return Ok(exact);
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

fn parse_task_end(state: &str) -> TaskEnd {
    let all = [
        TaskEnd::Succeeded,
        TaskEnd::Failed,
        TaskEnd::Cancelled,
        TaskEnd::Skipped,
        TaskEnd::UpstreamFailed,
    ];
    all.into_iter().find(|end| end.as_str() == state).unwrap_or(TaskEnd::Failed)
}
