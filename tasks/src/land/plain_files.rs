//! Landed rows as plain files, for people who read a directory with `hdfs dfs -cat`.
//!
//! **Exactly once.** A file is named by what it holds: topic, partition, and the offsets of its
//! first and last message, `orders-0-00000000000000000000-00000000000000499999.csv`. Names alone
//! can't keep two runs apart: a roll also ends by time, so two that begin at one offset cut their
//! files differently, and both would be there before either could see the other's. And names are
//! lost when a reader moves away what it has read. So the directory has a log beside it, a small
//! Delta table with a row for each file, and a roll becomes part of the landing as in a table:
//!
//! 1. Its files are written whole under names of their own in a directory that nobody reads.
//! 2. One commit to the log names them and moves the offsets that the landing has reached. It is
//!    refused if another run has moved them meanwhile; then the files are never seen.
//! 3. They are renamed into the directory, one by one.
//!
//! What dies before 2 has landed nothing, and the next attempt begins at the offsets of the log.
//! What dies behind 2 has landed all of the roll: whoever opens the landing next, this run or
//! another, does what is left of 3, and no message is read again. A rename comes once, since it
//! takes its source away.
//!
//! Only `append` is possible: two directories can't be exchanged in one step, so a landing that
//! replaces another would show readers a mixture of both, for ever if nobody resumes it.

use crate::places::tables::failed;
use crate::places::{Places, Tables};
use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::csv;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use datafusion::common::{DataFusionError, Result as QueryResult};
use datafusion::prelude::SessionContext;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use orchestrator::attempt::TaskError;
use orchestrator::dataset::DatasetName;
use orchestrator::failpoint;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// The log's name among the tables of [`PlainFiles::log`].
pub(super) const LOG: &str = "log";

/// What the files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum FileFormat {
    /// A line with the names of the columns, then a line for each row; a null is an empty field.
    #[default]
    Csv,
    /// An object in a line for each row.
    Json,
    /// Columns with their types.
    Parquet,
}

impl FileFormat {
    const fn extension(self) -> &'static str {
        match self {
            FileFormat::Csv => "csv",
            FileFormat::Json => "json",
            FileFormat::Parquet => "parquet",
        }
    }

    fn encode(self, schema: &SchemaRef, pieces: &[&Piece]) -> Result<Vec<u8>, TaskError> {
        let batches = pieces.iter().map(|piece| &piece.rows);
        let failed = |error: &dyn std::error::Error| {
            TaskError::permanent(format!("can't write rows as {}: {error}", self.extension()))
        };
        match self {
            FileFormat::Csv => as_csv(batches).map_err(|error| failed(&error)),
            FileFormat::Json => as_json(batches).map_err(|error| failed(&error)),
            FileFormat::Parquet => as_parquet(schema, batches).map_err(|error| failed(&error)),
        }
    }
}

fn as_csv<'a>(batches: impl Iterator<Item = &'a RecordBatch>) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = csv::WriterBuilder::new().with_header(true).build(&mut bytes);
    for batch in batches {
        writer.write(batch)?;
    }
    drop(writer);
    Ok(bytes)
}

fn as_json<'a>(batches: impl Iterator<Item = &'a RecordBatch>) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer: LineDelimitedWriter<_> = builder.build::<_, LineDelimited>(&mut bytes);
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

fn as_parquet<'a>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = &'a RecordBatch>,
) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_created_by(concat!("tidemill ", env!("CARGO_PKG_VERSION")).into())
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

/// Rows of one partition of the topic, and the messages that they were.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) partition: u32,
    pub(super) first_offset: u64,
    pub(super) last_offset: u64,
    pub(super) rows: RecordBatch,
}

/// A file that is written, and not in the directory yet.
#[derive(Debug)]
pub(super) struct StagedFile {
    staged: String,
    file: String,
    piece: (u32, u64, u64),
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// The directory, its log, and where files are written.
pub(super) struct PlainFiles {
    dataset: DatasetName,
    store: Arc<dyn ObjectStore>,
    directory: StorePath,
    staging: StorePath,
    log: Tables,
    topic: String,
    format: FileFormat,
}

impl PlainFiles {
    pub(super) fn new(
        places: &Places,
        dataset: &DatasetName,
        topic: &str,
        format: FileFormat,
    ) -> Result<Self, TaskError> {
        let files = places.files();
        let name = dataset.name();
        let split = name.rfind('/').map_or(0, |slash| slash + 1);
        // Not within the directory: `hdfs dfs -cat directory/*` would find it there.
        let beside = format!("{}.{}.landing", &name[..split], &name[split..]);
        Ok(PlainFiles {
            dataset: dataset.clone(),
            store: files.store(),
            directory: files.path(name),
            staging: files.path(&format!("{beside}/staged")),
            log: Tables::new(files.url(&beside), files.store())?,
            topic: topic.to_owned(),
            format,
        })
    }

    pub(super) fn log(&self) -> &Tables {
        &self.log
    }

    /// Says which directory an error of its log is about.
    pub(super) fn of_log(&self, error: TaskError) -> TaskError {
        error.context(format!("can't land in `{}`", self.dataset))
    }

