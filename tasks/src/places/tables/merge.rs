//! `write: merge`: a new row takes the place of the one with its key.
//!
//! A table that is written this way has files that are sorted by the key, and each key once. So
//! merging is a merge of sorted streams, in the memory of a few batches; files whose keys lie
//! outside of the new ones' stay as they are.

use super::Tables;
use super::commit::{Publication, Rows};
use super::definition::is_kept_by_key;
use super::failure::failed;
use super::newest::Newest;
use super::scan::Scan;
use super::snapshot::TableFile;
use super::stage::{StageOptions, drain, on_a_thread, ordering};
use super::stats::FileStats;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::expressions::{Literal, col};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use deltalake_core::kernel::Add;
use deltalake_core::{DeltaTable, DeltaTableError};
use orchestrator::attempt::TaskError;
use std::collections::HashSet;
use std::sync::Arc;

/// Tells new rows from old ones while they are merged.
const SIDE: &str = "__tidemill_side";

/// What a merge puts in the place of what.
pub(crate) struct Merged {
    pub(crate) adds: Vec<Add>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// The paths of the table's files whose rows are in `adds` now.
    pub(crate) replaced: HashSet<String>,
}

impl Tables {
    /// Writes the files that stand for the overlapping part of the table with the new rows in it.
    /// `schema` is what the table declares after the commit.
    pub(crate) async fn merge(
        &self,
        name: &str,
        table: Option<&DeltaTable>,
        publication: &Publication,
        new: &Rows,
        schema: &SchemaRef,
    ) -> Result<Merged, TaskError> {
        check_key(publication, schema)?;
        let root = self.table_path(name);
        let staged: Vec<TableFile> =
            new.adds.iter().map(|add| TableFile::added(&root, add)).collect();
        let (files, kept) = match table {
            Some(table) => existing(self, name, table, publication)
                .map_err(|error| failed("can't read its log", &error))?,
            None => (Vec::new(), true),
        };
        // Rows of a table that was not kept by this key may repeat one.
        let overlapping: Vec<TableFile> = files
            .into_iter()
            .filter(|file| !kept || overlaps(file, &staged, &publication.key[0], schema))
            .collect();
        if overlapping.is_empty() && new.unique_by.as_ref() == Some(&publication.key) {
            return Ok(Merged {
                adds: new.adds.clone(),
                rows: new.rows,
                bytes: new.bytes,
                replaced: HashSet::new(),
            });
        }
        let plan =
            Plan { tables: self, publication, schema, session: session(new.task.as_deref()) };
        let old = plan.side(&overlapping, 0, kept).await;
        let sorted = new.unique_by.as_ref() == Some(&publication.key);
        let new = plan.side(&staged, 1, sorted).await;
        let stream = old.and_then(|old| plan.merged(vec![old, new?]));
        let stream = stream.map_err(|error| failed("can't merge the rows", &error))?;
        let newest = plan.newest().map_err(|error| failed("can't merge the rows", &error))?;
        let options = StageOptions {
            partition_by: publication.partition_by.clone(),
            sort_by: publication.key.clone(),
            ..StageOptions::default()
        };
        let writer = self.stage_writer(name, &publication.id, schema, &options)?;
        let stop = publication.cancel.child_token();
        let guard = stop.clone().drop_guard();
        let merged = on_a_thread(drain(stream, Some(newest), writer, stop)).await?;
        drop(guard);
        Ok(Merged {
            adds: merged.adds,
            rows: merged.rows,
            bytes: merged.bytes,
            replaced: overlapping.into_iter().map(|file| file.relative).collect(),
        })
    }
}

/// The table's files, and whether they are sorted by the key, with each key once.
fn existing(
    tables: &Tables,
    name: &str,
    table: &DeltaTable,
    publication: &Publication,
) -> Result<(Vec<TableFile>, bool), DeltaTableError> {
    let root = tables.table_path(name);
    let state = table.snapshot()?;
    let files: Vec<TableFile> =
        state.log_data().iter().map(|file| TableFile::of(&root, &file)).collect();
    let kept =
        is_kept_by_key(state.metadata(), publication) && files.iter().all(TableFile::is_ours);
    Ok((files, kept))
}

