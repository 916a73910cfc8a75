//! The local file system, such that what is visible is also on disk.
//!
//! `object_store`'s own local store never syncs: after a power cut a commit of a table can be there
//! with no bytes in it, and count as an empty version. Here a file is written beside its name,
//! synced, moved into place, and then its directory is synced; directories that had to be made are
//! synced too.

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result, UploadPart,
};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// Makes a directory and those above it, so that they survive a power cut.
pub(crate) fn create_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(Path::new("/"));
    create_dirs(parent)?;
    match std::fs::create_dir(dir) {
        Ok(()) => sync_dir(parent),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// What happens when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Replace,
    Refuse,
}

/// A file beside the name that it will get. Dropped before that, it is removed.
#[derive(Debug)]
pub(crate) struct TempFile {
    file: Arc<File>,
    path: PathBuf,
    target: PathBuf,
}

impl TempFile {
    /// Makes the directories on the way to `target` where they are missing.
    pub(crate) fn beside(target: &Path) -> io::Result<TempFile> {
        let (Some(dir), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not the path of a file"));
        };
        let path = dir.join(format!(".{}.{}.tmp", name.to_string_lossy(), Uuid::new_v4().simple()));
        let create = || {
            create_dirs(dir)?;
            File::create_new(&path)
        };
        let created = match create() {
            // Somebody has just removed the last file of the directory, and so the directory.
            Err(error) if error.kind() == ErrorKind::NotFound => create(),
            created => created,
        };
        let file = Arc::new(created?);
        Ok(TempFile { file, path, target: target.to_owned() })
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Syncs the file, gives it its name, and syncs that.
    pub(crate) fn publish(self, existing: Existing) -> io::Result<()> {
        self.file.sync_all()?;
        match existing {
            Existing::Replace => std::fs::rename(&self.path, &self.target)?,
            // A link never replaces: of two that publish one name, the second is told.
            Existing::Refuse => std::fs::hard_link(&self.path, &self.target)?,
        }
        sync_dir(self.target.parent().unwrap_or(Path::new("/")))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // Gone already after a rename; after a link it is the second name.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The local file system as an object store, rooted at `/`.
#[derive(Debug)]
pub struct DurableStore {
    inner: LocalFileSystem,
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableStore({})", self.inner)
    }
}

impl DurableStore {
    pub fn new() -> Self {
        // Directories are no objects: the last file takes its directory with it.
        DurableStore { inner: LocalFileSystem::new().with_automatic_cleanup(true) }
    }
}

impl Default for DurableStore {
    fn default() -> Self {
        DurableStore::new()
    }
}

fn generic(error: io::Error) -> Error {
    Error::Generic { store: "durable file system", source: Box::new(error) }
}

fn taken(location: &StorePath, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::AlreadyExists => {
            Error::AlreadyExists { path: location.to_string(), source: Box::new(error) }
        }
        ErrorKind::NotFound => {
            Error::NotFound { path: location.to_string(), source: Box::new(error) }
        }
        _ => generic(error),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let existing = match options.mode {
            PutMode::Overwrite => Existing::Replace,
            PutMode::Create => Existing::Refuse,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "a conditional update".into(),
                    implementer: self.to_string(),
                });
            }
        };
        let target = self.inner.path_to_filesystem(location)?;
        let location = location.clone();
        blocking(move || {
            let write = || {
                let temp = TempFile::beside(&target)?;
                let mut file = temp.file().as_ref();
                payload.iter().try_for_each(|bytes| file.write_all(bytes))?;
                temp.publish(existing)
            };
            write().map_err(|error| taken(&location, error))?;
            Ok(PutResult { e_tag: None, version: None })
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let target = self.inner.path_to_filesystem(location)?;
        let temp = blocking(move || TempFile::beside(&target).map_err(generic)).await?;
        Ok(Box::new(Upload { temp: Some(temp), offset: 0 }))
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &StorePath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<StorePath>>,
    ) -> BoxStream<'static, Result<StorePath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&StorePath>,
        offset: &StorePath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> Result<()> {
        let existing = match options.mode {
            CopyMode::Overwrite => Existing::Replace,
            CopyMode::Create => Existing::Refuse,
        };
        let source = self.inner.path_to_filesystem(from)?;
        let target = self.inner.path_to_filesystem(to)?;
        let to = to.clone();
        blocking(move || {
            let copy = || {
                let temp = TempFile::beside(&target)?;
                io::copy(&mut File::open(&source)?, &mut temp.file().as_ref())?;
                temp.publish(existing)
            };
            copy().map_err(|error| taken(&to, error))
        })
        .await
    }

    async fn rename_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: RenameOptions,
    ) -> Result<()> {
        let source = self.inner.path_to_filesystem(from)?;
        let target = self.inner.path_to_filesystem(to)?;
        let to = to.clone();
        blocking(move || {
            let rename = || {
                let parent = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
                File::open(&source)?.sync_all()?;
                create_dirs(&parent(&target))?;
                match options.target_mode {
                    RenameTargetMode::Overwrite => std::fs::rename(&source, &target)?,
                    RenameTargetMode::Create => {
                        std::fs::hard_link(&source, &target)?;
                        std::fs::remove_file(&source)?;
                    }
                }
                sync_dir(&parent(&target))?;
                sync_dir(&parent(&source))
            };
            rename().map_err(|error| taken(&to, error))
        })
        .await
    }
}

/// A file that arrives in parts.
#[derive(Debug)]
struct Upload {
    temp: Option<TempFile>,
    offset: u64,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(temp) = &self.temp else {
            return async { Err(generic(io::Error::other("the upload has ended"))) }.boxed();
        };
        let file = temp.file().clone();
        let mut offset = self.offset;
        self.offset += data.content_length() as u64;
        blocking(move || {
            for bytes in &data {
                file.write_all_at(bytes, offset).map_err(generic)?;
                offset += bytes.len() as u64;
            }
            Ok(())
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let temp =
            self.temp.take().ok_or_else(|| generic(io::Error::other("the upload has ended")))?;
        blocking(move || temp.publish(Existing::Replace).map_err(generic)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.temp = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
