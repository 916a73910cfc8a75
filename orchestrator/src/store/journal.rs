//! The journal of runs: creating, owning, appending, reading back.

use super::{Store, StoreError};
use crate::event::{Event, RunEnd, TaskEnd, VERSION};
use crate::plan::Interval;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::{Value, json};

/// What a run is created with.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub id: String,
    pub pipeline: String,
    pub created_at: Timestamp,
    pub interval: Interval,
    /// Identifies the definition; equal definitions are stored once.
    pub definition_digest: String,
    pub definition: String,
    /// How the run was asked for, as JSON; what a resumed run plans with.
    pub request: String,
    pub trigger: Trigger,
}

/// Who asked for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A person, at the command line.
    Manual,
    Schedule,
    /// A person, for many intervals at once.
    Backfill,
    /// A person on the pages, or a program by the API: the daemon has started it.
    Web,
}

impl Trigger {
    const ALL: [Trigger; 4] = [Trigger::Manual, Trigger::Schedule, Trigger::Backfill, Trigger::Web];

    pub const fn as_str(self) -> &'static str {
        match self {
            Trigger::Manual => "manual",
            Trigger::Schedule => "schedule",
            Trigger::Backfill => "backfill",
            Trigger::Web => "web",
        }
    }
}

/// What a run was created with, read back.
#[derive(Clone, Debug)]
pub struct StoredRun {
    pub id: String,
    pub pipeline: String,
    pub created_at: Timestamp,
    pub interval: Interval,
    pub definition_digest: String,
    pub definition: String,
    pub request: String,
    /// `None` while it has not ended.
    pub end: Option<RunEnd>,
}

/// An event with its place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Counts from 1 in each run.
    pub seq: u64,
    pub at: Timestamp,
    pub epoch: u64,
    pub event: Event,
}

impl Record {
    /// As programs read it: the event with its place and its time.
    pub fn to_json(&self) -> Value {
        let mut value = json!({ "seq": self.seq, "at": self.at });
        if let (Some(object), Ok(Value::Object(event))) =
            (value.as_object_mut(), serde_json::to_value(&self.event))
        {
            object.extend(event);
        }
        value
    }
}

impl Store {
    /// Creates a run, unless `max_active` runs of its pipeline are active already, those of a
    /// backfill not counted: the ids of those come back. `alive` tells whether a run that has not
    /// ended has a process.
    pub fn create_run(
        &mut self,
        run: &NewRun,
        max_active: usize,
        alive: impl Fn(&str) -> bool,
    ) -> Result<Result<(), Vec<String>>, StoreError> {
        self.sqlite(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let active = active(&transaction, &run.pipeline, alive)?;
            if active.len() >= max_active {
                return Ok(Err(active));
            }
            insert_run(&transaction, run)?;
            transaction.commit()?;
            Ok(Ok(()))
        })
    }

    /// Takes a run over: from now on only events of the returned epoch are accepted. The caller
    /// holds the run's lock.
    pub fn claim(&mut self, run: &str, pid: u32) -> Result<u64, StoreError> {
        let epoch = self.sqlite(|connection| {
            connection
                .query_row(
                    "update runs set epoch = epoch + 1, pid = ? where id = ? returning epoch",
                    params![pid, run],
                    |row| row.get::<_, i64>(0),
                )
                .optional()
        })?;
        epoch.map(i64::cast_unsigned).ok_or_else(|| StoreError::NoSuchRun(run.into()))
    }

    /// Appends events in one transaction; when this returns, they are durable. `first_seq` is the
    /// place of the first; `ends` are the tasks that reached their final state by these events.
    pub fn append(
        &mut self,
        run: &str,
        epoch: u64,
        first_seq: u64,
        at: Timestamp,
        events: &[Event],
        ends: &[(String, TaskEnd)],
    ) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let at = at.as_microsecond();
        let done = self.sqlite(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let owner: i64 = transaction
                .prepare_cached("select epoch from runs where id = ?")?
                .query_row([run], |row| row.get(0))?;
            if owner != epoch.cast_signed() {
                return Ok(false);
            }
            for (seq, event) in (first_seq..).zip(events) {
                insert(&transaction, run, epoch, seq, at, event)?;
            }
            for (task, state) in ends {
                transaction
                    .prepare_cached("insert or replace into task_ends values (?, ?, ?, ?)")?
                    .execute(params![run, task, state.as_str(), at])?;
            }
            crate::failpoint::hit("journal.before_commit");
            transaction.commit()?;
            Ok(true)
        })?;
        crate::failpoint::hit("journal.after_commit");
        if done { Ok(()) } else { Err(StoreError::Fenced { run: run.into() }) }
    }

    /// The events of a run behind `after` (0: all), in order.
    pub fn events(&mut self, run: &str, after: u64) -> Result<Vec<Record>, StoreError> {
        let rows = self.sqlite(|connection| {
            connection
                .prepare_cached(
                    "select seq, at, epoch, json from events where run = ? and seq > ?
                     order by seq",
                )?
                .query_map(params![run, after.cast_signed()], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get(3)?))
                })?
                .collect::<rusqlite::Result<Vec<(i64, i64, i64, String)>>>()
        })?;
        rows.into_iter()
            .map(|(seq, at, epoch, json)| {
                Ok(Record {
                    seq: seq.cast_unsigned(),
                    at: timestamp(at),
                    epoch: epoch.cast_unsigned(),
                    event: serde_json::from_str(&json).map_err(self.damaged("event"))?,
                })
            })
            .collect()
    }

    /// What a run was created with.
    pub fn stored_run(&mut self, run: &str) -> Result<StoredRun, StoreError> {
        let found = self.sqlite(|connection| {
            connection
                .query_row(
                    "select id, pipeline, created_at, interval_start, interval_end, definition,
                     json, request, state
                     from runs join definitions on definition = digest where id = ?",
                    [run],
                    |row| {
                        let end = parse_end(&row.get::<_, String>(8)?);
                        Ok(StoredRun {
                            id: row.get(0)?,
                            pipeline: row.get(1)?,
                            created_at: timestamp(row.get(2)?),
                            interval: Interval {
                                start: timestamp(row.get(3)?),
                                end: timestamp(row.get(4)?),
                            },
                            definition_digest: row.get(5)?,
                            definition: row.get(6)?,
                            request: row.get(7)?,
                            end,
                        })
                    },
                )
                .optional()
        })?;
        found.ok_or_else(|| StoreError::NoSuchRun(run.into()))
    }

    /// Asks a run to stop; its process notices.
    pub fn request_cancel(
        &mut self,
        run: &str,
        at: Timestamp,
        reason: &str,
    ) -> Result<(), StoreError> {
        let at = at.as_microsecond();
        self.sqlite(|connection| {
            connection.execute(
                "insert into requests (run, at, kind, reason) values (?, ?, 'cancel', ?)",
                params![run, at, reason],
            )
        })?;
        Ok(())
    }

    /// Forgets what a run was asked while it had no process.
    pub fn forget_requests(&mut self, run: &str) -> Result<(), StoreError> {
        self.sqlite(|connection| connection.execute("delete from requests where run = ?", [run]))?;
        Ok(())
    }

    /// The newest request to cancel a run that came after the request `after`, with its number.
    pub fn cancel_request(
        &mut self,
        run: &str,
        after: i64,
    ) -> Result<Option<(i64, String)>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached(
                    "select id, reason from requests where run = ? and id > ? and kind = 'cancel'
                     order by id desc limit 1",
                )?
                .query_row(params![run, after], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
    }
}

