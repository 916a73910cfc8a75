//! Statistics: what people have asked tables, what came in, how many runs there are.

use super::journal::timestamp;
use super::{Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, params};

/// A query that somebody has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryRow {
    pub at: Timestamp,
    pub sql: String,
    pub took: SignedDuration,
    /// How many rows it gave, or why it gave none.
    pub result: Result<u64, String>,
}

impl Store {
    /// Notes a query.
    pub fn record_query(&mut self, query: &QueryRow) -> Result<(), StoreError> {
        let took = i64::try_from(query.took.as_micros()).unwrap_or(i64::MAX);
        let rows = query.result.as_ref().ok().map(|rows| rows.cast_signed());
        let error = query.result.as_ref().err();
        self.sqlite(|connection| {
            connection.execute(
                "insert into queries (at, sql, took, rows, error) values (?, ?, ?, ?, ?)",
                params![query.at.as_microsecond(), query.sql, took, rows, error],
            )
        })?;
        Ok(())
    }

    /// The queries since `since`, newest first.
    pub fn queries(&mut self, since: Timestamp, limit: usize) -> Result<Vec<QueryRow>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.sqlite(|connection| {
            connection
                .prepare_cached(
                    "select at, sql, took, rows, error from queries where at >= ?
                     order by at desc limit ?",
                )?
                .query_map(params![since.as_microsecond(), limit], |row| {
                    let rows: Option<i64> = row.get(3)?;
                    let error: Option<String> = row.get(4)?;
                    Ok(QueryRow {
                        at: timestamp(row.get(0)?),
                        sql: row.get(1)?,
                        took: SignedDuration::from_micros(row.get(2)?),
                        result: error.map_or(Ok(rows.unwrap_or(0).cast_unsigned()), Err),
                    })
                })?
                .collect()
        })
    }
}

/// How much came in by a topic, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingestion {
    pub topic: String,
    /// Rows that runs have written to it.
    pub rows: u64,
    /// Rows that runs have landed from it, and those that did not fit.
    pub landed: u64,
    pub dead_letters: u64,
    /// When it was last written, or a run began to read it where none writes it.
    pub at: Timestamp,
    /// The runs that have written and read it last.
    pub runs: Vec<String>,
}

impl Store {
    /// What has come in since `since`, by topic.
    pub fn ingestion(&mut self, since: Timestamp) -> Result<Vec<Ingestion>, StoreError> {
        self.sqlite(|connection| {
            let count = |row: &Row<'_>, column| -> rusqlite::Result<u64> {
                Ok(row.get::<_, i64>(column)?.cast_unsigned())
            };
            connection
                .prepare_cached(
                    // Who lands writes what it could not land to an output of that name. `run` is
                    // of the row that `max` has found, as SQLite documents.
                    "with written as (
                         select dataset as topic, sum(rows) as rows, max(at) as at, run
                         from dataset_versions
                         where dataset >= 'topic:' and dataset < 'topic;' and at >= ?1
                         group by dataset
                     ), landed as (
                         select r.dataset as topic, max(r.at) as at, r.run as run,
                             sum(iif(v.output = 'dead_letters', 0, v.rows)) as rows,
                             sum(iif(v.output = 'dead_letters', v.rows, 0)) as dead
                         from dataset_reads r
                         left join dataset_versions v on v.run = r.run and v.task = r.task
                         where r.dataset >= 'topic:' and r.dataset < 'topic;' and r.at >= ?1
                         group by r.dataset
                     )
                     select topic, coalesce(written.rows, 0), coalesce(landed.rows, 0),
                         coalesce(dead, 0), coalesce(written.at, landed.at),
                         written.run, landed.run
                     from written full join landed using (topic) order by topic",
                )?
                .query_map([since.as_microsecond()], |row| {
                    let runs: [Option<String>; 2] = [row.get(5)?, row.get(6)?];
                    Ok(Ingestion {
                        topic: row.get(0)?,
                        rows: count(row, 1)?,
                        landed: count(row, 2)?,
                        dead_letters: count(row, 3)?,
                        at: timestamp(row.get(4)?),
                        runs: runs.into_iter().flatten().collect(),
                    })
                })?
                .collect()
        })
    }

    /// How many runs there are, by pipeline and by state as the store knows it.
    pub fn tally(&mut self) -> Result<Vec<(String, String, u64)>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached("select pipeline, state, count(*) from runs group by 1, 2")?
                .query_map([], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned()))
                })?
                .collect()
        })
    }

    /// How much later than due the runs of schedules since `since` were made, in their order.
    pub fn delays(&mut self, since: Timestamp) -> Result<Vec<SignedDuration>, StoreError> {
        self.sqlite(|connection| {
            connection
                .prepare_cached(
                    "select created_at - interval_end from runs
                     where created_at >= ? and trigger = 'schedule' order by created_at",
                )?
                .query_map([since.as_microsecond()], |row| {
                    Ok(SignedDuration::from_micros(row.get(0)?))
                })?
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_kept_with_their_errors() {
        let mut store = Store::in_memory().unwrap();
        let query = |second, result| QueryRow {
            at: Timestamp::from_second(second).unwrap(),
            sql: "select 1".into(),
            took: SignedDuration::from_millis(12),
            result,
        };
        let all = [query(3, Err("no such column".into())), query(2, Ok(7)), query(1, Ok(0))];
        all.iter().rev().for_each(|query| store.record_query(query).unwrap());
        let since = Timestamp::from_second(2).unwrap();
        assert_eq!(store.queries(since, 10).unwrap(), all[..2]);
    }
}
