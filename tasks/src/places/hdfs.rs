//! Files and tables on HDFS.
//!
//! The client has no time-outs, neither for a NameNode nor for a DataNode that has frozen, and does
//! not wait for one that restarts: the calls here do both. A file is written beside its name, closed
//! and renamed; names that begin with a dot are of files being written, and nobody sees them.

mod check;
mod errors;
mod store;
#[cfg(test)]
mod tests;

pub(super) use check::{SERVER, check};

use super::files::{FileEntry, FileSink, Files};
use super::settings::{self, Setting};
use async_trait::async_trait;
use bytes::Bytes;
use errors::{Failure, task_error};
use hdfs_native::client::FileStatus;
use hdfs_native::file::FileWriter;
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use object_store::ObjectStore;
use object_store::path::Path as StorePath;
use orchestrator::attempt::TaskError;
use orchestrator::failpoint;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::HdfsStore;
use url::Url;
use uuid::Uuid;

/// How long a server has for one call or one piece of data.
const ANSWER: Duration = Duration::from_secs(60);
/// Between two tries to reach a NameNode that is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Where a profile's HDFS is: the key `hdfs` of a profile.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HdfsSettings {
    /// The directory for all data, such as `hdfs://namenode:9000/tidemill`. Instead of a NameNode
    /// it may name a name service that `config_dir` or `options` describe.
    #[schemars(regex(pattern = "^hdfs://"))]
    url: String,
    /// A directory with `core-site.xml` and `hdfs-site.xml`.
    #[serde(default)]
    config_dir: Option<PathBuf>,
    /// Further settings of the Hadoop client by their own names, such as `dfs.nameservices`.
    #[serde(default)]
    options: BTreeMap<String, Setting>,
}

/// An HDFS, and the directory in it for all data.
#[derive(Clone, Debug)]
pub struct Hdfs {
    remote: Remote,
    root: Url,
}

impl Hdfs {
    /// Connects to nothing. `patience`: how long a NameNode that is away is waited for.
    pub fn new(settings: &HdfsSettings, patience: Duration) -> Result<Self, TaskError> {
        let wrong = |error: &dyn std::fmt::Display| {
            TaskError::permanent(format!("`{}` is no HDFS to use: {error}", settings.url))
        };
        let mut root = Url::parse(&settings.url).map_err(|error| wrong(&error))?;
        if !root.path().ends_with('/') {
            root.set_path(&format!("{}/", root.path()));
        }
        let mut builder = ClientBuilder::new()
            .with_url(&root[..url::Position::BeforePath])
            .with_config(settings::values(&settings.options)?);
        if let Some(dir) = &settings.config_dir {
            builder = builder.with_config_dir(dir.display().to_string());
        }
        let client = builder.build().map_err(|error| wrong(&error))?;
        Ok(Hdfs { remote: Remote { client, patience }, root })
    }

    /// A directory below the one for all data.
    pub fn directory(&self, name: &str) -> Url {
        let mut url = self.root.clone();
        url.set_path(&format!("{}{name}/", url.path()));
        url
    }

    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(HdfsStore::new(self.remote.clone()))
    }

    pub fn files(&self) -> HdfsFiles {
        HdfsFiles { remote: self.remote.clone(), url: self.directory("files"), store: self.store() }
    }
}

/// The client, and how long it waits for a NameNode that is away.
#[derive(Clone)]
struct Remote {
    client: Client,
    patience: Duration,
}

/// The client would print its settings, of which some are secrets.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Remote {
    /// A call to the NameNode.
    async fn call<'a, T, F>(&'a self, work: impl Fn(&'a Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, HdfsError>>,
    {
        patient(self.patience, || once(work(&self.client)), Failure::is_away).await
    }
}

/// What can't be repeated; it must not last for ever.
async fn once<T>(work: impl Future<Output = Result<T, HdfsError>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER, work).await {
        Ok(result) => result.map_err(Failure::Hdfs),
        Err(_) => Err(Failure::TimedOut),
    }
}

