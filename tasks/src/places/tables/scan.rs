//! A version's files as a DataFusion table.
//!
//! Delta's own provider leaves the files' statistics unused, adds an operator of its own to every
//! scan, and hands partition columns out as dictionaries. The files of a table without Delta's
//! newer features are plain Parquet with some columns told elsewhere, which DataFusion reads itself.

use super::snapshot::TableFile;
use super::stats::FileStats;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use std::cmp::Ordering;
use std::sync::Arc;

/// A table of some files.
#[derive(Debug)]
pub(crate) struct Scan {
    /// In the order that the table declares.
    schema: SchemaRef,
    /// Columns of the files, then those of partitions.
    files_schema: TableSchema,
    /// Where the declared columns stand in `files_schema`.
    places: Vec<usize>,
    url: ObjectStoreUrl,
    files: Vec<PartitionedFile>,
    statistics: Statistics,
}

impl Scan {
    /// `schema` and `partition_by` are the table's; `views`: texts and bytes come as views.
    pub(crate) fn new(
        schema: &Schema,
        partition_by: &[String],
        files: &[TableFile],
        url: ObjectStoreUrl,
        views: bool,
    ) -> Result<Scan> {
        let is_partition = |field: &FieldRef| partition_by.contains(field.name());
        let declared: Vec<FieldRef> = schema
            .fields()
            .iter()
            .map(|field| if views && !is_partition(field) { as_view(field) } else { field.clone() })
            .collect();
        let inside: Vec<FieldRef> =
            declared.iter().filter(|field| !is_partition(field)).cloned().collect();
        let outside: Vec<FieldRef> = partition_by
            .iter()
            .filter_map(|name| declared.iter().find(|field| field.name() == name).cloned())
            .collect();
        let files_schema = TableSchema::builder(Arc::new(Schema::new(inside.clone())))
            .with_table_partition_cols(outside.clone())
            .build();
        let places = declared
            .iter()
            .map(|field| files_schema.table_schema().index_of(field.name()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let files = files
            .iter()
            .map(|file| partitioned(file, &inside, &outside))
            .collect::<Result<Vec<_>>>()?;
        let known = files.iter().filter_map(|file| file.statistics.as_deref());
        let statistics = if files.is_empty() {
            Statistics::new_unknown(files_schema.table_schema())
        } else {
            Statistics::try_merge_iter(known, files_schema.table_schema())?
        };
        let schema = Arc::new(Schema::new(declared));
        Ok(Scan { schema, files_schema, places, url, files, statistics })
    }

    /// Reads columns of all files. `sorted_by`: each file is, and so each partition shall be.
    pub(crate) async fn plan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
        sorted_by: Option<LexOrdering>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projected: Vec<usize> = match projection {
            Some(columns) => columns.iter().map(|column| self.places[*column]).collect(),
            None => self.places.clone(),
        };
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => self.schema.clone(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let groups = match &sorted_by {
            Some(ordering) => chains(&self.files, ordering),
            None => FileGroup::new(self.files.clone())
                .split_files(session.config().target_partitions().max(1)),
        };
        let options = TableParquetOptions {
            global: session.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let format = ParquetFormat::new().with_options(options);
        let source = ParquetSource::new(self.files_schema.clone());
        let scan = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(self.statistics.clone())
            .with_output_ordering(sorted_by.into_iter().collect())
            .with_projection_indices(Some(projected))?
            .with_limit(limit)
            .build();
        // This also makes it look footers up in the session's cache.
        format.create_physical_plan(session, scan).await
    }
}

#[async_trait]
impl TableProvider for Scan {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // The physical optimizer hands the filters to the source, which skips files, row groups
        // and pages by them.
        self.plan(session, projection, limit, None).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        let columns = &self.statistics.column_statistics;
        Some(Statistics {
            num_rows: self.statistics.num_rows,
            total_byte_size: self.statistics.total_byte_size,
            column_statistics: self.places.iter().map(|place| columns[*place].clone()).collect(),
        })
    }
}

/// Files in as few sequences as their bounds allow, such that each sequence as a whole is sorted.
fn chains(files: &[PartitionedFile], ordering: &LexOrdering) -> Vec<FileGroup> {
    let column = ordering.first().expr.downcast_ref::<Column>().map(Column::index);
    let bounds = |file: &PartitionedFile| {
        let column = &file.statistics.as_ref()?.column_statistics[column?];
        let (min, max) = (column.min_value.get_value()?, column.max_value.get_value()?);
        // A null would come first, and is not within the bounds.
        let plain = column.null_count.get_value() == Some(&0);
        plain.then(|| (min.clone(), max.clone()))
    };
    let (mut known, unknown): (Vec<_>, Vec<_>) =
        files.iter().map(|file| (bounds(file), file.clone())).partition(|(b, _)| b.is_some());
    known.sort_by(|(a, _), (b, _)| {
        let least = |bounds: &Option<(ScalarValue, ScalarValue)>| {
            bounds.as_ref().map(|(min, _)| min.clone())
        };
        least(a).partial_cmp(&least(b)).unwrap_or(Ordering::Equal)
    });
    let mut groups: Vec<(ScalarValue, FileGroup)> = Vec::new();
    for (bounds, file) in known {
        let Some((min, max)) = bounds else { continue };
        match groups.iter_mut().find(|(last, _)| *last < min) {
            Some((last, group)) => {
                *last = max;
                group.push(file);
            }
            None => groups.push((max, FileGroup::new(vec![file]))),
        }
    }
    let chained = groups.into_iter().map(|(_, group)| group);
    chained.chain(unknown.into_iter().map(|(_, file)| FileGroup::new(vec![file]))).collect()
}

fn as_view(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        _ => return field.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

fn partitioned(
    file: &TableFile,
    inside: &[FieldRef],
    outside: &[FieldRef],
) -> Result<PartitionedFile> {
    let stats = file.stats.as_deref().and_then(FileStats::parse).unwrap_or_default();
    let rows = file.rows.map_or(Precision::Absent, |rows| Precision::Exact(rows as usize));
    let mut columns: Vec<ColumnStatistics> =
        inside.iter().map(|field| column_statistics(&stats, field, file.is_ours())).collect();
    let mut values = Vec::with_capacity(outside.len());
    for field in outside {
        let text = file.partition.get(field.name()).and_then(|value| value.as_deref());
        let value = match text {
            Some(text) => ScalarValue::try_from_string(text.to_owned(), field.data_type())?,
            None => ScalarValue::try_from(field.data_type())?,
        };
        let mut statistics = ColumnStatistics::new_unknown();
        if text.is_some() {
            statistics.null_count = Precision::Exact(0);
            statistics.min_value = Precision::Exact(value.clone());
            statistics.max_value = Precision::Exact(value.clone());
        } else {
            statistics.null_count = rows;
        }
        columns.push(statistics);
        values.push(value);
    }
    let mut partitioned = PartitionedFile::new("", file.size);
    partitioned.object_meta.location = file.path.clone();
    partitioned.partition_values = values;
    partitioned.statistics = Some(Arc::new(Statistics {
        num_rows: rows,
        total_byte_size: Precision::Absent,
        column_statistics: columns,
    }));
    Ok(partitioned)
}

/// Only our own files' bounds may answer a query; those of others may be cut off, and only skip.
fn column_statistics(stats: &FileStats, field: &Field, ours: bool) -> ColumnStatistics {
    let mut column = ColumnStatistics::new_unknown();
    if let Some(nulls) = stats.nulls(field.name()) {
        column.null_count = Precision::Exact(nulls as usize);
    }
    let Some((min, max)) = stats.bounds(field.name(), field.data_type()) else { return column };
    // A float's zero has two signs and the log's bounds don't say which; timestamps are cut to
    // milliseconds in checkpoints.
    let exact = ours
        && !field.data_type().is_floating()
        && !matches!(field.data_type(), DataType::Timestamp(..));
    let bound = |value| if exact { Precision::Exact(value) } else { Precision::Inexact(value) };
    column.min_value = bound(min);
    column.max_value = bound(max);
    column
}
