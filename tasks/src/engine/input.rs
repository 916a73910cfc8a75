//! Inputs of a task as tables of a session.

use super::Engine;
use super::columns::Columns;
use super::errors::task_error;
use super::nearest;
use super::scan::malformed::OnMalformed;
use super::scan::{Meter, ScanSettings, TextFormat, TextTable, open};
use crate::places::Places;
use crate::places::TableSnapshot;
use crate::places::files::{FileEntry, Files};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::prelude::SessionContext;
use object_store::ObjectStore;
use orchestrator::attempt::{Attempt, TaskError};
use orchestrator::dataset::Scheme;
use std::sync::Arc;

/// How the inputs of a task are read.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) on_malformed: OnMalformed,
    /// Counts what text files give.
    pub(crate) meter: Option<Arc<Meter>>,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { on_malformed: OnMalformed::Fail, meter: None }
    }
}

impl Engine {
    /// Registers an input under its port's name, so that SQL can say `from NAME`: the pinned
    /// version of a table, or the files of a `file:` dataset. A record of a text file that does
    /// not fit its columns fails the query. `columns` are those of a CSV or JSON lines file;
    /// without them their types are inferred.
    pub async fn register(
        &self,
        ctx: &SessionContext,
        attempt: &Attempt,
        places: &Places,
        input: &str,
        columns: Option<&Columns>,
    ) -> Result<(), TaskError> {
        self.register_as(ctx, attempt, places, input, columns, Reading::default()).await
    }

    pub(crate) async fn register_as(
        &self,
        ctx: &SessionContext,
        attempt: &Attempt,
        places: &Places,
        input: &str,
        columns: Option<&Columns>,
        reading: Reading,
    ) -> Result<(), TaskError> {
        let dataset = attempt
            .inputs
            .get(input)
            .map(|input| &input.dataset)
            .ok_or_else(|| TaskError::permanent(format!("the task has no input `{input}`")))?;
        let provider = match dataset.scheme() {
            Scheme::Table => {
                let meter = reading.meter.as_deref();
                table(ctx, attempt, places, input, meter).await?
            }
            Scheme::File => {
                attempt.pin(input, None).await?;
                self.file(ctx, places.files(), dataset.name(), columns, reading).await?
            }
            Scheme::Topic | Scheme::Kv | Scheme::Artifact => {
                return Err(TaskError::permanent(format!(
                    "`{dataset}` can't be queried; only table: and file: datasets can"
                )));
            }
        };
        ctx.register_table(TableReference::bare(input), provider)
            .map_err(|error| task_error(format!("can't register `{dataset}`"), &error))?;
        Ok(())
    }

    /// The files of a `file:` dataset as a table.
    async fn file(
        &self,
        ctx: &SessionContext,
        files: &dyn Files,
        name: &str,
        columns: Option<&Columns>,
        reading: Reading,
    ) -> Result<Arc<dyn TableProvider>, TaskError> {
        let entries = files.list(name).await?;
        if entries.is_empty() {
            return Err(TaskError::permanent(format!(
                "`file:{name}` does not exist, or has no files; it should lie at {}",
                files.url(name)
            )));
        }
        let bytes: u64 = entries.iter().map(|entry| entry.size).sum();
        tracing::info!("reading file:{name}: {} files, {bytes} bytes", entries.len());
        let format = match one_format(name, &entries)? {
            FileFormat::Text(format) => format,
            FileFormat::Parquet => return parquet(ctx, files, &entries).await,
        };
        let opened = open::open(files, &entries, format, columns).await?;
        let Reading { on_malformed, meter } = reading;
        let settings = ScanSettings { chunk_bytes: self.chunk_bytes(), on_malformed, meter };
        Ok(Arc::new(TextTable::new(format, files.store(), opened, settings)))
    }
}