    /// Writes a file for each partition of the topic that the pieces are of.
    pub(super) async fn stage(
        &self,
        run: &str,
        schema: &SchemaRef,
        pieces: &[Piece],
    ) -> Result<Vec<StagedFile>, TaskError> {
        let mut partitions: BTreeMap<u32, Vec<&Piece>> = BTreeMap::new();
        for piece in pieces {
            partitions.entry(piece.partition).or_default().push(piece);
        }
        let mut files = Vec::with_capacity(partitions.len());
        for (partition, pieces) in partitions {
            let (first, last) = (pieces[0].first_offset, pieces[pieces.len() - 1].last_offset);
            let (topic, extension) = (&self.topic, self.format.extension());
            let file = StagedFile {
                staged: format!("{run}.{}", Uuid::now_v7().simple()),
                file: format!("{topic}-{partition}-{first:020}-{last:020}.{extension}"),
                piece: (partition, first, last),
                rows: pieces.iter().map(|piece| piece.rows.num_rows() as u64).sum(),
                bytes: 0,
            };
            let content = self.format.encode(schema, &pieces)?;
            let bytes = content.len() as u64;
            let path = self.staging.clone().join(file.staged.as_str());
            let put = self.store.put(&path, content.into()).await;
            put.map_err(|error| failed(format!("can't write `{}`", self.dataset), &error))?;
            files.push(StagedFile { bytes, ..file });
        }
        Ok(files)
    }

    /// What the log says of the files.
    pub(super) fn log_rows(files: &[StagedFile]) -> Result<RecordBatch, TaskError> {
        let texts = |text: fn(&StagedFile) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(files.iter().map(text)))
        };
        let numbers = |number: fn(&StagedFile) -> u64| -> ArrayRef {
            let number = |file| number(file).cast_signed();
            Arc::new(Int64Array::from_iter_values(files.iter().map(number)))
        };
        let partitions = files.iter().map(|file| file.piece.0.cast_signed());
        RecordBatch::try_from_iter([
            ("file", texts(|file| &file.file)),
            ("partition", Arc::new(Int32Array::from_iter_values(partitions)) as ArrayRef),
            ("first_offset", numbers(|file| file.piece.1)),
            ("last_offset", numbers(|file| file.piece.2)),
            ("rows", numbers(|file| file.rows)),
            ("bytes", numbers(|file| file.bytes)),
            ("staged", texts(|file| &file.staged)),
        ])
        .map_err(|error| failed("can't log files", &error))
    }

    /// Renames files that the log names into the directory.
    pub(super) async fn place(&self, files: &[StagedFile]) -> Result<(), TaskError> {
        for StagedFile { staged, file, .. } in files {
            self.rename(staged, file).await?;
        }
        Ok(())
    }

    async fn rename(&self, staged: &str, file: &str) -> Result<(), TaskError> {
        let (from, to) = (self.staging.clone().join(staged), self.directory.clone().join(file));
        failpoint::hit("file.before_rename");
        match self.store.rename(&from, &to).await {
            Ok(()) => {}
            // Another run has opened the landing right now, and was quicker.
            Err(object_store::Error::NotFound { .. }) if self.store.head(&to).await.is_ok() => {}
            Err(error) => {
                let doing = format!("can't give `{}` the file `{file}`", self.dataset);
                return Err(failed(doing, &error));
            }
        }
        failpoint::hit("file.after_rename");
        Ok(())
    }

    /// Places the files that somebody committed and then did not place.
    pub(super) async fn recover(&self) -> Result<(), TaskError> {
        let doing = || format!("can't complete what is landed in `{}`", self.dataset);
        let staged: HashSet<String> = self.staged().await?.into_iter().collect();
        let newest = self.log.latest(LOG).await?;
        let (false, Some(version)) = (staged.is_empty(), newest) else { return Ok(()) };
        let log = self.log.read(LOG, version).await?;
        let session = SessionContext::new();
        let provider = log.provider(&session.state()).await?;
        let logged = async {
            let rows = session.read_table(provider)?.select_columns(&["staged", "file"])?;
            texts(&rows.collect().await?)
        };
        let logged = logged.await.map_err(|error| failed(doing(), &error))?;
        for (name, file) in logged.iter().filter(|(name, _)| staged.contains(name)) {
            self.rename(name, file).await?;
        }
        Ok(())
    }

    /// Removes what attempts of a run have staged in vain. Everything of the run that the log
    /// names must have been placed.
    pub(super) async fn clean(&self, run: &str) -> Result<(), TaskError> {
        let prefix = format!("{run}.");
        for name in self.staged().await?.iter().filter(|name| name.starts_with(&prefix)) {
            if let Err(error) = self.store.delete(&self.staging.clone().join(name.as_str())).await {
                tracing::debug!("can't remove `{name}`, which nobody needs: {error}");
            }
        }
        Ok(())
    }

    /// The names of all files that are not in the directory, or not yet.
    async fn staged(&self) -> Result<Vec<String>, TaskError> {
        let listed = match self.store.list_with_delimiter(Some(&self.staging)).await {
            Ok(listed) => listed.objects,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => {
                return Err(failed(format!("can't look into `{}`", self.dataset), &error));
            }
        };
        let names = listed.iter().filter_map(|object| object.location.filename());
        Ok(names.map(str::to_owned).collect())
    }
}

/// Two columns of texts.
fn texts(batches: &[RecordBatch]) -> QueryResult<Vec<(String, String)>, DataFusionError> {
    let mut found = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayRef> = batch
            .columns()
            .iter()
            .map(|column| cast(column, &DataType::Utf8))
            .collect::<Result<_, ArrowError>>()?;
        let text = |column: usize, row| columns[column].as_string::<i32>().value(row).to_owned();
        found.extend((0..batch.num_rows()).map(|row| (text(0, row), text(1, row))));
    }
    Ok(found)
}
