//! The tables of the store.

use rusqlite::{Connection, TransactionBehavior};

/// The format that this program reads and writes; kept in `user_version`.
pub(super) const FORMAT: i64 = 3;

const TABLES: &str = "
create table definitions (
    digest text primary key,
    json text not null
) without rowid;

create table runs (
    id text primary key,
    pipeline text not null,
    created_at integer not null,          -- microseconds since 1970, as all times here
    interval_start integer not null,
    interval_end integer not null,
    definition text not null references definitions (digest),
    request text not null,                -- json: params, profile, selection, trigger
    epoch integer not null default 0,
    pid integer,
    state text not null default 'running', -- running, succeeded, failed, cancelled
    ended_at integer
) without rowid;
create index runs_by_pipeline on runs (pipeline, created_at);
create index runs_by_time on runs (created_at);
create index runs_open on runs (pipeline) where state = 'running';

create table events (
    run text not null references runs (id) on delete cascade,
    seq integer not null,
    at integer not null,
    epoch integer not null,
    kind text not null,
    version integer not null,
    json text not null,
    primary key (run, seq)
) without rowid;

create table requests (
    id integer primary key,
    run text not null references runs (id) on delete cascade,
    at integer not null,
    kind text not null,                   -- cancel
    reason text not null
);
create index requests_by_run on requests (run);

create table dataset_versions (
    dataset text not null,
    at integer not null,
    run text not null references runs (id) on delete cascade,
    task text not null,
    output text not null,
    version integer,
    rows integer not null,
    bytes integer not null,
    schema text not null,                 -- json: [[name, type], ...]
    primary key (dataset, at, run, task, output)
) without rowid;
create index dataset_versions_by_task on dataset_versions (run, task);

create table dataset_reads (
    dataset text not null,
    run text not null references runs (id) on delete cascade,
    task text not null,
    input text not null,
    at integer not null,
    version integer,
    primary key (run, task, input)
) without rowid;
";

/// What came with schedules.
const SCHEDULES: &str = "
alter table runs add column trigger text not null default 'manual';

create table schedules (
    pipeline text primary key,
    schedule text not null,               -- what the fire times depend on
    decided_until integer not null,       -- what was due up to here is in `fires`
    paused integer not null default false
) without rowid;

create table fires (                      -- fire times in a row with one fate
    pipeline text not null,
    first integer not null,
    last integer not null,
    count integer not null,
    fate text not null,                   -- queued, run, or why it was left out
    interval_start integer,               -- of one that was queued; it ends when it is due
    run text,                             -- its id; the run itself may be gone
    primary key (pipeline, first)
) without rowid;
create index fires_queued on fires (pipeline, first) where fate = 'queued';
";

/// What came with the pages: what they ask is one indexed query each.
const PAGES: &str = "
create table task_ends (
    run text not null references runs (id) on delete cascade,
    task text not null,
    state text not null,                  -- succeeded, failed, cancelled, skipped, upstream_failed
    at integer not null,
    primary key (run, task)
) without rowid;
-- Final is what no later event of the task follows, and what a run that has ended leaves behind.
insert into task_ends
select last.run, last.task, last.state, last.at from (
    select run, json ->> '$.task' as task, at,
        coalesce(json ->> '$.state', json ->> '$.result.result') as state,
        row_number() over (partition by run, json ->> '$.task' order by seq desc) as place
    from events where json ->> '$.task' is not null
) as last join runs on runs.id = last.run
where last.place = 1 and (
    last.state in ('skipped', 'upstream_failed', 'succeeded')
    or (last.state in ('failed', 'cancelled') and runs.state <> 'running')
);
create index runs_by_pipeline_and_state on runs (pipeline, state, created_at);
create index runs_by_state on runs (state, created_at);
create index fires_by_time on fires (last);
create index dataset_reads_by_dataset on dataset_reads (dataset, at);
create table queries (                    -- what people have asked tables
    id integer primary key,
    at integer not null,
    sql text not null,
    took integer not null,                -- microseconds
    rows integer,
    error text
);
create index queries_by_time on queries (at);
";

/// Brings an older or empty store to [`FORMAT`]; several processes may try at once.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found < 1 {
        transaction.execute_batch(TABLES)?;
    }
    if found < 2 {
        transaction.execute_batch(SCHEDULES)?;
    }
    if found < 3 {
        transaction.execute_batch(PAGES)?;
    }
    if found < FORMAT {
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TaskEnd;
    use crate::store::{RunFilter, Store, Trigger};

    #[test]
    fn a_store_of_the_first_format_is_brought_to_this_one() {
        let data = tempfile::tempdir().unwrap();
        let old = Connection::open(data.path().join("store.db")).unwrap();
        old.execute_batch(TABLES).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute_batch(
            "insert into definitions values ('d', '{}');
             insert into runs (id, pipeline, created_at, interval_start, interval_end, definition,
             request, state) values ('r', 'p', 1, 0, 1, 'd', '{}', 'failed');",
        )
        .unwrap();
        let mut seq = 0;
        let mut event = |text: &str| {
            seq += 1;
            let values = ["r", &seq.to_string(), text];
            old.execute("insert into events values (?, ?, 5, 1, '', 1, ?)", values).unwrap();
        };
        event(r#"{"kind":"attempt_started","task":"a","attempt":1}"#);
        event(r#"{"kind":"attempt_ended","task":"a","result":{"result":"failed","message":""}}"#);
        event(r#"{"kind":"attempt_started","task":"a","attempt":2}"#);
        event(r#"{"kind":"attempt_ended","task":"a","result":{"result":"succeeded"}}"#);
        event(r#"{"kind":"attempt_ended","task":"b","result":{"result":"failed","message":""}}"#);
        event(r#"{"kind":"task_ended","task":"c","state":"upstream_failed"}"#);
        event(r#"{"kind":"attempt_started","task":"d","attempt":1}"#);
        event(r#"{"kind":"attempt_ended","task":"d","result":{"result":"lost"}}"#);
        let mut store = Store::open(data.path()).unwrap();
        let runs = store.runs(&RunFilter::default()).unwrap();
        assert_eq!((runs.len(), runs[0].trigger), (1, Trigger::Manual));
        assert_eq!(store.fires("p", 10).unwrap(), []);
        let ends = store.task_ends("r").unwrap();
        let expect =
            [("a", TaskEnd::Succeeded), ("b", TaskEnd::Failed), ("c", TaskEnd::UpstreamFailed)];
        assert_eq!(ends, expect.map(|(task, end)| (task.to_owned(), end)));
    }
}
