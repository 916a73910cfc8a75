//! Loading: rows as puts, in batches, by several connections at once.

use super::connection::Connection;
use super::{HbaseKeyValues, KeyValues};
use crate::engine::told::ToldExec;
use crate::places::kv::{Load, ROW_KEY};
use crate::places::tables::failed;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use futures::future::try_join_all;
use hbase_thrift::THbaseSyncClientExt;
use hbase_thrift::hbase::{BatchMutation, ColumnDescriptor, Mutation, THbaseSyncClient};
use orchestrator::attempt::{Progress, TaskError};
use orchestrator::event::Published;
use orchestrator::failpoint;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Batches of rows that wait for a connection.
const AHEAD: usize = 4;

pub(super) async fn load(
    kv: &HbaseKeyValues,
    table: &str,
    load: Load,
) -> Result<Published, TaskError> {
    let schema = load.rows.schema();
    let families = families(&schema);
    let made = table.to_owned();
    kv.with(move |connection, kv| make(kv, connection, &made, &families)).await?;

    let doing = "can't read the rows";
    let (sender, receiver) = mpsc::channel(AHEAD);
    let putting = Putting {
        name: kv.qualified(table),
        at: load.at.as_millisecond(),
        batch_rows: kv.settings.batch_rows,
        batches: Arc::new(Mutex::new(receiver)),
        progress: load.progress.clone(),
    };
    let puts = try_join_all((0..kv.settings.connections).map(|_| {
        let putting = putting.clone();
        kv.with(move |connection, _| putting.run(connection))
    }));
    drop(putting);
    let reads = async {
        let rows = ToldExec::progress(load.rows.clone(), load.progress.clone());
        let mut rows =
            execute_stream(rows, load.session.task_ctx()).map_err(|error| failed(doing, &error))?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| failed(doing, &error))?;
            // Refused only when all connections have ended: their error says why.
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        drop(sender);
        Ok(())
    };
    let ((), puts) = tokio::select! {
        done = async { tokio::try_join!(reads, puts) } => done?,
        () = load.publication.cancel.cancelled() => return Err(TaskError::Cancelled),
    };
    let (rows, bytes) = puts.into_iter().fold((0, 0), |sum, put| (sum.0 + put.0, sum.1 + put.1));
    let column = |name: &String| (name.clone(), "string".to_owned());
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    Ok(Published { version: None, rows, bytes, schema: names.iter().map(column).collect() })
}

/// The families of the columns behind the key.
fn families(schema: &Schema) -> BTreeSet<String> {
    let names = schema.fields().iter().map(|field| field.name()).filter(|name| *name != ROW_KEY);
    names
        .map(|name| name.split_once(':').map_or(&**name, |(family, _)| family).to_owned())
        .collect()
}

/// Makes the table where it is missing; says which families an older one lacks.
fn make(
    kv: &HbaseKeyValues,
    connection: &mut Connection,
    table: &str,
    wanted: &BTreeSet<String>,
) -> Result<(), TaskError> {
    if let Some(found) = kv.families(connection, table)? {
        let missing: Vec<&str> =
            wanted.iter().filter(|name| !found.contains(name)).map(String::as_str).collect();
        return match missing.as_slice() {
            [] => Ok(()),
            missing => Err(TaskError::permanent(format!(
                "the table has no family `{0}`, and Thrift can't add one; in the HBase shell: \
                 alter '{1}', '{0}'",
                missing.join("`, `"),
                kv.qualified(table)
            ))),
        };
    }
    let descriptor = |family: &String| ColumnDescriptor {
        name: Some(format!("{family}:").into_bytes()),
        max_versions: Some(1),
        compression: Some("NONE".into()),
        bloom_filter_type: Some("ROW".into()),
        ..ColumnDescriptor::default()
    };
    let name = kv.qualified(table);
    let made = connection.call("can't make the table", |client| {
        let families = wanted.iter().map(descriptor).collect();
        match client.create_table(name.clone().into(), families) {
            // Another load has made it at the same moment.
            Err(thrift::Error::User(error)) if error.is::<hbase_thrift::hbase::AlreadyExists>() => {
                Ok(())
            }
            result => result,
        }
    });
    made?;
    tracing::info!("made `{}` at {}", name, kv.locate(table));
    Ok(())
}

#[derive(Clone)]
struct Putting {
    name: String,
    at: i64,
    batch_rows: usize,
    /// Each connection takes the next.
    batches: Arc<Mutex<mpsc::Receiver<RecordBatch>>>,
    progress: Arc<Progress>,
}

impl Putting {
    /// Puts what comes. Returns rows and bytes of their values.
    fn run(self, connection: &mut Connection) -> Result<(u64, u64), TaskError> {
        let next = || self.batches.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let (mut rows, mut bytes) = (0, 0);
        while let Some(batch) = next() {
            let columns = Columns::of(&batch)?;
            for start in (0..batch.num_rows()).step_by(self.batch_rows) {
                let end = (start + self.batch_rows).min(batch.num_rows());
                failpoint::hit("kv.before_commit");
                let size = self.put(connection, &columns, start..end)?;
                failpoint::hit("kv.after_commit");
                let count = (end - start) as u64;
                rows += count;
                bytes += size;
                self.progress.add_rows_out(count);
                self.progress.add_bytes_out(size);
                self.progress.add_done(count);
            }
        }
        Ok((rows, bytes))
    }

    /// Returns the bytes of their values.
    fn put(
        &self,
        connection: &mut Connection,
        columns: &Columns,
        rows: Range<usize>,
    ) -> Result<u64, TaskError> {
        let mut bytes = 0;
        connection.call("can't put rows", |client| {
            // The client takes them: another attempt makes them anew.
            let puts: Vec<BatchMutation> =
                rows.clone().filter_map(|row| columns.row(row)).collect();
            bytes = puts.iter().map(size).sum();
            match puts.is_empty() {
                true => Ok(()),
                false => client.put(&self.name, puts, Some(self.at), None),
            }
        })?;
        Ok(bytes as u64)
    }
}

fn size(put: &BatchMutation) -> usize {
    let cells = put.mutations.iter().flatten();
    cells.map(|cell| cell.value.as_ref().map_or(0, Vec::len)).sum()
}

/// A batch as texts, by column.
struct Columns {
    keys: StringArray,
    cells: Vec<(Vec<u8>, StringArray)>,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, TaskError> {
        let texts = batch.columns().iter().map(|column| {
            let column = cast(column, &DataType::Utf8)
                .map_err(|error| failed("can't make texts of the cells", &error))?;
            Ok(column.as_string::<i32>().clone())
        });
        let mut texts: Vec<StringArray> = texts.collect::<Result<_, TaskError>>()?;
        let schema = batch.schema();
        let names = schema.fields().iter().map(|field| field.name().as_bytes().to_vec());
        let keys = texts.remove(0);
        Ok(Columns { keys, cells: names.skip(1).zip(texts).collect() })
    }

    /// `None` where the row has no cell: HBase knows no row without one.
    fn row(&self, row: usize) -> Option<BatchMutation> {
        let cell = |(name, values): &(Vec<u8>, StringArray)| {
            values.is_valid(row).then(|| Mutation {
                is_delete: Some(false),
                column: Some(name.clone()),
                value: Some(values.value(row).as_bytes().to_vec()),
                write_to_w_a_l: Some(true),
            })
        };
        let cells: Vec<Mutation> = self.cells.iter().filter_map(cell).collect();
        let key = self.keys.value(row).as_bytes().to_vec();
        (!cells.is_empty()).then_some(BatchMutation { row: Some(key), mutations: Some(cells) })
    }
}
