//! `artifact:` datasets: what people look at. A directory for each run, and `latest`.

use super::durable::{create_dirs, sync_dir};
use orchestrator::attempt::TaskError;
use orchestrator::failpoint;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Artifacts in a directory of the local file system. `name` is always the part behind
/// `artifact:`.
#[derive(Clone, Debug)]
pub struct Artifacts {
    root: PathBuf,
}

impl Artifacts {
    pub fn new(root: &Path) -> Self {
        Artifacts { root: root.to_owned() }
    }

    /// Where the artifact's runs lie, with `latest` among them.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// An empty directory to fill. It becomes the run's when it is finished.
    pub async fn create(&self, name: &str, run: &str) -> Result<ArtifactSink, TaskError> {
        let (artifact, name, run) = (self.directory(name), name.to_owned(), run.to_owned());
        blocking(move || {
            let temp = artifact.join(format!(".{run}.{}.tmp", Uuid::new_v4().simple()));
            create_dirs(&temp).map_err(|error| cannot_write(&name, &error))?;
            Ok(ArtifactSink { temp, artifact, name, run })
        })
        .await
    }
}

fn cannot_write(name: &str, error: &io::Error) -> TaskError {
    TaskError::io(format!("can't write `artifact:{name}`"), error)
}

/// A run's artifact while it is made. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub struct ArtifactSink {
    temp: PathBuf,
    artifact: PathBuf,
    name: String,
    run: String,
}

impl ArtifactSink {
    /// Where the files go, in directories too if need be.
    pub fn directory(&self) -> &Path {
        &self.temp
    }

    /// Makes all files durable, then visible under the run's name, then the one that `latest`
    /// points to. What an earlier attempt of the run left under its name is replaced.
    pub async fn finish(self) -> Result<PathBuf, TaskError> {
        blocking(move || {
            let publish = || {
                sync_tree(&self.temp)?;
                let target = self.artifact.join(&self.run);
                failpoint::hit("artifact.before_rename");
                replace(&self.temp, &target, &self.artifact)?;
                point_latest(&self.artifact, &self.run)?;
                sync_dir(&self.artifact)?;
                failpoint::hit("artifact.after_rename");
                Ok(target)
            };
            publish().map_err(|error| cannot_write(&self.name, &error))
        })
        .await
    }
}

impl Drop for ArtifactSink {
    fn drop(&mut self) {
        // Once finished, it has another name.
        let _ = std::fs::remove_dir_all(&self.temp);
    }
}

fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(directory)
}

/// Gives `from` the name `to`. A directory there can't be replaced in one step, so it steps aside.
fn replace(from: &Path, to: &Path, beside: &Path) -> io::Result<()> {
    let aside = beside.join(format!(".{}.old", Uuid::new_v4().simple()));
    match std::fs::rename(to, &aside) {
        Ok(()) => {
            std::fs::rename(from, to)?;
            std::fs::remove_dir_all(&aside)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::rename(from, to),
        Err(error) => Err(error),
    }
}

fn point_latest(artifact: &Path, run: &str) -> io::Result<()> {
    let temp = artifact.join(format!(".latest.{}.tmp", Uuid::new_v4().simple()));
    // Relative, so that the data directory can be moved.
    std::os::unix::fs::symlink(run, &temp)?;
    std::fs::rename(&temp, artifact.join("latest"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TaskError> + Send + 'static,
) -> Result<T, TaskError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| TaskError::permanent(format!("an artifact broke off: {error}")))?
}

#[cfg(test)]
mod tests;
