//! `file:` datasets: plain files and directories of files.

use super::durable::{DurableStore, Existing, TempFile};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path as StorePath;
use orchestrator::attempt::TaskError;
use orchestrator::failpoint;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// The place of `file:` datasets. `name` is always the part behind `file:`.
#[async_trait]
pub trait Files: Send + Sync {
    /// Where the file or directory lies.
    fn url(&self, name: &str) -> Url;

    /// The object store behind the scheme and authority of [`Files::url`].
    fn store(&self) -> Arc<dyn ObjectStore>;

    /// The file or directory within [`Files::store`].
    fn path(&self, name: &str) -> StorePath;

    /// The file itself, or all files below the directory, sorted by name; empty if there is
    /// neither. Names that begin with a dot are left out: files being written have such.
    async fn list(&self, name: &str) -> Result<Vec<FileEntry>, TaskError>;

    /// A new file, which gets its name when it is finished, and then replaces an older one.
    async fn create(&self, name: &str) -> Result<Box<dyn FileSink>, TaskError>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// As behind `file:`.
    pub name: String,
    /// In bytes.
    pub size: u64,
}

/// A file being written. Dropped before it is finished, it leaves nothing.
#[async_trait]
pub trait FileSink: Send {
    async fn write(&mut self, data: Bytes) -> Result<(), TaskError>;

    /// Makes the file durable and then visible, whole. Returns its size in bytes.
    async fn finish(self: Box<Self>) -> Result<u64, TaskError>;
}

/// Files in a directory of the local file system.
#[derive(Debug)]
pub struct LocalFiles {
    root: PathBuf,
    url: Url,
    store: Arc<DurableStore>,
}

impl LocalFiles {
    /// `root` is an absolute path; it need not exist.
    pub fn new(root: &Path) -> Result<Self, TaskError> {
        let url = Url::from_directory_path(root).map_err(|()| {
            TaskError::permanent(format!("`{}` is not an absolute path", root.display()))
        })?;
        Ok(LocalFiles { root: root.to_owned(), url, store: Arc::new(DurableStore::new()) })
    }

    fn local(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

#[async_trait]
impl Files for LocalFiles {
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
        let (name, path) = (name.to_owned(), self.local(name));
        blocking(move || {
            let mut found = Vec::new();
            walk(&name, &path, &mut found)
                .map_err(|error| TaskError::io(format!("can't list `file:{name}`"), &error))?;
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
        .await
    }

    async fn create(&self, name: &str) -> Result<Box<dyn FileSink>, TaskError> {
        let (name, target) = (name.to_owned(), self.local(name));
        blocking(move || {
            let temp = TempFile::beside(&target).map_err(|error| cannot_write(&name, &error))?;
            Ok(Box::new(LocalSink { name, temp, bytes: 0 }) as Box<dyn FileSink>)
        })
        .await
    }
}

fn cannot_write(name: &str, error: &std::io::Error) -> TaskError {
    TaskError::io(format!("can't write `file:{name}`"), error)
}

/// Adds the file at `path`, or those below it; nothing if there is nothing.
fn walk(name: &str, path: &Path, found: &mut Vec<FileEntry>) -> std::io::Result<()> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if metadata.is_file() {
        found.push(FileEntry { name: name.to_owned(), size: metadata.len() });
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let file_name = entry.file_name();
        // A name that is not UTF-8 cannot be part of a dataset's name.
        let Some(file_name) = file_name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        walk(&format!("{name}/{file_name}"), &entry.path(), found)?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TaskError> + Send + 'static,
) -> Result<T, TaskError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| TaskError::permanent(format!("a file operation broke off: {error}")))?
}

struct LocalSink {
    name: String,
    temp: TempFile,
    bytes: u64,
}

#[async_trait]
impl FileSink for LocalSink {
    async fn write(&mut self, data: Bytes) -> Result<(), TaskError> {
        self.bytes += data.len() as u64;
        let (file, name) = (self.temp.file().clone(), self.name.clone());
        blocking(move || {
            file.as_ref().write_all(&data).map_err(|error| cannot_write(&name, &error))
        })
        .await
    }

    async fn finish(self: Box<Self>) -> Result<u64, TaskError> {
        blocking(move || {
            failpoint::hit("file.before_rename");
            let publish = self.temp.publish(Existing::Replace);
            publish.map_err(|error| cannot_write(&self.name, &error))?;
            failpoint::hit("file.after_rename");
            Ok(self.bytes)
        })
        .await
    }
}

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
mod tests;
