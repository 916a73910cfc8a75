//! Queries of people: `tidemill query SQL`, over the newest versions of all tables.

use super::Engine;
use super::errors::task_error;
use super::sql::plan_any;
use crate::places::Places;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result as QueryResult};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use futures::StreamExt;
use indexmap::IndexMap;
use orchestrator::attempt::TaskError;
use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Runs a query over the tables of some places, by their names without `table:`; what does not
/// fit in memory spills to `spill_dir`, an existing directory.
pub async fn query(
    engine: &Engine,
    places: &Places,
    sql: &str,
    spill_dir: &Path,
) -> Result<SendableRecordBatchStream, TaskError> {
    let ctx = engine.session(spill_dir)?;
    places.tables().register(&ctx.runtime_env());
    let tables = LatestTables {
        names: places.tables().names().await?,
        places: places.clone(),
        opened: Mutex::default(),
        // A state of another session, since that of this one will hold these tables.
        state: engine.session(spill_dir)?.state(),
    };
    let catalog = MemoryCatalogProvider::new();
    catalog
        .register_schema("public", Arc::new(tables))
        .map_err(|error| task_error("can't list the tables", &error))?;
    ctx.register_catalog("datafusion", Arc::new(catalog));
    let frame = plan_any(&ctx, "query", sql, &IndexMap::new()).await?;
    frame.execute_stream().await.map_err(|error| super::sql_error("query", sql, &error))
}

/// The newest version of each table, opened when a query names it, and then kept.
struct LatestTables {
    places: Places,
    names: Vec<String>,
    opened: Mutex<HashMap<String, Arc<dyn TableProvider>>>,
    state: SessionState,
}

impl fmt::Debug for LatestTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatestTables").field("names", &self.names).finish_non_exhaustive()
    }
}

impl LatestTables {
    async fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, TaskError> {
        let tables = self.places.tables();
        let Some(version) = tables.latest(name).await? else { return Ok(None) };
        tables.read(name, version).await?.provider(&self.state).await.map(Some)
    }
}

#[async_trait]
impl SchemaProvider for LatestTables {
    fn table_names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    async fn table(&self, name: &str) -> QueryResult<Option<Arc<dyn TableProvider>>> {
        let opened = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = opened().get(name) {
            return Ok(Some(table.clone()));
        }
        let table =
            self.open(name).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        if let Some(table) = &table {
            opened().insert(name.to_owned(), table.clone());
        }
        Ok(table)
    }
}

/// How the rows of a query are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// A table for people. All rows are kept until the last one is known.
    Table,
    /// With a header.
    Csv,
    /// One array of objects.
    Json,
}

/// Writes the rows of a query, and gives how many they are.
pub async fn write_rows(
    mut rows: SendableRecordBatchStream,
    format: RowFormat,
    output: &mut (dyn Write + Send),
) -> Result<u64, TaskError> {
    let schema = rows.schema();
    let mut writer: Box<dyn RowWriter + Send + '_> = match format {
        RowFormat::Table => Box::new(TableWriter { batches: Vec::new(), output }),
        RowFormat::Csv => Box::new(CsvWriter(arrow::csv::Writer::new(output))),
        RowFormat::Json => Box::new(JsonWriter(arrow::json::ArrayWriter::new(output))),
    };
    let mut count = 0;
    // An empty batch makes the header of a result without rows.
    writer.write(RecordBatch::new_empty(schema))?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| task_error("the query failed", &error))?;
        count += batch.num_rows() as u64;
        if batch.num_rows() > 0 {
            writer.write(batch)?;
        }
    }
    writer.finish()?;
    Ok(count)
}

trait RowWriter {
    fn write(&mut self, batch: RecordBatch) -> Result<(), TaskError>;
    fn finish(self: Box<Self>) -> Result<(), TaskError>;
}

struct TableWriter<'a> {
    batches: Vec<RecordBatch>,
    output: &'a mut (dyn Write + Send),
}

struct CsvWriter<'a>(arrow::csv::Writer<&'a mut (dyn Write + Send)>);

struct JsonWriter<'a>(arrow::json::ArrayWriter<&'a mut (dyn Write + Send)>);

fn cannot_write(error: &dyn std::error::Error) -> TaskError {
    TaskError::permanent(format!("can't write the rows: {error}"))
}

impl RowWriter for TableWriter<'_> {
    fn write(&mut self, batch: RecordBatch) -> Result<(), TaskError> {
        self.batches.push(batch);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), TaskError> {
        let table = arrow::util::pretty::pretty_format_batches(&self.batches)
            .map_err(|error| cannot_write(&error))?;
        writeln!(self.output, "{table}").map_err(|error| cannot_write(&error))
    }
}

impl RowWriter for CsvWriter<'_> {
    fn write(&mut self, batch: RecordBatch) -> Result<(), TaskError> {
        self.0.write(&batch).map_err(|error| cannot_write(&error))
    }

    fn finish(self: Box<Self>) -> Result<(), TaskError> {
        self.0.into_inner().flush().map_err(|error| cannot_write(&error))
    }
}

impl RowWriter for JsonWriter<'_> {
    fn write(&mut self, batch: RecordBatch) -> Result<(), TaskError> {
        self.0.write(&batch).map_err(|error| cannot_write(&error))
    }

    fn finish(mut self: Box<Self>) -> Result<(), TaskError> {
        self.0.finish().map_err(|error| cannot_write(&error))?;
        let output = self.0.into_inner();
        writeln!(output).and_then(|()| output.flush()).map_err(|error| cannot_write(&error))
    }
}
