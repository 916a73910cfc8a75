//! Places: where datasets are kept, by profile.

pub mod artifacts;
pub mod check;
mod durable;
pub mod files;
mod hdfs;
pub mod kv;
pub mod publish;
mod settings;
mod spark;
pub mod tables;
pub mod topics;

pub use artifacts::{ArtifactSink, Artifacts};
pub use durable::DurableStore;
pub use files::{FileEntry, FileSink, Files};
pub use publish::publish_table;
pub use tables::{
    Publication, StageOptions, StageWriter, Staged, TableFile, TableSnapshot, TableVersion, Tables,
};

use async_trait::async_trait;
use files::LocalFiles;
use hdfs::Hdfs;
use kv::{EmbeddedKeyValues, HbaseKeyValues, KeyValues};
use orchestrator::attempt::{Profile, RunContext, TaskError};
use orchestrator::dataset::{DatasetName, Scheme};
use orchestrator::kind::Catalog;
pub use settings::{ProfileSettings, Setting};
pub use spark::SparkSettings;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use topics::{EmbeddedTopics, KafkaTopics, Topics};
use url::Url;

/// How long an attempt waits for a server that is away, unless the profile says otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// The places of one data directory, as a profile reaches them. Cheap to clone.
#[derive(Clone)]
pub struct Places {
    data_dir: PathBuf,
    files: Arc<dyn Files>,
    tables: Tables,
    topics: Arc<dyn Topics>,
    kv: Arc<dyn KeyValues>,
    artifacts: Artifacts,
}

impl Places {
    /// The places of a run, for an attempt: it waits for servers that restart.
    pub fn open(run: &RunContext) -> Result<Places, TaskError> {
        let settings = ProfileSettings::of(&run.profile)?;
        let patience = settings.patience.map_or(PATIENCE, orchestrator::duration::Duration::to_std);
        Places::of(settings, &run.data_dir, patience)
    }

    /// The places that a profile names, for a person: a server that is away is an error at once.
    pub fn of_profile(profile: &Profile, data_dir: &Path) -> Result<Places, TaskError> {
        Places::of(ProfileSettings::of(profile)?, data_dir, Duration::ZERO)
    }

    /// Connects to nothing.
    fn of(
        settings: ProfileSettings,
        data_dir: &Path,
        patience: Duration,
    ) -> Result<Places, TaskError> {
        let mut places = Places::embedded(data_dir)?;
        if let Some(kafka) = settings.kafka {
            places.topics = Arc::new(KafkaTopics::new(kafka, patience));
        }
        if let Some(hdfs) = settings.hdfs {
            let hdfs = Hdfs::new(&hdfs, patience)?;
            places.files = Arc::new(hdfs.files());
            places.tables = Tables::new(hdfs.directory("tables"), hdfs.store())?;
        }
        if let Some(hbase) = settings.hbase {
            places.kv = Arc::new(HbaseKeyValues::new(hbase, patience));
        }
        Ok(places)
    }

    /// Everything below the data directory. Touches nothing.
    pub fn embedded(data_dir: &Path) -> Result<Places, TaskError> {
        let data_dir = std::path::absolute(data_dir).map_err(|error| {
            TaskError::io(format!("can't use `{}` for data", data_dir.display()), &error)
        })?;
        let tables = |directory: &str| {
            let root = Url::from_directory_path(data_dir.join(directory)).map_err(|()| {
                TaskError::permanent(format!("`{}` is not a path", data_dir.display()))
            })?;
            Tables::new(root, Arc::new(DurableStore::new()))
        };
        Ok(Places {
            files: Arc::new(LocalFiles::new(&data_dir.join("files"))?),
            tables: tables("tables")?,
            kv: Arc::new(EmbeddedKeyValues::new(tables("kv")?)),
            topics: Arc::new(EmbeddedTopics::new(data_dir.join("topics"))),
            artifacts: Artifacts::new(&data_dir.join("artifacts")),
            data_dir,
        })
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub fn files(&self) -> &dyn Files {
        self.files.as_ref()
    }

    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    pub fn topics(&self) -> &dyn Topics {
        self.topics.as_ref()
    }

    pub fn kv(&self) -> &dyn KeyValues {
        self.kv.as_ref()
    }

    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }
}

#[async_trait]
impl Catalog for Places {
    fn locate(&self, dataset: &DatasetName) -> String {
        let name = dataset.name();
        match dataset.scheme() {
            Scheme::File => readable(&self.files.url(name)),
            Scheme::Table => readable(&self.tables.url(name)),
            Scheme::Topic => self.topics.locate(name),
            Scheme::Artifact => self.artifacts.directory(name).display().to_string(),
            Scheme::Kv => self.kv.locate(name),
        }
    }

    async fn exists(&self, dataset: &DatasetName) -> Result<bool, TaskError> {
        let name = dataset.name();
        match dataset.scheme() {
            Scheme::File => Ok(!self.files.list(name).await?.is_empty()),
            Scheme::Table => Ok(self.tables.latest(name).await?.is_some()),
            Scheme::Topic => Ok(self.topics.bounds(name).await?.is_some()),
            Scheme::Artifact => Ok(self.artifacts.directory(name).join("latest").exists()),
            Scheme::Kv => Ok(self.kv.summary(name).await?.is_some()),
        }
    }
}

/// A path for people, where the URL is one of this machine.
fn readable(url: &Url) -> String {
    match url.to_file_path() {
        Ok(path) if url.scheme() == "file" => path.display().to_string(),
        _ => url.to_string(),
    }
}
