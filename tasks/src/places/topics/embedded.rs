//! Topics as immutable segment files in a directory.
//!
//! ```text
//! topics/NAME/topic.json         the number of partitions
//!             lock               held while offsets are given out and a segment gets its name
//!             segments/SUM.arrow one for each committed transaction
//!             producers/ID.json  the epoch of each run and task, and how far it had come
//! ```

mod consumer;
mod producer;
mod topic;

use super::{Bounds, Consumer, Origin, Producer, Topics};
use crate::places::topics::segment;
use async_trait::async_trait;
use consumer::SegmentConsumer;
use orchestrator::attempt::TaskError;
use orchestrator::event::Offsets;
use producer::SegmentProducer;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use topic::Topic;

/// The topics below one directory.
#[derive(Clone, Debug)]
pub struct EmbeddedTopics {
    root: PathBuf,
}

impl EmbeddedTopics {
    /// `root`: the directory of all topics; it is made when the first topic is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        EmbeddedTopics { root: root.into() }
    }

    fn dir(&self, topic: &str) -> PathBuf {
        self.root.join(topic)
    }
}

#[async_trait]
impl Topics for EmbeddedTopics {
    fn locate(&self, topic: &str) -> String {
        self.dir(topic).display().to_string()
    }

    async fn names(&self) -> Result<Vec<String>, TaskError> {
        let root = self.root.clone();
        blocking(move || {
            let entries = match std::fs::read_dir(&root) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(segment::io_error("reading", &root, &error)),
            };
            let exists = |dir: &Path| dir.join(topic::META).is_file();
            let mut names: Vec<String> = entries
                .filter_map(|entry| entry.ok())
                .filter(|entry| exists(&entry.path()))
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn bounds(&self, topic: &str) -> Result<Option<Bounds>, TaskError> {
        let dir = self.dir(topic);
        blocking(move || {
            let Some(topic) = Topic::open(dir)? else { return Ok(None) };
            let start = segment::offsets(&vec![0; topic.partitions()]);
            Ok(Some(Bounds { start, end: segment::offsets(&topic.ends()?) }))
        })
        .await
    }

    async fn producer(
        &self,
        topic: &str,
        origin: Origin,
        partitions: Option<u32>,
    ) -> Result<Box<dyn Producer>, TaskError> {
        let dir = self.dir(topic);
        blocking(move || {
            let topic = Topic::create(dir, partitions)?;
            Ok(Box::new(SegmentProducer::take_over(topic, origin)?) as Box<dyn Producer>)
        })
        .await
    }

    async fn consumer(&self, topic: &str, start: &Offsets) -> Result<Box<dyn Consumer>, TaskError> {
        let (dir, start, name) = (self.dir(topic), start.clone(), topic.to_owned());
        blocking(move || {
            let topic = Topic::open(dir)?.ok_or_else(|| {
                TaskError::permanent(format!(
                    "there is no topic `{name}`: nothing has been written to it yet"
                ))
            })?;
            Ok(Box::new(SegmentConsumer::open(topic, &start)?) as Box<dyn Consumer>)
        })
        .await
    }
}

/// Runs what touches files on a thread that may wait for them.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TaskError> + Send + 'static,
) -> Result<T, TaskError> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(TaskError::Cancelled),
        },
    }
}

#[cfg(test)]
mod tests;
