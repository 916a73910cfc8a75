//! Wide-column tables in HBase, by way of its Thrift server.
//!
//! All cells of a load carry its timestamp, so that putting them again changes nothing. A batch is
//! not atomic in HBase: after an error all of it is put again.

mod check;
mod connection;
mod errors;
mod load;
#[cfg(test)]
mod tests;

pub(in crate::places) use check::{SERVER, check};

use super::{Cell, KeyValues, Load, Row, Scan, Summary};
use async_trait::async_trait;
use connection::Connection;
use hbase_thrift::hbase::{THbaseSyncClient, TRowResult, TScan};
use jiff::Timestamp;
use orchestrator::attempt::TaskError;
use orchestrator::event::Published;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Rows that a scan asks for at once.
const SCAN_ROWS: usize = 1000;

/// Where a profile's HBase is: the key `hbase` of a profile.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HbaseSettings {
    /// Host and port of the Thrift server (`hbase thrift start`), such as `localhost:9090`; binary
    /// protocol, buffered transport.
    #[schemars(regex(pattern = "^.+:[0-9]+$"))]
    thrift: String,
    /// The namespace of all tables; it must exist.
    #[serde(default)]
    namespace: Option<String>,
    /// Rows in one call.
    #[serde(default = "batch_rows")]
    #[schemars(range(min = 1, max = 100_000))]
    batch_rows: usize,
    /// Connections that put at the same time.
    #[serde(default = "connections")]
    #[schemars(range(min = 1, max = 64))]
    connections: usize,
}

fn batch_rows() -> usize {
    1000
}

fn connections() -> usize {
    4
}

/// The tables of an HBase.
#[derive(Clone, Debug)]
pub struct HbaseKeyValues {
    settings: Arc<HbaseSettings>,
    patience: Duration,
}

impl HbaseKeyValues {
    /// Connects to nothing. `patience`: how long a server that is away is waited for.
    pub fn new(settings: HbaseSettings, patience: Duration) -> Self {
        HbaseKeyValues { settings: Arc::new(settings), patience }
    }

    /// The table's name in HBase.
    fn qualified(&self, table: &str) -> String {
        match &self.settings.namespace {
            Some(namespace) => format!("{namespace}:{table}"),
            None => table.to_owned(),
        }
    }