pub(super) fn timestamp(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn parse_trigger(text: &str) -> Trigger {
    Trigger::ALL.into_iter().find(|known| known.as_str() == text).unwrap_or(Trigger::Manual)
}

pub(super) fn parse_end(state: &str) -> Option<RunEnd> {
    [RunEnd::Succeeded, RunEnd::Failed, RunEnd::Cancelled]
        .into_iter()
        .find(|end| end.as_str() == state)
}

/// The runs of a pipeline that count for `max_active_runs`.
pub(super) fn active(
    transaction: &Transaction<'_>,
    pipeline: &str,
    alive: impl Fn(&str) -> bool,
) -> rusqlite::Result<Vec<String>> {
    let open = transaction
        .prepare_cached(
            "select id from runs
             where pipeline = ? and state = 'running' and trigger <> 'backfill'",
        )?
        .query_map([pipeline], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(open.into_iter().filter(|id| alive(id)).collect())
}

pub(super) fn insert_run(transaction: &Transaction<'_>, run: &NewRun) -> rusqlite::Result<()> {
    transaction.execute(
        "insert or ignore into definitions (digest, json) values (?, ?)",
        [&run.definition_digest, &run.definition],
    )?;
    transaction.execute(
        "insert into runs (id, pipeline, created_at, interval_start, interval_end, definition,
         request, trigger) values (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            run.id,
            run.pipeline,
            run.created_at.as_microsecond(),
            run.interval.start.as_microsecond(),
            run.interval.end.as_microsecond(),
            run.definition_digest,
            run.request,
            run.trigger.as_str(),
        ],
    )?;
    Ok(())
}

/// Writes one event and what is derived from it.
fn insert(
    transaction: &Transaction<'_>,
    run: &str,
    epoch: u64,
    seq: u64,
    at: i64,
    event: &Event,
) -> rusqlite::Result<()> {
    let json = serde_json::to_value(event).map_err(to_sql_error)?;
    let kind = json["kind"].as_str().unwrap_or_default();
    transaction
        .prepare_cached(
            "insert into events (run, seq, at, epoch, kind, version, json)
             values (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            run,
            seq.cast_signed(),
            at,
            epoch.cast_signed(),
            kind,
            VERSION,
            json.to_string()
        ])?;
    match event {
        Event::ReadPinned { task, input, dataset, version } => {
            transaction
                .prepare_cached(
                    "insert or replace into dataset_reads (dataset, run, task, input, at, version)
                     values (?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![dataset.to_string(), run, task, input, at, version])?;
        }
        Event::Published { task, output, dataset, published } => {
            let schema = serde_json::to_string(&published.schema).map_err(to_sql_error)?;
            transaction
                .prepare_cached(
                    "insert or replace into dataset_versions
                     (dataset, at, run, task, output, version, rows, bytes, schema)
                     values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    dataset.to_string(),
                    at,
                    run,
                    task,
                    output,
                    published.version,
                    published.rows.cast_signed(),
                    published.bytes.cast_signed(),
                    schema
                ])?;
        }
        Event::RunEnded { state } => {
            transaction
                .prepare_cached("update runs set state = ?, ended_at = ? where id = ?")?
                .execute(params![state.as_str(), at, run])?;
        }
        _ => {}
    }
    Ok(())
}

fn to_sql_error(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
