//! What has become of the times at which runs were due.

use super::journal::{active, insert_run, timestamp};
use super::{NewRun, Store, StoreError};
use crate::plan::Interval;
use crate::scheduler::{Decision, LeftOut, Standing, Why};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::BTreeSet;

/// One or more fire times of a pipeline in a row, and what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FireRow {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    pub fate: Fate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for its run to start.
    Queued,
    /// This run was made for it.
    Run(String),
    LeftOut(Why),
}

impl Store {
    /// How things stand with a pipeline, beside its active runs. One that is seen for the first
    /// time, or whose schedule is another than before, is decided until `now`.
    pub fn standing(
        &mut self,
        pipeline: &str,
        schedule: &str,
        now: Timestamp,
    ) -> Result<Standing, StoreError> {
        self.sqlite(|connection| {
            let known = connection
                .prepare_cached(
                    "select decided_until, paused from schedules
                     where pipeline = ? and schedule = ?",
                )?
                .query_row([pipeline, schedule], |row| Ok((timestamp(row.get(0)?), row.get(1)?)))
                .optional()?;
            let (decided_until, paused) = match known {
                Some(known) => known,
                None => connection.query_row(
                    "insert into schedules (pipeline, schedule, decided_until) values (?, ?, ?)
                     on conflict (pipeline) do update set
                     schedule = excluded.schedule,
                     decided_until = max(decided_until, excluded.decided_until)
                     returning decided_until, paused",
                    params![pipeline, schedule, now.as_microsecond()],
                    |row| Ok((timestamp(row.get(0)?), row.get(1)?)),
                )?,
            };
            let queued = connection
                .prepare_cached(
                    "select interval_start, first from fires
                     where pipeline = ? and fate = 'queued' order by first",
                )?
                .query_map([pipeline], |row| {
                    Ok(Interval { start: timestamp(row.get(0)?), end: timestamp(row.get(1)?) })
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Standing { decided_until, paused, queued, active: Vec::new() })
        })
    }

    /// Writes a decision down; a fire time that is decided already stays as it is. Runs that are to
    /// be cancelled are asked to in the same transaction.
    pub fn record_decision(
        &mut self,
        pipeline: &str,
        decision: &Decision,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            transaction.execute(
                "update schedules set decided_until = max(decided_until, ?) where pipeline = ?",
                params![decision.decided_until.as_microsecond(), pipeline],
            )?;
            if decision.replaces_queued {
                transaction.execute(
                    "update fires set fate = ? where pipeline = ? and fate = 'queued'",
                    [Why::Replaced.as_str(), pipeline],
                )?;
            }
            for row in &decision.left_out {
                if !join(transaction, pipeline, row)? {
                    let LeftOut { first, last, count, why } = row;
                    transaction.execute(
                        "insert or ignore into fires (pipeline, first, last, count, fate)
                         values (?, ?, ?, ?, ?)",
                        params![
                            pipeline,
                            first.as_microsecond(),
                            last.as_microsecond(),
                            count.cast_signed(),
                            why.as_str()
                        ],
                    )?;
                }
            }
            for Interval { start, end } in &decision.queue {
                transaction.execute(
                    "insert or ignore into fires
                     (pipeline, first, last, count, fate, interval_start)
                     values (?1, ?2, ?2, 1, 'queued', ?3)",
                    params![pipeline, end.as_microsecond(), start.as_microsecond()],
                )?;
            }
            for run in &decision.cancel {
                transaction.execute(
                    "insert into requests (run, at, kind, reason) values (?, ?, 'cancel', ?)",
                    params![run, now.as_microsecond(), "the next run is due"],
                )?;
            }
            Ok(())
        })
    }

    /// Makes the run of the queued fire that its interval ends at; `false` if that waits no longer,
    /// or must still wait since `max_active` runs of its pipeline are active. `alive` tells whether
    /// a run that has not ended has a process.
    pub fn start_fire(
        &mut self,
        run: &NewRun,
        max_active: usize,
        alive: impl Fn(&str) -> bool,
    ) -> Result<bool, StoreError> {
        self.in_transaction(|transaction| {
            if active(transaction, &run.pipeline, alive)?.len() >= max_active {
                return Ok(false);
            }
            let changed = transaction.execute(
                "update fires set fate = 'run', run = ?
                 where pipeline = ? and first = ? and fate = 'queued'",
                params![run.id, run.pipeline, run.interval.end.as_microsecond()],
            )?;
            if changed == 1 {
                insert_run(transaction, run)?;
            }
            Ok(changed == 1)
        })
    }

    /// Whether no runs of a pipeline's schedule are made; `None` if no daemon knows it.
    pub fn is_paused(&mut self, pipeline: &str) -> Result<Option<bool>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached("select paused from schedules where pipeline = ?")?
                .query_row([pipeline], |row| row.get(0))
                .optional()
        })
    }

    /// Stops or goes on making runs of a pipeline's schedule.
    pub fn set_paused(
        &mut self,
        pipeline: &str,
        paused: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.sqlite(|connection| {
            connection.execute(
                "insert into schedules (pipeline, schedule, decided_until, paused)
                 values (?1, '', ?2, ?3)
                 on conflict (pipeline) do update set paused = ?3",
                params![pipeline, now.as_microsecond(), paused],
            )
        })?;
        Ok(())
    }

    /// The fire times of a pipeline, newest first.
    pub fn fires(&mut self, pipeline: &str, limit: usize) -> Result<Vec<FireRow>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached(
                    "select first, last, count, fate, run from fires where pipeline = ?
                     order by first desc limit ?",
                )?
                .query_map(params![pipeline, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                    let fate: String = row.get(3)?;
                    let why = Why::ALL.into_iter().find(|why| why.as_str() == fate);
                    Ok(FireRow {
                        first: timestamp(row.get(0)?),
                        last: timestamp(row.get(1)?),
                        count: row.get::<_, i64>(2)?.cast_unsigned(),
                        fate: match why {
                            Some(why) => Fate::LeftOut(why),
                            None => {
                                row.get::<_, Option<String>>(4)?.map_or(Fate::Queued, Fate::Run)
                            }
                        },
                    })
                })?
                .collect()
        })
    }

    /// The pipelines whose schedules are paused.
    pub fn paused(&mut self) -> Result<BTreeSet<String>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached("select pipeline from schedules where paused")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    /// The fire times since `since` that were left out, but for paused schedules, with their
    /// pipelines, newest first.
    pub fn left_out(
        &mut self,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<(String, LeftOut)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.sqlite(|connection| {
            connection
                .prepare_cached(
                    "select pipeline, first, last, count, fate from fires
                     where last >= ? and fate not in ('queued', 'run', 'paused')
                     order by last desc limit ?",
                )?
                .query_map(params![since.as_microsecond(), limit], |row| {
                    let fate: String = row.get(4)?;
                    let why = Why::ALL.into_iter().find(|why| why.as_str() == fate);
                    let pipeline = row.get(0)?;
                    let left_out = LeftOut {
                        first: timestamp(row.get(1)?),
                        last: timestamp(row.get(2)?),
                        count: row.get::<_, i64>(3)?.cast_unsigned(),
                        why: why.unwrap_or(Why::Missed),
                    };
                    Ok((pipeline, left_out))
                })?
                .collect()
        })
    }

    fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.sqlite(|connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            crate::failpoint::hit("fires.before_commit");
            transaction.commit()?;
            crate::failpoint::hit("fires.after_commit");
            Ok(done)
        })
    }
}

/// Adds fire times of a paused schedule to the newest row of their pipeline, if that is of the same: a
/// schedule that is paused for a year has one row. `false`: they need a row.
fn join(transaction: &Transaction<'_>, pipeline: &str, row: &LeftOut) -> rusqlite::Result<bool> {
    if row.why != Why::Paused {
        return Ok(false);
    }
    let joined = transaction.execute(
        "update fires set last = ?3, count = count + ?4
         where pipeline = ?1 and fate = ?5 and last < ?2
         and first = (select max(first) from fires where pipeline = ?1)",
        params![
            pipeline,
            row.first.as_microsecond(),
            row.last.as_microsecond(),
            row.count.cast_signed(),
            row.why.as_str()
        ],
    )?;
    Ok(joined == 1)
}