    /// Works with a connection on a thread that may wait for HBase. The thread stops waiting when
    /// this future is dropped.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, &HbaseKeyValues) -> Result<T, TaskError> + Send + 'static,
    ) -> Result<T, TaskError> {
        let (kv, span) = (self.clone(), tracing::Span::current());
        let stop = CancellationToken::new();
        let _stop_when_dropped = stop.clone().drop_guard();
        let joined = tokio::task::spawn_blocking(move || {
            let _entered = span.entered();
            work(&mut Connection::new(&kv.settings.thrift, kv.patience, stop), &kv)
        });
        match joined.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(TaskError::Cancelled),
            },
        }
    }

    /// The table's families without their colons; `None` if there is no such table.
    fn families(
        &self,
        connection: &mut Connection,
        table: &str,
    ) -> Result<Option<Vec<String>>, TaskError> {
        let name = self.qualified(table);
        let doing = format!("can't look at `kv:{table}`");
        let names = connection.call(&doing, |client| client.get_table_names())?;
        if !names.iter().any(|found| *found == name.as_bytes()) {
            return Ok(None);
        }
        let found =
            connection.call(&doing, |client| client.get_column_descriptors(name.clone().into()))?;
        let family = |name: Vec<u8>| text(name).trim_end_matches(':').to_owned();
        Ok(Some(found.into_keys().map(family).collect()))
    }

    fn existing(&self, connection: &mut Connection, table: &str) -> Result<(), TaskError> {
        match self.families(connection, table)? {
            Some(_) => Ok(()),
            None => Err(TaskError::permanent(format!(
                "there is no `kv:{table}`: nothing has been loaded yet"
            ))),
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

fn row(found: TRowResult) -> Row {
    let cell = |(column, cell): (Vec<u8>, hbase_thrift::hbase::TCell)| Cell {
        column: text(column),
        value: text(cell.value.unwrap_or_default()),
        timestamp: Timestamp::from_millisecond(cell.timestamp.unwrap_or_default())
            .unwrap_or_default(),
    };
    Row {
        key: text(found.row.unwrap_or_default()),
        cells: found.columns.unwrap_or_default().into_iter().map(cell).collect(),
    }
}

#[async_trait]
impl KeyValues for HbaseKeyValues {
    fn locate(&self, table: &str) -> String {
        format!("hbase://{}/{}", self.settings.thrift, self.qualified(table))
    }

    async fn names(&self) -> Result<Vec<String>, TaskError> {
        self.with(|connection, kv| {
            let names = connection.call("can't list the tables", |c| c.get_table_names())?;
            let own = |name: Vec<u8>| {
                let name = text(name);
                match &kv.settings.namespace {
                    Some(namespace) => {
                        name.strip_prefix(namespace)?.strip_prefix(':').map(str::to_owned)
                    }
                    None => (!name.contains(':')).then_some(name),
                }
            };
            let mut names: Vec<String> = names.into_iter().filter_map(own).collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn summary(&self, table: &str) -> Result<Option<Summary>, TaskError> {
        let table = table.to_owned();
        self.with(move |connection, kv| {
            let families = kv.families(connection, &table)?;
            let columns = |families: Vec<String>| {
                families.into_iter().map(|family| format!("{family}:")).collect()
            };
            Ok(families.map(|families| Summary {
                version: None,
                rows: None,
                bytes: None,
                columns: columns(families),
            }))
        })
        .await
    }

    async fn load(&self, table: &str, load: Load) -> Result<Published, TaskError> {
        load::load(self, table, load)
            .await
            .map_err(|error| error.context(format!("can't load `kv:{table}`")))
    }

    async fn get(&self, table: &str, key: &str) -> Result<Option<Row>, TaskError> {
        let scan = Scan { start: key.to_owned(), stop: Some(format!("{key}\0")), limit: 1 };
        Ok(self.scan(table, &scan).await?.pop())
    }

    async fn scan(&self, table: &str, scan: &Scan) -> Result<Vec<Row>, TaskError> {
        let (table, scan) = (table.to_owned(), scan.clone());
        self.with(move |connection, kv| {
            kv.existing(connection, &table)?;
            read(connection, &table, kv.qualified(&table), &scan)
        })
        .await
    }
}

fn read(
    connection: &mut Connection,
    table: &str,
    name: String,
    scan: &Scan,
) -> Result<Vec<Row>, TaskError> {
    let doing = format!("can't read `kv:{table}`");
    let wanted = scan.limit.min(SCAN_ROWS);
    // `TScan::default()` would ask for rows of the year 1970.
    let ask = TScan {
        start_row: Some(scan.start.clone().into()),
        stop_row: scan.stop.clone().map(Into::into),
        timestamp: None,
        columns: None,
        caching: Some(wanted as i32),
        filter_string: None,
        batch_size: None,
        sort_columns: None,
        reversed: None,
        cache_blocks: None,
    };
    let mut rows = Vec::new();
    if wanted == 0 {
        return Ok(rows);
    }
    // A scanner lives in the server: a broken connection begins it anew.
    let scanner = connection.call(&doing, |client| {
        client.scanner_open_with_scan(name.clone().into(), ask.clone(), BTreeMap::new())
    })?;
    loop {
        let more = (scan.limit - rows.len()).min(SCAN_ROWS);
        let found = connection.once(&doing, |c| c.scanner_get_list(scanner, more as i32))?;
        let ended = found.is_empty();
        rows.extend(found.into_iter().map(row));
        if ended || rows.len() >= scan.limit {
            break;
        }
    }
    // The server would close it by itself in a while.
    let _ = connection.once(&doing, |client| client.scanner_close(scanner));
    Ok(rows)
}
