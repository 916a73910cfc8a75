//! One version of a table, to read.

use super::Tables;
use super::failure::failed;
use super::scan::Scan;
use super::stage::JoinAll;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionState;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::{Add, LogicalFileView};
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
    place: Tables,
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
    /// Below the table's directory.
    pub(crate) relative: String,
    /// As in the table's log.
    pub(crate) stats: Option<String>,
}

impl TableFile {
    /// A file that a table's log adds.
    pub(crate) fn added(root: &StorePath, add: &Add) -> TableFile {
        let records = |stats: &str| -> Option<u64> {
            serde_json::from_str::<serde_json::Value>(stats).ok()?.get("numRecords")?.as_u64()
        };
        TableFile {
            path: root.join_all(&add.path),
            size: add.size.max(0) as u64,
            rows: add.stats.as_deref().and_then(records),
            partition: add.partition_values.clone(),
            relative: add.path.clone(),
            stats: add.stats.clone(),
        }
    }

    pub(crate) fn of(root: &StorePath, file: &LogicalFileView) -> TableFile {
        let relative = file.object_store_path();
        TableFile {
            path: relative.parts().fold(root.clone(), |path, part| path.join(part)),
            size: file.size().max(0) as u64,
            rows: file.num_records().map(|rows| rows as u64),
            partition: file.partition_values_map(),
            relative: relative.to_string(),
            stats: file.stats(),
        }
    }

    /// Whether tidemill wrote it: no other program writes below `data/`.
    pub(crate) fn is_ours(&self) -> bool {
        self.relative.starts_with("data/")
    }
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
        place: &Tables,
        table: DeltaTable,
        schema: SchemaRef,
    ) -> Result<Self, TaskError> {
        let doing = || format!("can't read `table:{name}`");
        let root = place.table_path(name);
        let state = table.snapshot().map_err(|error| failed(doing(), &error))?;
        let files: Vec<TableFile> =
            state.log_data().iter().map(|file| TableFile::of(&root, &file)).collect();
        Ok(TableSnapshot {
            version: state.version() as i64,
            schema,
            rows: files.iter().filter_map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.size).sum(),
            partition_by: state.metadata().partition_columns().to_vec(),
            files,
            name: name.to_owned(),
            place: place.clone(),
            table,
        })
    }

    /// The version as a DataFusion table. `session` is the one that will query it: its options
    /// decide how texts arrive, and its runtime learns the table's object store.
    pub async fn provider(
        &self,
        session: &SessionState,
    ) -> Result<Arc<dyn TableProvider>, TaskError> {
        let doing = || format!("can't read `table:{}`", self.name);
        if !self.is_plain()? {
            let updated = self.table.update_datafusion_session(session);
            updated.map_err(|error| failed(doing(), &error))?;
            let provider = self.table.table_provider().with_session(Arc::new(session.clone()));
            return provider.await.map_err(|error| failed(doing(), &error));
        }
        let views = session.config_options().execution.parquet.schema_force_view_types;
        let url = self.place.register(session.runtime_env());
        let scan = Scan::new(&self.schema, &self.partition_by, &self.files, url, views)
            .map_err(|error| failed(doing(), &error))?;
        Ok(Arc::new(scan))
    }

    /// Whether the files hold the rows as they are: no deleted rows, no renamed columns.
    pub(crate) fn is_plain(&self) -> Result<bool, TaskError> {
        let state = self
            .table
            .snapshot()
            .map_err(|error| failed(format!("can't read `table:{}`", self.name), &error))?;
        Ok(state.protocol().min_reader_version() == 1
            && state.log_data().iter().all(|file| file.deletion_vector_descriptor().is_none()))
    }
}
