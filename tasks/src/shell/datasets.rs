//! Datasets of a command: told by environment variables, published when it has succeeded.

use crate::places::Places;
use crate::places::tables::type_name;
use orchestrator::attempt::{Attempt, TaskError};
use orchestrator::dataset::{DatasetName, Scheme};
use orchestrator::event::Published;
use orchestrator::failpoint;
use orchestrator::kind::Catalog;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tracing::info;

/// Where a command's datasets are, before it runs.
pub(super) struct Prepared {
    variables: Vec<(String, PathBuf)>,
    outputs: Vec<Pending>,
    places: Places,
}

/// An output that the command has still to write.
struct Pending {
    output: String,
    dataset: DatasetName,
    target: PathBuf,
    /// Where the command writes: beside the target, for files; the table itself, for tables.
    path: PathBuf,
    /// The newest version of a table before the command.
    base: Option<i64>,
}

/// Pins the inputs, and makes room for the outputs.
pub(super) async fn prepare(attempt: &Attempt) -> Result<Prepared, TaskError> {
    let places = Places::open(&attempt.run)?;
    let mut prepared = Prepared { variables: Vec::new(), outputs: Vec::new(), places };
    let places = &prepared.places;
    for (name, input) in &attempt.inputs {
        let table = input.dataset.scheme() == Scheme::Table;
        if table && input.version.is_none() {
            let newest = places.tables().latest(input.dataset.name()).await?;
            attempt.pin(name, newest).await?;
        }
        let path = PathBuf::from(places.locate(&input.dataset));
        prepared.variables.push((variable("INPUT", name), path));
    }
    for (name, output) in &attempt.outputs {
        let dataset = output.dataset().clone();
        let target = PathBuf::from(places.locate(&dataset));
        let (path, base) = match dataset.scheme() {
            Scheme::Table => {
                let newest = places.tables().latest(dataset.name()).await?;
                (target.clone(), attempt.intend(name, newest).await?)
            }
            Scheme::File if places.files().url(dataset.name()).scheme() != "file" => {
                return Err(TaskError::permanent(format!(
                    "`{dataset}` is `{}`, where a command can't write; write it with another kind of \
                     task, or run with a profile that keeps files on this machine",
                    target.display()
                )));
            }
            _ => (beside(&target, attempt, name)?, None),
        };
        prepared.variables.push((variable("OUTPUT", name), path.clone()));
        let output = name.clone();
        prepared.outputs.push(Pending { output, dataset, target, path, base });
    }
    Ok(prepared)
}

fn variable(direction: &str, name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    format!("TIDEMILL_{direction}_{name}")
}

/// A fresh path of this output's own, on the file system of the target and with its file name, so
/// that a command that looks at the ending sees it.
fn beside(target: &Path, attempt: &Attempt, output: &str) -> Result<PathBuf, TaskError> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(TaskError::permanent(format!("`{}` is not a path", target.display())));
    };
    let own = parent.join(format!(".{}.{}.{output}", attempt.run.id, attempt.task));
    let path = own.join(name);
    let fresh = || -> io::Result<()> {
        if own.exists() {
            std::fs::remove_dir_all(&own)?;
        }
        std::fs::create_dir_all(&own)
    };
    fresh().map_err(|error| TaskError::io(format!("cannot make `{}`", own.display()), &error))?;
    Ok(path)
}

impl Prepared {
    pub(super) fn variables(&self) -> Vec<(String, PathBuf)> {
        self.variables.clone()
    }

    /// Makes what the command wrote visible and durable.
    pub(super) async fn publish(&self, attempt: &Attempt) -> Result<(), TaskError> {
        for pending in &self.outputs {
            let published = match pending.dataset.scheme() {
                Scheme::Table => self.written_table(pending).await?,
                _ => {
                    let published = publish_files(pending)?;
                    attempt.progress.add_bytes_out(published.bytes);
                    published
                }
            };
            info!(dataset = %pending.dataset, bytes = published.bytes, "published");
            attempt.published(&pending.output, published).await?;
        }
        Ok(())
    }

    async fn written_table(&self, pending: &Pending) -> Result<Published, TaskError> {
        let name = pending.dataset.name();
        let newest = self.places.tables().latest(name).await?;
        let Some(version) = newest.filter(|version| Some(*version) > pending.base) else {
            return Err(not_written(pending));
        };
        let table = self.places.tables().read(name, version).await?;
        let schema = table.schema.fields().iter();
        let schema = schema.map(|f| (f.name().clone(), type_name(f.data_type()))).collect();
        Ok(Published { version: Some(version), rows: table.rows, bytes: table.bytes, schema })
    }
}

fn not_written(pending: &Pending) -> TaskError {
    TaskError::permanent(format!(
        "the command succeeded, but did not write `{}`; it has to write to `{}`, which is \
         ${}",
        pending.dataset,
        pending.path.display(),
        variable("OUTPUT", &pending.output)
    ))
}

/// Moves a file or directory to its name, durably. A directory replaces the one before as a whole.
fn publish_files(pending: &Pending) -> Result<Published, TaskError> {
    if !pending.path.exists() {
        return Err(not_written(pending));
    }
    let move_it = || -> io::Result<u64> {
        let bytes = sync_tree(&pending.path)?;
        failpoint::hit("file.before_rename");
        let own = pending.path.parent().map(Path::to_owned).unwrap_or_default();
        if pending.target.is_dir() {
            std::fs::rename(&pending.target, own.join(".replaced"))?;
        }
        std::fs::rename(&pending.path, &pending.target)?;
        failpoint::hit("file.after_rename");
        if let Some(parent) = pending.target.parent() {
            File::open(parent)?.sync_all()?;
        }
        std::fs::remove_dir_all(own)?;
        Ok(bytes)
    };
    let bytes = move_it().map_err(|error| {
        TaskError::io(format!("cannot move the output to `{}`", pending.target.display()), &error)
    })?;
    Ok(Published { bytes, ..Published::default() })
}

/// Syncs a file, or everything in a directory; returns the size.
fn sync_tree(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            bytes += sync_tree(&entry?.path())?;
        }
    } else {
        bytes += path.metadata()?.len();
    }
    File::open(path)?.sync_all()?;
    Ok(bytes)
}
