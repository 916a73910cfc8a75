//! HDFS as an object store: `hdfs-native-object-store`, with time-outs, and with a put that leaves
//! nothing behind when it loses a race. As in a local directory, lists show files that are being
//! written, under names that begin with a dot.

use super::errors::{Failure, is_away, reclassed, store_error};
use super::{ANSWER, Remote, TempFile, once, patient};
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use hdfs_native_object_store::HdfsObjectStore;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart,
};
use std::fmt;
use std::future::Future;

pub(super) struct HdfsStore {
    remote: Remote,
    inner: HdfsObjectStore,
}

impl HdfsStore {
    pub(super) fn new(remote: Remote) -> Self {
        HdfsStore { inner: HdfsObjectStore::new(remote.client.clone()), remote }
    }

    /// A call of the inner store: with a limit in time, and again while the NameNode is away.
    async fn call<T, F>(&self, path: &Path, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        patient(self.remote.patience, || within(path, work()), is_away).await
    }
}

/// The inner store would print the client's settings, of which some are secrets.
impl fmt::Debug for HdfsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HdfsStore").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl fmt::Display for HdfsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HDFS")
    }
}

/// A call of the inner store, which must not last for ever.
async fn within<T>(path: &Path, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(ANSWER, work).await {
        Ok(result) => result.map_err(|error| reclassed(path.to_string(), error)),
        Err(_) => Err(store_error(path.to_string(), Failure::TimedOut)),
    }
}

/// A stream of which each piece has to come in time.
fn in_time<T: Send + 'static>(
    path: String,
    stream: BoxStream<'static, Result<T>>,
) -> BoxStream<'static, Result<T>> {
    futures::stream::unfold(Some((path, stream)), |state| async move {
        let (path, mut stream) = state?;
        match tokio::time::timeout(ANSWER, stream.next()).await {
            Ok(None) => None,
            Ok(Some(item)) => {
                let item = item.map_err(|error| reclassed(path.clone(), error));
                Some((item, Some((path, stream))))
            }
            Err(_) => Some((Err(store_error(path, Failure::TimedOut)), None)),
        }
    })
    // It may be asked again after its end.
    .fuse()
    .boxed()
}

fn absolute(path: &Path) -> String {
    format!("/{path}")
}

#[async_trait]
impl ObjectStore for HdfsStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let replace = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "a conditional update".into(),
                    implementer: self.to_string(),
                });
            }
        };
        let put = async {
            let (temp, mut writer) = TempFile::beside(&self.remote, &absolute(location)).await?;
            for bytes in payload {
                once(writer.write(bytes)).await?;
            }
            once(writer.close()).await?;
            temp.publish(replace).await
        };
        put.await.map_err(|failure| store_error(location.to_string(), failure))?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = || self.inner.put_multipart_opts(location, options.clone());
        let upload = self.call(location, upload).await?;
        Ok(Box::new(Upload { location: location.clone(), inner: Some(upload) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let get = || self.inner.get_opts(location, options.clone());
        let mut result = self.call(location, get).await?;
        if let GetResultPayload::Stream(stream) = result.payload {
            result.payload = GetResultPayload::Stream(in_time(location.to_string(), stream));
        }
        Ok(result)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        in_time("files to delete".into(), self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.map(Path::to_string).unwrap_or_default();
        in_time(path, self.inner.list(prefix))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.call(&path, || self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner
            .copy_opts(from, to, options)
            .await
            .map_err(|error| reclassed(to.to_string(), error))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.call(to, || self.inner.rename_opts(from, to, options.clone())).await
    }
}

/// A file that arrives in parts. One that is given up is removed.
struct Upload {
    location: Path,
    inner: Option<Box<dyn MultipartUpload>>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("location", &self.location).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let location = self.location.clone();
        match &mut self.inner {
            Some(inner) => {
                let part = inner.put_part(data);
                Box::pin(async move { within(&location, part).await })
            }
            None => Box::pin(async { Err(ended()) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut inner = self.inner.take().ok_or_else(ended)?;
        within(&self.location, inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        let mut inner = self.inner.take().ok_or_else(ended)?;
        within(&self.location, inner.abort()).await
    }
}

fn ended() -> Error {
    Error::Generic { store: "HDFS", source: "the upload has ended".into() }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let location = self.location.clone();
            runtime.spawn(async move { within(&location, inner.abort()).await });
        }
    }
}