fn check_key(publication: &Publication, schema: &SchemaRef) -> Result<(), TaskError> {
    if publication.key.is_empty() {
        return Err(TaskError::permanent(
            "`write: merge` needs a `key`, the columns that tell its rows apart",
        ));
    }
    for column in publication.key.iter().chain(&publication.newest_by) {
        if schema.field_with_name(column).is_err() {
            return Err(TaskError::permanent(format!(
                "it is merged by the column `{column}`, which the rows lack"
            )));
        }
    }
    Ok(())
}

/// Whether a file may hold a key of the new rows, as far as bounds of the first key column tell.
fn overlaps(file: &TableFile, new: &[TableFile], column: &str, schema: &SchemaRef) -> bool {
    let bounds = |file: &TableFile| -> Option<(ScalarValue, ScalarValue)> {
        let data_type = schema.field_with_name(column).ok()?.data_type();
        let stats = FileStats::parse(file.stats.as_deref()?)?;
        if stats.nulls(column) != Some(0) {
            return None;
        }
        stats.bounds(column, data_type)
    };
    let Some((min, max)) = bounds(file) else { return !new.is_empty() };
    new.iter().any(|new| match bounds(new) {
        Some((new_min, new_max)) => !(new_max < min || max < new_min),
        None => true,
    })
}

/// With the memory and the spill directory of those who staged the rows.
fn session(task: Option<&TaskContext>) -> SessionState {
    match task {
        Some(task) => SessionStateBuilder::new()
            .with_config(task.session_config().clone())
            .with_runtime_env(task.runtime_env())
            .with_default_features()
            .build(),
        None => SessionContext::new_with_config(SessionConfig::new()).state(),
    }
}

struct Plan<'a> {
    tables: &'a Tables,
    publication: &'a Publication,
    schema: &'a SchemaRef,
    session: SessionState,
}

impl Plan<'_> {
    fn ordering(&self) -> Result<LexOrdering, DataFusionError> {
        ordering(self.schema, &self.publication.key)?
            .ok_or_else(|| DataFusionError::Internal("a merge without a key".into()))
    }

    /// One side's rows in the key's order, with a column that says which side.
    async fn side(
        &self,
        files: &[TableFile],
        side: i8,
        sorted: bool,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let url = self.tables.register(self.session.runtime_env());
        let partition_by = &self.publication.partition_by;
        let scan = Scan::new(self.schema, partition_by, files, url, false)?;
        let ordering = self.ordering()?;
        let plan = if sorted {
            scan.plan(&self.session, None, None, Some(ordering)).await?
        } else {
            let plan = scan.plan(&self.session, None, None, None).await?;
            Arc::new(SortExec::new(ordering, plan).with_preserve_partitioning(true))
        };
        let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
        for field in self.schema.fields() {
            columns.push((col(field.name(), &plan.schema())?, field.name().clone()));
        }
        let side = Literal::new(ScalarValue::Int8(Some(side)));
        columns.push((Arc::new(side), SIDE.to_owned()));
        Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
    }

    fn merged(
        &self,
        sides: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let all = UnionExec::try_new(sides)?;
        let merge = SortPreservingMergeExec::new(self.ordering()?, all);
        execute_stream(Arc::new(merge), self.session.task_ctx())
    }

    /// Chooses among rows of one key: by the publication's order if it has one, then the new one.
    fn newest(&self) -> Result<Newest, arrow::error::ArrowError> {
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(arrow::datatypes::Field::new(
            SIDE,
            arrow::datatypes::DataType::Int8,
            true,
        )));
        let schema = arrow::datatypes::Schema::new(fields);
        let place = |name: &String| schema.index_of(name);
        let key = self.publication.key.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let mut order: Vec<usize> =
            self.publication.newest_by.iter().map(place).collect::<Result<_, _>>()?;
        order.push(schema.index_of(SIDE)?);
        Newest::new(&schema, key, order)
    }
}