async fn table(
    ctx: &SessionContext,
    attempt: &Attempt,
    places: &Places,
    input: &str,
    meter: Option<&Meter>,
) -> Result<Arc<dyn TableProvider>, TaskError> {
    let snapshot = pinned(attempt, places, input).await?;
    if let Some(meter) = meter {
        meter.rows(snapshot.rows);
    }
    snapshot.provider(&ctx.state()).await
}

/// The version of a table that the attempt reads, or from now on will.
pub(crate) async fn pinned(
    attempt: &Attempt,
    places: &Places,
    input: &str,
) -> Result<TableSnapshot, TaskError> {
    let tables = places.tables();
    let dataset = &attempt.inputs[input].dataset;
    let version = match attempt.inputs[input].version {
        Some(version) => version,
        None => tables.latest(dataset.name()).await?.ok_or_else(|| {
            TaskError::permanent(format!("`{dataset}` does not exist; has a task written it?"))
        })?,
    };
    attempt.pin(input, Some(version)).await?;
    let snapshot = tables.read(dataset.name(), version).await?;
    tracing::info!(
        "reading version {version} of {dataset}: {} rows, {} bytes",
        snapshot.rows,
        snapshot.bytes
    );
    Ok(snapshot)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileFormat {
    Text(TextFormat),
    Parquet,
}

/// Files are told by their extensions, and all files of a dataset are of one format.
fn one_format(name: &str, entries: &[FileEntry]) -> Result<FileFormat, TaskError> {
    let mut format = None;
    for entry in entries {
        let found = format_of(&entry.name)?;
        if *format.get_or_insert(found) != found {
            return Err(TaskError::permanent(format!(
                "`file:{name}` mixes files of different formats, such as `{}` and `{}`",
                entries[0].name, entry.name
            )));
        }
    }
    format.ok_or_else(|| TaskError::permanent(format!("`file:{name}` has no files")))
}

fn format_of(name: &str) -> Result<FileFormat, TaskError> {
    const EXTENSIONS: [&str; 5] = ["csv", "jsonl", "ndjson", "json", "parquet"];
    let extension = name.rsplit('/').next().and_then(|file| Some(file.rsplit_once('.')?.1));
    Ok(match extension {
        Some("csv") => FileFormat::Text(TextFormat::Csv),
        Some("jsonl" | "ndjson" | "json") => FileFormat::Text(TextFormat::JsonLines),
        Some("parquet") => FileFormat::Parquet,
        other => {
            let hint = other
                .and_then(|other| nearest(other, EXTENSIONS.into_iter()))
                .map(|near| format!("; did you mean `.{near}`?"))
                .unwrap_or_default();
            return Err(TaskError::permanent(format!(
                "`file:{name}` is of no known format; files end in .csv, .jsonl or .parquet{hint}"
            )));
        }
    })
}

async fn parquet(
    ctx: &SessionContext,
    files: &dyn Files,
    entries: &[FileEntry],
) -> Result<Arc<dyn TableProvider>, TaskError> {
    let urls: Vec<_> = entries.iter().map(|entry| files.url(&entry.name).to_string()).collect();
    parquet_files(ctx, files.store(), &urls).await
}

/// Parquet files of one store as a table; their URLs are encoded.
pub(crate) async fn parquet_files(
    ctx: &SessionContext,
    store: Arc<dyn ObjectStore>,
    urls: &[String],
) -> Result<Arc<dyn TableProvider>, TaskError> {
    let failed = |error| task_error("can't read the Parquet files", &error);
    let urls =
        urls.iter().map(ListingTableUrl::parse).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if let Some(url) = urls.first() {
        ctx.register_object_store(url.object_store().as_ref(), store);
    }
    let format = Arc::new(ParquetFormat::default());
    let options = ListingOptions::new(format).with_file_extension(".parquet");
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .infer_schema(&ctx.state())
        .await
        .map_err(failed)?;
    Ok(Arc::new(ListingTable::try_new(config).map_err(failed)?))
}
