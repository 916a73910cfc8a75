//! `table:` datasets: Delta tables over an object store.
//!
//! Delta gives versions, atomic commits and foreign readers. Ours are the guards it lacks: what is
//! visible is durable (the store's part), a publication comes once (`commit`), columns have types
//! that read back as they were (`schema`), and statistics never hide a row (`stats`).

mod commit;
mod condition;
mod definition;
mod failure;
mod log;
mod marker;
mod merge;
mod newest;
mod parquet_file;
mod partition;
mod scan;
mod schema;
mod snapshot;
mod stage;
mod stats;
mod upkeep;

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
mod types;

pub use commit::Publication;
pub use log::TableVersion;
pub(crate) use schema::Storage;
pub use schema::type_name;
pub use snapshot::{TableFile, TableSnapshot};
pub use stage::{StageOptions, StageWriter, Staged};
pub use upkeep::Swept;

pub(crate) use failure::failed;
pub(crate) use scan::Scan;
pub(crate) use stage::ordering;

use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::ObjectStore;
use object_store::path::Path as StorePath;
use object_store::prefix::PrefixStore;
use orchestrator::attempt::TaskError;
use std::sync::Arc;
use url::Url;

/// The tables below one directory of an object store. `name` is always the part behind `table:`.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Ends with a slash.
    root: Url,
    path: StorePath,
    store: Arc<dyn ObjectStore>,
}

impl Tables {
    /// `store` is the one behind the scheme and authority of `root`. Touches neither.
    pub fn new(root: Url, store: Arc<dyn ObjectStore>) -> Result<Tables, TaskError> {
        let mut root = root;
        if !root.path().ends_with('/') {
            root.set_path(&format!("{}/", root.path()));
        }
        let path = StorePath::from_url_path(root.path())
            .map_err(|error| TaskError::permanent(format!("`{root}` is not a place: {error}")))?;
        Ok(Tables { root, path, store })
    }

    /// Where a table lies.
    pub fn url(&self, name: &str) -> Url {
        let mut url = self.root.clone();
        url.set_path(&format!("{}{name}/", url.path()));
        url
    }

    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    /// The names of all tables, sorted.
    pub async fn names(&self) -> Result<Vec<String>, TaskError> {
        let listed = match self.store.list_with_delimiter(Some(&self.path)).await {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(failed("can't list the tables", &error)),
        };
        let mut names = Vec::new();
        for directory in listed.common_prefixes {
            let Some(name) = directory.parts().next_back() else { continue };
            let name = name.as_ref().to_owned();
            if self.latest(&name).await?.is_some() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// A version, to read.
    pub async fn read(&self, name: &str, version: i64) -> Result<TableSnapshot, TaskError> {
        let gone = || {
            TaskError::permanent(format!(
                "`table:{name}` has no version {version}, or it has been pruned"
            ))
        };
        if version < 0 {
            return Err(gone());
        }
        let table = match self.open(name, Some(version)).await {
            Ok(table) => table.ok_or_else(gone)?,
            Err(error) => {
                let newest = self.latest(name).await?;
                return Err(if newest < Some(version) { gone() } else { error });
            }
        };
        let state = table.snapshot().map_err(|error| failed("can't read a table", &error))?;
        let schema = definition::declared(state.metadata())
            .map_err(|error| error.context(format!("can't read `table:{name}`")))?;
        TableSnapshot::new(name, self, table, schema)
    }

    /// Makes the object store known to a runtime, under the URL that is returned.
    pub(crate) fn register(&self, runtime: &RuntimeEnv) -> ObjectStoreUrl {
        let origin = &self.root[..url::Position::BeforePath];
        // The root was parsed, so its beginning can be.
        let url =
            ObjectStoreUrl::parse(origin).unwrap_or_else(|_| ObjectStoreUrl::local_filesystem());
        runtime.register_object_store(url.as_ref(), self.store.clone());
        url
    }

    pub(crate) fn table_path(&self, name: &str) -> StorePath {
        self.path.clone().join(name)
    }

    /// Where a publication's files lie that no version refers to yet. What is left there is swept
    /// with the run.
    #[cfg(feature = "spark")]
    pub(crate) fn publication_path(&self, name: &str, publication: &str) -> StorePath {
        let below = stage::publication_directory(publication);
        stage::JoinAll::join_all(&self.table_path(name), &below)
    }

    /// What other programs call a path of the store: nothing in it is encoded.
    #[cfg(feature = "spark")]
    pub(crate) fn location(&self, path: &StorePath) -> String {
        format!("{}/{path}", &self.root[..url::Position::BeforePath])
    }

    /// Made here and not by the URL's scheme: Delta's own list of schemes has no `hdfs`.
    fn log_store(&self, name: &str) -> LogStoreRef {
        let table = PrefixStore::new(self.store.clone(), self.table_path(name));
        let options = StorageConfig::default();
        default_logstore(Arc::new(table), self.store.clone(), &self.url(name), &options)
    }

    /// The table at a version, or the newest; `None` if there is none.
    async fn open(
        &self,
        name: &str,
        version: Option<i64>,
    ) -> Result<Option<DeltaTable>, TaskError> {
        let error = match self.load(name, version).await {
            Ok(table) => return Ok(Some(table)),
            Err(error) => error,
        };
        // Which error stands for a table that is not there depends on the store.
        match self.latest(name).await? {
            None => Ok(None),
            // It may have been made in this moment.
            Some(_) if version.is_none() => match self.load(name, None).await {
                Ok(table) => Ok(Some(table)),
                Err(error) => Err(failed(format!("can't open `table:{name}`"), &error)),
            },
            Some(_) => Err(failed(format!("can't open `table:{name}`"), &error)),
        }
    }

    async fn load(&self, name: &str, version: Option<i64>) -> Result<DeltaTable, DeltaTableError> {
        let mut table = DeltaTable::new(self.log_store(name));
        match version {
            Some(version) => table.load_version(version as u64).await?,
            None => table.load().await?,
        }
        Ok(table)
    }
}
