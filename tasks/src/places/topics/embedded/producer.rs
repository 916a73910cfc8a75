//! Writing segments.

use super::blocking;
use super::topic::{Topic, read_json, write_json};
use crate::places::topics::segment::{Draft, Header, offsets};
use crate::places::topics::{Origin, Position, Producer, Records};
use async_trait::async_trait;
use orchestrator::attempt::TaskError;
use orchestrator::event::Offsets;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub(super) struct SegmentProducer {
    seat: Seat,
    /// How many commits it has begun: a draft of one that was given up may still be written.
    drafts: u64,
    /// Where the topic ended when this producer looked last.
    tail: Vec<u64>,
    position: Option<Position>,
    end: Offsets,
}

/// A run and task in the role of a writer of a topic, in one epoch.
#[derive(Clone)]
struct Seat {
    topic: Topic,
    origin: Origin,
    /// The name of its files.
    id: String,
    epoch: u64,
}

/// What is kept of a run and task: `producers/ID.json`.
#[derive(Serialize, Deserialize)]
struct Seated {
    epoch: u64,
    /// Where the topic ended when this epoch began, as a sum: what the run and task have
    /// committed before it is told by the next two, and need not be searched for.
    since: u64,
    position: Option<Position>,
    end: Vec<u64>,
}

impl SegmentProducer {
    /// Begins a new epoch. Until then the old one may commit, so the search for what it has
    /// committed happens under the same lock.
    pub(super) fn take_over(topic: Topic, origin: Origin) -> Result<Self, TaskError> {
        let id = format!("{}.{}", escape(&origin.run), escape(&origin.task));
        let mut seat = Seat { topic, origin, id, epoch: 1 };
        let lock = seat.topic.lock()?;
        let tail = seat.topic.ends()?;
        let mut seated = Seated { epoch: 1, since: 0, position: None, end: tail.clone() };
        if let Some(before) = read_json::<Seated>(&seat.path())? {
            seated = seat.committed(before)?;
            seated.epoch += 1;
        }
        seated.since = tail.iter().sum();
        write_json(&seat.path(), &seated)?;
        seat.epoch = seated.epoch;
        seat.remove_drafts();
        drop(lock);
        let end = offsets(&seated.end);
        Ok(SegmentProducer { seat, drafts: 0, tail, position: seated.position, end })
    }
}

impl Seat {
    fn path(&self) -> PathBuf {
        self.topic.producers_dir().join(format!("{}.json", self.id))
    }

    fn draft(&self, number: u64) -> PathBuf {
        self.topic.producers_dir().join(format!("{}.{}-{number}.draft", self.id, self.epoch))
    }

    /// Brings what is known of this run and task up to date: their newest segment says it.
    fn committed(&self, mut seated: Seated) -> Result<Seated, TaskError> {
        let since = seated.since;
        for base in self.topic.segments()?.into_iter().rev().take_while(|&base| base >= since) {
            let header = self.topic.header(base)?;
            if header.origin.run == self.origin.run && header.origin.task == self.origin.task {
                seated.end = header.ends();
                seated.position = Some(header.position);
                break;
            }
        }
        Ok(seated)
    }

    /// Removes what earlier epochs left when they were killed. Losing one that can't be removed
    /// costs disk space only.
    fn remove_drafts(&self) {
        let prefix = format!("{}.", self.id);
        let Ok(entries) = std::fs::read_dir(self.topic.producers_dir()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(&prefix));
            let numbers = rest.and_then(|rest| rest.strip_suffix(".draft"));
            if numbers.is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit() || b == b'-')) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Writes first and takes the lock then, so that another producer waits only for the end.
    fn commit(
        &self,
        draft: PathBuf,
        tail: Vec<u64>,
        records: Records,
        position: Position,
    ) -> Result<Header, TaskError> {
        let draft = Draft::write(draft, &records.into_batches())?;
        let _lock = self.topic.lock()?;
        let epoch = read_json::<Seated>(&self.path())?.map(|seated| seated.epoch);
        if epoch != Some(self.epoch) {
            return Err(TaskError::permanent(format!(
                "a newer attempt writes in the name of task `{}` of run `{}`; this one is fenced",
                self.origin.task, self.origin.run
            )));
        }
        let tail = self.topic.ends_after(tail)?;
        let dir = self.topic.segments_dir();
        draft.publish(&dir, &tail, self.origin.clone(), self.epoch, position)
    }
}

#[async_trait]
impl Producer for SegmentProducer {
    fn partitions(&self) -> u32 {
        self.seat.topic.partitions() as u32
    }

    fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    fn end(&self) -> &Offsets {
        &self.end
    }

    async fn commit(&mut self, records: Records, position: Position) -> Result<(), TaskError> {
        if records.is_empty() {
            return Err(TaskError::permanent(
                "a transaction without records has nothing to commit",
            ));
        }
        self.drafts += 1;
        let (seat, draft) = (self.seat.clone(), self.seat.draft(self.drafts));
        let tail = self.tail.clone();
        let header = blocking(move || seat.commit(draft, tail, records, position)).await?;
        self.tail = header.ends();
        self.end = offsets(&self.tail);
        self.position = Some(header.position);
        Ok(())
    }
}

/// A name as part of a file's name: anything unusual becomes `%` and two digits.
fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02x}"));
        }
    }
    escaped
}