/// Repeats what a server that is away has not even begun.
async fn patient<T, E: std::fmt::Display, F>(
    patience: Duration,
    work: impl Fn() -> F,
    is_away: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let begun = Instant::now();
    let mut told = false;
    loop {
        match work().await {
            Err(error) if is_away(&error) && begun.elapsed() < patience => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!("{error}; waiting for it, {} s at most", patience.as_secs());
                }
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// A file beside the name that it will get. Dropped before that, it is removed.
struct TempFile {
    remote: Remote,
    path: String,
    target: String,
    published: bool,
}

impl TempFile {
    /// Directories on the way are made where they are missing.
    async fn beside(remote: &Remote, target: &str) -> Result<(TempFile, FileWriter), Failure> {
        let (directory, name) = target.rsplit_once('/').unwrap_or_default();
        let path = format!("{directory}/.{name}.{}.tmp", Uuid::new_v4().simple());
        let writer = remote.call(|client| client.create(&path, WriteOptions::default())).await?;
        let (remote, target) = (remote.clone(), target.to_owned());
        Ok((TempFile { remote, path, target, published: false }, writer))
    }

    /// The writer must have been closed.
    async fn publish(mut self, replace: bool) -> Result<(), Failure> {
        let renamed =
            self.remote.call(|client| client.rename(&self.path, &self.target, replace)).await;
        if renamed.is_err() {
            let _ = once(self.remote.client.delete(&self.path, false)).await;
        }
        self.published = true;
        renamed
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let (client, path) = (self.remote.client.clone(), std::mem::take(&mut self.path));
        // Without a runtime the process is ending; what is left has a name that nobody sees.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { once(client.delete(&path, false)).await });
        }
    }
}

/// Files in a directory of HDFS.
#[derive(Debug)]
pub struct HdfsFiles {
    remote: Remote,
    url: Url,
    store: Arc<dyn ObjectStore>,
}

impl HdfsFiles {
    /// As HDFS knows it: nothing is encoded.
    fn absolute(&self, name: &str) -> String {
        format!("/{}", self.path(name))
    }
}

#[async_trait]
impl Files for HdfsFiles {
    fn url(&self, name: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{name}", url.path()));
        url
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    fn path(&self, name: &str) -> StorePath {
        // The URL was made from a path, so its path can be decoded.
        StorePath::from_url_path(self.url(name).path()).unwrap_or_default()
    }

    async fn list(&self, name: &str) -> Result<Vec<FileEntry>, TaskError> {
        let path = self.absolute(name);
        let found = match self.remote.call(|client| client.list_status(&path, true)).await {
            Ok(found) => found,
            Err(failure) if failure.is_not_found() => return Ok(Vec::new()),
            Err(failure) => return Err(task_error(format!("can't list `file:{name}`"), &failure)),
        };
        let entry = |status: FileStatus| {
            let below = status.path.strip_prefix(&path)?;
            let visible = !status.isdir && !below.split('/').any(|part| part.starts_with('.'));
            visible
                .then(|| FileEntry { name: format!("{name}{below}"), size: status.length as u64 })
        };
        let mut found: Vec<_> = found.into_iter().filter_map(entry).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn create(&self, name: &str) -> Result<Box<dyn FileSink>, TaskError> {
        let (temp, writer) = TempFile::beside(&self.remote, &self.absolute(name))
            .await
            .map_err(|failure| cannot_write(name, &failure))?;
        Ok(Box::new(HdfsSink { name: name.to_owned(), temp, writer, bytes: 0 }))
    }
}

fn cannot_write(name: &str, failure: &Failure) -> TaskError {
    task_error(format!("can't write `file:{name}`"), failure)
}

struct HdfsSink {
    name: String,
    temp: TempFile,
    writer: FileWriter,
    bytes: u64,
}

#[async_trait]
impl FileSink for HdfsSink {
    async fn write(&mut self, data: Bytes) -> Result<(), TaskError> {
        self.bytes += data.len() as u64;
        let written = once(self.writer.write(data)).await;
        written.map(drop).map_err(|failure| cannot_write(&self.name, &failure))
    }

    async fn finish(self: Box<Self>) -> Result<u64, TaskError> {
        let HdfsSink { name, temp, mut writer, bytes } = *self;
        let publish = async {
            once(writer.close()).await?;
            failpoint::hit("file.before_rename");
            temp.publish(true).await
        };
        publish.await.map_err(|failure| cannot_write(&name, &failure))?;
        failpoint::hit("file.after_rename");
        Ok(bytes)
    }
}
