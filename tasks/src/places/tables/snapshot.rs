//! One version of a table, to read.

use super::failure::failed;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionState;
use deltalake_core::DeltaTable;
use object_store::path::Path as StorePath;
use orchestrator::attempt::TaskError;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A version of a table. What it refers to never changes, whatever is written later.
pub struct TableSnapshot {
    pub version: i64,
    pub schema: SchemaRef,
    /// Rows, where all writers counted theirs; tidemill does.
    pub rows: u64,
    /// Size as stored.
    pub bytes: u64,
    pub partition_by: Vec<String>,
    pub files: Vec<TableFile>,
    name: String,
    table: DeltaTable,
}

/// A file of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    /// Within the tables' object store.
    pub path: StorePath,
    pub size: u64,
    pub rows: Option<u64>,
    /// The values of the partition columns, as the table's log writes them.
    pub partition: HashMap<String, Option<String>>,
}

impl fmt::Debug for TableSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSnapshot")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("rows", &self.rows)
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl TableSnapshot {
    pub(crate) fn new(
        name: &str,
        root: &StorePath,
        table: DeltaTable,
        schema: SchemaRef,
    ) -> Result<Self, TaskError> {
        let doing = || format!("can't read `table:{name}`");
        let state = table.snapshot().map_err(|error| failed(doing(), &error))?;
        let files: Vec<TableFile> = state
            .log_data()
            .iter()
            .map(|file| TableFile {
                path: file
                    .object_store_path()
                    .parts()
                    .fold(root.clone(), |path, part| path.join(part)),
                size: file.size().max(0) as u64,
                rows: file.num_records().map(|rows| rows as u64),
                partition: file.partition_values_map(),
            })
            .collect();
        Ok(TableSnapshot {
            version: state.version() as i64,
            schema,
            rows: files.iter().filter_map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.size).sum(),
            partition_by: state.metadata().partition_columns().to_vec(),
            files,
            name: name.to_owned(),
            table,
        })
    }

    /// The version as a DataFusion table. `session` is the one that will query it: its options
    /// decide how filters reach the scan, and its runtime learns the table's object store.
    pub async fn provider(
        &self,
        session: &SessionState,
    ) -> Result<Arc<dyn TableProvider>, TaskError> {
        let doing = || format!("can't read `table:{}`", self.name);
        self.table.update_datafusion_session(session).map_err(|error| failed(doing(), &error))?;
        self.table
            .table_provider()
            .with_session(Arc::new(session.clone()))
            .await
            .map_err(|error| failed(doing(), &error))
    }
}
