//! Wide-column tables as Delta tables, sorted by row key.
//!
//! Columns: `row_key`, `timestamp` (that of the row's newest cells), `older_cells` (a JSON object
//! of the other cells' timestamps, in microseconds since 1970; null if there are none), and one
//! for each `family:qualifier`. A key is in one row of one file. Files do not overlap, so a load
//! writes only those anew whose keys it touches.

mod collapse;
mod load;
mod lookup;
mod ranges;

use super::{KeyValues, Load, ROW_KEY, Row, Scan, Summary};
use crate::places::tables::{TableSnapshot, Tables};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use orchestrator::attempt::TaskError;
use orchestrator::event::Published;
use std::sync::Arc;

const TIMESTAMP: &str = "timestamp";
const OLDER_CELLS: &str = "older_cells";
/// Columns before the cells.
const FIXED: usize = 3;

/// Wide-column tables below one directory.
#[derive(Clone, Debug)]
pub struct EmbeddedKeyValues {
    tables: Tables,
}

impl EmbeddedKeyValues {
    /// `tables`: those of a directory that is kept for this.
    pub fn new(tables: Tables) -> Self {
        EmbeddedKeyValues { tables }
    }

    async fn newest(&self, table: &str) -> Result<Option<TableSnapshot>, TaskError> {
        match self.tables.latest(table).await? {
            Some(version) => Ok(Some(self.tables.read(table, version).await?)),
            None => Ok(None),
        }
    }

    async fn existing(&self, table: &str) -> Result<TableSnapshot, TaskError> {
        let missing = || {
            TaskError::permanent(format!("there is no `kv:{table}`: nothing has been loaded yet"))
        };
        self.newest(table).await?.ok_or_else(missing)
    }
}

/// The columns of a table with these cells.
fn schema<'a>(cells: impl IntoIterator<Item = &'a str>) -> SchemaRef {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new(ROW_KEY, DataType::Utf8, true),
        Field::new(TIMESTAMP, timestamp, true),
        Field::new(OLDER_CELLS, DataType::Utf8, true),
    ];
    fields.extend(cells.into_iter().map(|cell| Field::new(cell, DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

fn cells(schema: &Schema) -> impl Iterator<Item = &str> {
    schema.fields().iter().map(|field| field.name().as_str()).skip(FIXED)
}

#[async_trait]
impl KeyValues for EmbeddedKeyValues {
    fn locate(&self, table: &str) -> String {
        let url = self.tables.url(table);
        match url.to_file_path() {
            Ok(path) => path.display().to_string(),
            Err(()) => url.to_string(),
        }
    }

    async fn names(&self) -> Result<Vec<String>, TaskError> {
        self.tables.names().await
    }

    async fn summary(&self, table: &str) -> Result<Option<Summary>, TaskError> {
        let Some(snapshot) = self.newest(table).await? else { return Ok(None) };
        Ok(Some(Summary {
            version: Some(snapshot.version),
            rows: Some(snapshot.rows),
            bytes: Some(snapshot.bytes),
            columns: cells(&snapshot.schema).map(str::to_owned).collect(),
        }))
    }

    async fn load(&self, table: &str, load: Load) -> Result<Published, TaskError> {
        load::load(&self.tables, table, load)
            .await
            .map_err(|error| error.context(format!("can't load `kv:{table}`")))
    }

    async fn get(&self, table: &str, key: &str) -> Result<Option<Row>, TaskError> {
        let scan = Scan { start: key.to_owned(), stop: Some(format!("{key}\0")), limit: 1 };
        Ok(self.scan(table, &scan).await?.pop())
    }

    async fn scan(&self, table: &str, scan: &Scan) -> Result<Vec<Row>, TaskError> {
        let snapshot = self.existing(table).await?;
        lookup::scan(&self.tables, &snapshot, scan)
            .await
            .map_err(|error| error.context(format!("can't read `kv:{table}`")))
    }
}

#[cfg(test)]
mod tests;
