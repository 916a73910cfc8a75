//! Reading what is committed.

use super::{KafkaTopics, ORIGIN, Told, blocking};
use crate::places::topics::records::Gathered;
use crate::places::topics::{Batch, Consumer, Content, Origin};
use async_trait::async_trait;
use orchestrator::attempt::TaskError;
use orchestrator::event::Offsets;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// As many records at most come from one poll.
const RECORDS: usize = 20_000;

pub(super) struct KafkaConsumer {
    reading: Arc<Mutex<Reading>>,
    /// As of the last poll.
    position: Offsets,
}

struct Reading {
    topics: KafkaTopics,
    topic: String,
    consumer: BaseConsumer<Told>,
    position: Offsets,
    /// Of the last record: most have the same as the one before.
    origin: (Vec<u8>, Arc<Origin>),
    /// Since when there has been nothing but trouble.
    trouble: Option<Instant>,
    /// Read, but not given out yet: whoever asked for it has stopped waiting.
    ready: Vec<Batch>,
}

impl KafkaConsumer {
    pub(super) fn open(
        topics: &KafkaTopics,
        topic: String,
        start: &Offsets,
    ) -> Result<Self, TaskError> {
        let consumer = topics.reader("tidemill")?;
        let Some(partitions) = topics.partitions(&consumer, &topic)? else {
            return Err(TaskError::permanent(format!(
                "there is no topic `{topic}`: nothing has been written to it yet"
            )));
        };
        let known = |partition: &u32| partitions.contains(&partition.cast_signed());
        if let Some(partition) = start.keys().find(|partition| !known(partition)) {
            return Err(TaskError::permanent(format!(
                "the topic has no partition {partition}; it has {}",
                partitions.len()
            )));
        }
        let mut position = topics.watermarks(&consumer, &topic, &partitions)?.start;
        position.extend(start);
        let failed = |error| topics.failed(&format!("can't read `topic:{topic}`"), &error);
        let mut list = TopicPartitionList::new();
        for (&partition, &at) in &position {
            let at = Offset::Offset(at.cast_signed());
            list.add_partition_offset(&topic, partition.cast_signed(), at).map_err(failed)?;
        }
        consumer.assign(&list).map_err(failed)?;
        let reading = Reading {
            topics: topics.clone(),
            topic,
            consumer,
            position: position.clone(),
            origin: (Vec::new(), Arc::new(nobodys())),
            trouble: None,
            ready: Vec::new(),
        };
        Ok(KafkaConsumer { reading: Arc::new(Mutex::new(reading)), position })
    }
}

/// The origin of records that tidemill has not written.
fn nobodys() -> Origin {
    let content = Content { format: Default::default(), columns: Vec::new() };
    Origin { run: String::new(), task: String::new(), content }
}

impl Reading {
    fn poll(&mut self, wait: Duration) -> Result<(), TaskError> {
        if !self.ready.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + wait;
        let mut gathered = Gathered::default();
        let mut records = 0;
        while records < RECORDS {
            let left = match records {
                0 => deadline.saturating_duration_since(Instant::now()),
                _ => Duration::ZERO,
            };
            match self.consumer.poll(left) {
                None if records > 0 || Instant::now() >= deadline => break,
                None => {}
                Some(Ok(record)) => {
                    self.trouble = None;
                    let origin = origin(&mut self.origin, &record)?;
                    let partition = record.partition().cast_unsigned();
                    let offset = record.offset().cast_unsigned();
                    let done = gathered.push(
                        (partition, offset),
                        origin,
                        (record.key(), record.payload().unwrap_or_default()),
                        record.timestamp().to_millis().unwrap_or_default(),
                    );
                    self.ready.extend(done);
                    records += 1;
                }
                Some(Err(error)) => self.endure(&error)?,
            }
        }
        self.ready.extend(gathered.finish());
        self.look_where_it_is()
    }

    /// librdkafka connects again by itself; only what lasts is an error here.
    fn endure(&mut self, error: &KafkaError) -> Result<(), TaskError> {
        let told = self.topics.failed(&format!("can't read `topic:{}`", self.topic), error);
        let since = *self.trouble.get_or_insert_with(Instant::now);
        match told {
            TaskError::Transient(why) if since.elapsed() < self.topics.persistence() => {
                tracing::debug!("{why}; waiting");
                Ok(())
            }
            told => Err(told),
        }
    }

    /// A position also passes the marks of transactions and what was given up, where no record is.
    fn look_where_it_is(&mut self) -> Result<(), TaskError> {
        let doing = format!("can't say how far `topic:{}` is read", self.topic);
        let list = self.consumer.position().map_err(|error| self.topics.failed(&doing, &error))?;
        for element in list.elements() {
            if let Offset::Offset(at) = element.offset() {
                let position = self.position.entry(element.partition().cast_unsigned());
                let position = position.or_default();
                *position = (*position).max(at.cast_unsigned());
            }
        }
        Ok(())
    }
}

fn lock(reading: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}

fn origin(
    last: &mut (Vec<u8>, Arc<Origin>),
    record: &BorrowedMessage<'_>,
) -> Result<Arc<Origin>, TaskError> {
    let header = record.headers().and_then(|headers| headers.iter().find(|h| h.key == ORIGIN));
    let bytes = header.and_then(|header| header.value).unwrap_or_default();
    if *bytes != *last.0 {
        let parsed = match bytes {
            [] => nobodys(),
            _ => serde_json::from_slice(bytes).map_err(|error| {
                TaskError::permanent(format!(
                    "the record at offset {} of partition {} has a header `{ORIGIN}` that can't \
                     be read: {error}",
                    record.offset(),
                    record.partition()
                ))
            })?,
        };
        *last = (bytes.to_vec(), Arc::new(parsed));
    }
    Ok(last.1.clone())
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn poll(&mut self, wait: Duration) -> Result<Vec<Batch>, TaskError> {
        let reading = self.reading.clone();
        blocking(move || lock(&reading).poll(wait)).await?;
        let mut reading = lock(&self.reading);
        self.position.clone_from(&reading.position);
        Ok(std::mem::take(&mut reading.ready))
    }

    fn position(&self) -> &Offsets {
        &self.position
    }
}
