//! What an attempt hands to Spark and takes from it: Parquet files in the directory of its
//! publication, which no version of a table refers to. The attempt removes them; what a process
//! that died has left there is swept with its run.

use crate::engine::errors::{store_error, task_error};
use crate::engine::input::parquet_files;
use crate::engine::told::ToldExec;
use crate::etl::session::Session;
use crate::places::Tables;
use crate::places::tables::{StageOptions, StageWriter, Staged};
use arrow::datatypes::Schema;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use orchestrator::attempt::{Attempt, TaskError};
use std::sync::Arc;
use uuid::Uuid;

pub(super) struct Scratch {
    tables: Tables,
    /// The table of which output it is.
    name: String,
    publication: String,
}

impl Scratch {
    /// Touches nothing.
    pub(super) fn of(attempt: &Attempt, tables: &Tables, output: &str) -> Scratch {
        Scratch {
            tables: tables.clone(),
            name: attempt.outputs[output].dataset().name().to_owned(),
            publication: format!(
                "{}/spark-{}",
                attempt.publication(output),
                Uuid::new_v4().simple()
            ),
        }
    }

    fn path(&self, part: &str) -> StorePath {
        self.tables.publication_path(&self.name, &self.publication).join(part)
    }

    /// Where Spark writes a part; it must not be there yet.
    pub(super) fn location(&self, part: &str) -> String {
        self.tables.location(&self.path(part))
    }

    /// Writes the rows of a frame as a part.
    pub(super) async fn write(
        &self,
        session: &Session<'_>,
        part: &str,
        frame: DataFrame,
        doing: &str,
    ) -> Result<Staged, TaskError> {
        let plan = frame.create_physical_plan().await;
        let plan = ToldExec::errors(plan.map_err(|error| task_error(doing, &error))?, doing, "");
        let (publication, options) = (self.below(part), StageOptions::default());
        let context = session.ctx.task_ctx();
        self.tables.stage(&self.name, &publication, plan, context, &options).await
    }

    /// Writes rows that are handed over batch by batch as a part.
    pub(super) fn writer(&self, part: &str, schema: &Schema) -> Result<StageWriter, TaskError> {
        self.tables.stage_writer(&self.name, &self.below(part), schema, &StageOptions::default())
    }

    fn below(&self, part: &str) -> String {
        format!("{}/{part}", self.publication)
    }

    /// The directory of the table that the paths of staged files are relative to.
    pub(super) fn root(&self) -> StorePath {
        self.tables.table_path(&self.name)
    }

    /// The rows of a part; `None` if it has no files.
    pub(super) async fn read(
        &self,
        ctx: &SessionContext,
        part: &str,
    ) -> Result<Option<DataFrame>, TaskError> {
        let path = self.path(part);
        let listed = self.tables.store().list(Some(&path)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| store_error("can't list what Spark wrote", &error))?;
        let is_data = |path: &StorePath| {
            let name = path.filename().unwrap_or_default();
            !name.starts_with(['.', '_']) && name.ends_with(".parquet")
        };
        let files = listed.into_iter().map(|file| file.location).filter(is_data);
        let urls: Vec<_> = files.map(|file| self.url(&file)).collect();
        if urls.is_empty() {
            return Ok(None);
        }
        let rows = parquet_files(ctx, self.tables.store(), &urls).await?;
        let frame = ctx.read_table(rows);
        frame.map(Some).map_err(|error| task_error("can't read what Spark wrote", &error))
    }

    fn url(&self, path: &StorePath) -> String {
        let mut url = self.tables.url(&self.name);
        // What else has to be encoded, is.
        url.set_path(&format!("/{path}").replace('%', "%25"));
        url.to_string()
    }

    /// Removes all of it. What can't be removed is swept later.
    pub(super) async fn remove(self) {
        let path = self.tables.publication_path(&self.name, &self.publication);
        let removed = match self.tables.url(&self.name).scheme() {
            "file" => remove_local(format!("/{path}")).await,
            _ => remove(self.tables.store(), path.clone()).await.map_err(|error| error.to_string()),
        };
        if let Err(error) = removed {
            tracing::debug!("`{}` was not removed: {error}", self.tables.location(&path));
        }
    }
}

async fn remove_local(path: String) -> Result<(), String> {
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(path)).await;
    match removed {
        Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Where directories are real ones, they go when they are empty.
fn remove(
    store: Arc<dyn ObjectStore>,
    path: StorePath,
) -> BoxFuture<'static, object_store::Result<()>> {
    async move {
        let listed = match store.list_with_delimiter(Some(&path)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            listed => listed?,
        };
        for file in listed.objects {
            store.delete(&file.location).await?;
        }
        for directory in listed.common_prefixes {
            remove(store.clone(), directory).await?;
        }
        match store.delete(&path).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            deleted => deleted,
        }
    }
    .boxed()
}
