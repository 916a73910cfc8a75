//! One Parquet file of a table, while it is written.

use super::failure::failed;
use super::stats::{FloatBounds, delta_stats};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use deltalake_core::kernel::Add;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path as StorePath;
use orchestrator::attempt::TaskError;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Rows that decide how a column is encoded.
const SAMPLE_ROWS: usize = 8192;

/// How a table's files are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// A file takes no more rows than about this.
    pub(crate) file_rows: usize,
    /// Nor many more bytes than this.
    pub(crate) file_bytes: usize,
    pub(crate) row_group_rows: usize,
    /// Statistics for each page: worth their cost where rows are sorted and looked up.
    pub(crate) page_statistics: bool,
    /// Bytes that are collected before they go to the store.
    pub(crate) part_bytes: usize,
}

impl Layout {
    /// For scans.
    pub(crate) const SCAN: Layout = Layout {
        file_rows: usize::MAX,
        file_bytes: 256 << 20,
        row_group_rows: 512 << 10,
        page_statistics: false,
        part_bytes: 4 << 20,
    };

    /// For looking rows up by what they are sorted by.
    pub(crate) const LOOKUP: Layout = Layout {
        file_rows: 1 << 20,
        file_bytes: 256 << 20,
        row_group_rows: 128 << 10,
        page_statistics: true,
        part_bytes: 4 << 20,
    };
}

/// Where a file goes, and the values of the partition columns that all its rows share.
pub(crate) struct Target {
    /// Within the store.
    pub(crate) path: StorePath,
    /// Below the table's directory.
    pub(crate) relative: String,
    pub(crate) partition: HashMap<String, Option<String>>,
}

/// A file that holds back its first rows until they say how to encode the columns.
pub(crate) struct ParquetFile {
    target: Target,
    layout: Layout,
    schema: SchemaRef,
    store: Arc<dyn ObjectStore>,
    sample: Vec<RecordBatch>,
    writer: Option<AsyncArrowWriter<BufWriter>>,
    rows: usize,
    /// By column, for those of floats.
    floats: Vec<Option<FloatBounds>>,
}

impl ParquetFile {
    /// `schema` is that of the batches; it has no partition columns.
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        target: Target,
        schema: SchemaRef,
        layout: Layout,
    ) -> Self {
        let is_float = |field: &FieldRef| field.data_type().is_floating();
        let floats = schema.fields().iter().map(|f| is_float(f).then(FloatBounds::default));
        ParquetFile {
            floats: floats.collect(),
            target,
            layout,
            schema,
            store,
            sample: Vec::new(),
            writer: None,
            rows: 0,
        }
    }

    pub(crate) async fn write(&mut self, batch: RecordBatch) -> Result<(), TaskError> {
        self.rows += batch.num_rows();
        for (floats, column) in self.floats.iter_mut().zip(batch.columns()) {
            if let Some(floats) = floats {
                floats.take(column);
            }
        }
        match &mut self.writer {
            Some(writer) => {
                writer.write(&batch).await.map_err(|error| failed("can't write rows", &error))
            }
            None => {
                self.sample.push(batch);
                if self.rows >= SAMPLE_ROWS { self.open().await } else { Ok(()) }
            }
        }
    }

    /// Whether the next rows should go to another file.
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= self.layout.file_rows
            || self.writer.as_ref().is_some_and(|w| w.bytes_written() >= self.layout.file_bytes)
    }

    /// Bytes of memory that the file takes now.
    pub(crate) fn memory(&self) -> usize {
        let sample: usize = self.sample.iter().map(RecordBatch::get_array_memory_size).sum();
        sample + self.writer.as_ref().map_or(0, AsyncArrowWriter::memory_size)
    }

    /// Writes out what is in memory, at the price of a smaller row group.
    pub(crate) async fn flush(&mut self) -> Result<(), TaskError> {
        self.open().await?;
        match &mut self.writer {
            Some(writer) => {
                writer.flush().await.map_err(|error| failed("can't write rows", &error))
            }
            None => Ok(()),
        }
    }

    /// Completes the file, durably. `table` has the types that the log's statistics are told in.
    pub(crate) async fn finish(mut self, table: &Schema) -> Result<Add, TaskError> {
        self.open().await?;
        let Some(mut writer) = self.writer else {
            return Err(TaskError::permanent("a file without a writer"));
        };
        let metadata =
            writer.finish().await.map_err(|error| failed("can't complete a file", &error))?;
        let names = self.schema.fields().iter().map(|field| field.name().clone());
        let floats: HashMap<String, FloatBounds> =
            names.zip(self.floats).filter_map(|(name, floats)| Some((name, floats?))).collect();
        Ok(Add {
            path: self.target.relative,
            partition_values: self.target.partition,
            size: writer.bytes_written() as i64,
            modification_time: jiff::Timestamp::now().as_millisecond(),
            data_change: true,
            stats: Some(delta_stats(&metadata, table, &floats)),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        })
    }

    async fn open(&mut self) -> Result<(), TaskError> {
        if self.writer.is_some() {
            return Ok(());
        }
        let properties = properties(&self.schema, &self.sample, self.layout)?;
        // The Arrow schema is left out of the footer: it would hand on the views and dictionaries
        // that these rows happened to arrive in.
        let options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let sink = BufWriter::with_capacity(
            self.store.clone(),
            self.target.path.clone(),
            self.layout.part_bytes,
        );
        let opened = AsyncArrowWriter::try_new_with_options(sink, self.schema.clone(), options);
        let writer =
            self.writer.insert(opened.map_err(|error| failed("can't begin a file", &error))?);
        for batch in self.sample.drain(..) {
            writer.write(&batch).await.map_err(|error| failed("can't write rows", &error))?;
        }
        Ok(())
    }
}

