//! The tables of the store.

use rusqlite::{Connection, TransactionBehavior};

/// The format that this program reads and writes; kept in `user_version`.
pub(super) const FORMAT: i64 = 1;

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

/// Brings an older or empty store to [`FORMAT`]; several processes may try at once.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found < 1 {
        transaction.execute_batch(TABLES)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}
