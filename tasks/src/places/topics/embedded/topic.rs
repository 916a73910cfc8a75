//! The directory of one topic.

use crate::places::topics::segment::{self, Header, io_error, sync_dir};
use orchestrator::attempt::TaskError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

pub(super) const META: &str = "topic.json";
const VERSION: u32 = 1;

/// A topic that exists.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    dir: PathBuf,
    partitions: u32,
}

#[derive(Serialize, Deserialize)]
struct Meta {
    version: u32,
    partitions: u32,
}

impl Topic {
    /// `None` if there is no such topic.
    pub(super) fn open(dir: PathBuf) -> Result<Option<Self>, TaskError> {
        let path = dir.join(META);
        let Some(meta) = read_json::<Meta>(&path)? else { return Ok(None) };
        if meta.version > VERSION || meta.partitions == 0 {
            return Err(TaskError::permanent(format!(
                "`{}` was written by a newer tidemill; use that one",
                path.display()
            )));
        }
        Ok(Some(Topic { dir, partitions: meta.partitions }))
    }

    /// Opens the topic, or makes it.
    pub(super) fn create(dir: PathBuf, partitions: Option<u32>) -> Result<Self, TaskError> {
        for part in ["segments", "producers"] {
            let path = dir.join(part);
            std::fs::create_dir_all(&path).map_err(|e| io_error("creating", &path, &e))?;
        }
        let lock = lock(&dir)?;
        let topic = match Topic::open(dir.clone())? {
            Some(topic) => topic,
            None => {
                let meta = Meta { version: VERSION, partitions: partitions.unwrap_or(1).max(1) };
                write_json(&dir.join(META), &meta)?;
                // The topic's own name, and that of the directory of all topics.
                for above in dir.ancestors().skip(1).take(2) {
                    sync_dir(above)?;
                }
                Topic { dir, partitions: meta.partitions }
            }
        };
        drop(lock);
        match partitions {
            Some(asked) if asked != topic.partitions => Err(TaskError::permanent(format!(
                "the topic has {} partitions, and that can't be changed to `partitions: {asked}`; \
                 leave the option out, or write to another topic",
                topic.partitions
            ))),
            _ => Ok(topic),
        }
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions as usize
    }

    /// Held until it is dropped, or the process is gone.
    pub(super) fn lock(&self) -> Result<File, TaskError> {
        lock(&self.dir)
    }

    pub(super) fn segments_dir(&self) -> PathBuf {
        self.dir.join("segments")
    }

    pub(super) fn producers_dir(&self) -> PathBuf {
        self.dir.join("producers")
    }

    /// The segment that begins where the offsets of all partitions sum up to `base`.
    pub(super) fn segment(&self, base: u64) -> PathBuf {
        self.segments_dir().join(segment::file_name(base))
    }

    /// Where the segments begin, in order.
    pub(super) fn segments(&self) -> Result<Vec<u64>, TaskError> {
        let dir = self.segments_dir();
        let failed = |error| io_error("reading", &dir, &error);
        let mut bases = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            bases.extend(name.to_str().and_then(segment::parse_file_name));
        }
        bases.sort_unstable();
        Ok(bases)
    }

    pub(super) fn header(&self, base: u64) -> Result<Header, TaskError> {
        let path = self.segment(base);
        let header = segment::read_header(&path)?;
        header.ok_or_else(|| {
            TaskError::transient(format!("`{}` is gone while it is read", path.display()))
        })
    }

    /// Offsets behind the last record of each partition.
    pub(super) fn ends(&self) -> Result<Vec<u64>, TaskError> {
        match self.segments()?.last() {
            Some(&base) => Ok(self.header(base)?.ends()),
            None => Ok(vec![0; self.partitions()]),
        }
    }

    /// The same, given ends that once were: looks only at what has come since.
    pub(super) fn ends_after(&self, mut ends: Vec<u64>) -> Result<Vec<u64>, TaskError> {
        while let Some(header) = segment::read_header(&self.segment(ends.iter().sum()))? {
            ends = header.ends();
        }
        Ok(ends)
    }
}

fn lock(dir: &Path) -> Result<File, TaskError> {
    let path = dir.join("lock");
    let failed = |error| io_error("locking", &path, &error);
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// `None` if there is no such file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TaskError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("reading", path, &error)),
    };
    let value = serde_json::from_slice(&text).map_err(|error| {
        TaskError::permanent(format!("`{}` is damaged: {error}", path.display()))
    })?;
    Ok(Some(value))
}

/// Writes a small file whole or not at all; the caller holds the topic's lock.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TaskError> {
    let failed = |error| io_error("writing", path, &error);
    let temporary = path.with_extension("json.tmp");
    let json = serde_json::to_vec(value).expect("plain data is JSON");
    let mut file = File::create(&temporary).map_err(failed)?;
    file.write_all(&json).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)?;
    path.parent().map_or(Ok(()), sync_dir)
}