/// Compression and encodings. A column whose values mostly differ gets no dictionary: building one
/// costs time until the writer gives it up, and numbers are then smaller as differences.
fn properties(
    schema: &Schema,
    sample: &[RecordBatch],
    layout: Layout,
) -> Result<WriterProperties, TaskError> {
    let statistics =
        if layout.page_statistics { EnabledStatistics::Page } else { EnabledStatistics::Chunk };
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_statistics_enabled(statistics)
        .set_max_row_group_row_count(Some(layout.row_group_rows))
        .set_created_by(concat!("tidemill ", env!("CARGO_PKG_VERSION")).into());
    if layout.page_statistics {
        builder = builder.set_data_page_row_count_limit(5_000);
    }
    for (index, field) in schema.fields().iter().enumerate() {
        if field.data_type().is_floating() {
            // Bounds that ignore NaN, which is greater than all: readers would skip its rows.
            let column = ColumnPath::from(field.name().as_str());
            builder = builder.set_column_statistics_enabled(column, EnabledStatistics::None);
        }
        if mostly_distinct(sample, index)
            .map_err(|error| failed(format!("can't sample column `{}`", field.name()), &error))?
        {
            builder = without_dictionary(builder, field.name(), field.data_type());
        }
    }
    Ok(builder.build())
}

fn without_dictionary(
    builder: WriterPropertiesBuilder,
    name: &str,
    data_type: &DataType,
) -> WriterPropertiesBuilder {
    let column = ColumnPath::from(name);
    let builder = builder.set_column_dictionary_enabled(column.clone(), false);
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Date32
        | DataType::Timestamp(..) => {
            builder.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
        }
        _ => builder,
    }
}

/// Whether more than half of the sampled values occur only once or are the first of their kind.
fn mostly_distinct(
    sample: &[RecordBatch],
    column: usize,
) -> Result<bool, arrow::error::ArrowError> {
    let Some(first) = sample.first() else { return Ok(false) };
    let data_type = first.column(column).data_type().clone();
    if matches!(data_type, DataType::Boolean | DataType::Dictionary(..)) {
        return Ok(false);
    }
    let converter = RowConverter::new(vec![SortField::new(data_type)])?;
    let mut seen = HashSet::new();
    let mut rows = 0;
    for batch in sample {
        let values = batch.column(column);
        let values = values.slice(0, values.len().min(SAMPLE_ROWS - rows.min(SAMPLE_ROWS)));
        rows += values.len();
        let converted = converter.convert_columns(&[values])?;
        seen.extend(converted.iter().map(|row| row.as_ref().to_vec()));
    }
    Ok(seen.len() * 2 > rows)
}
