//! Writing in transactions.

use super::{ANSWER, KafkaTopics, ORIGIN, Told, blocking, log};
use crate::places::topics::{Origin, Position, Producer, Records};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMillisecondType;
use async_trait::async_trait;
use orchestrator::attempt::TaskError;
use orchestrator::event::Offsets;
use orchestrator::failpoint;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After so many milliseconds the broker gives a transaction up, unless the profile says otherwise.
const TRANSACTION_MS: u64 = 60_000;
const TRANSACTION_TIMEOUT: &str = "transaction.timeout.ms";
/// How often a transaction that was given up is begun anew.
const ROUNDS: u32 = 3;

pub(super) struct KafkaProducer {
    partitions: u32,
    position: Option<Position>,
    end: Offsets,
    seat: Arc<Seat>,
}

/// A producer for one run and task, and the group that keeps how far they have come.
struct Seat {
    topics: KafkaTopics,
    topic: String,
    headers: OwnedHeaders,
    producer: BaseProducer<Deliveries>,
    /// How long a transaction may take.
    limit: Duration,
    group: ConsumerGroupMetadata,
}

/// What became of the records of the transaction that is open.
#[derive(Default)]
struct Deliveries(Mutex<Delivered>);

#[derive(Default)]
struct Delivered {
    /// Behind the last record of each partition.
    end: Offsets,
    refused: Option<KafkaError>,
}

impl Deliveries {
    fn take(&self) -> Delivered {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{reason} ({error})");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut delivered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(record) => {
                let at = delivered.end.entry(record.partition().cast_unsigned()).or_default();
                *at = (*at).max(record.offset().cast_unsigned() + 1);
            }
            Err((error, _)) => delivered.refused = Some(error.clone()),
        }
    }
}

/// Why a transaction did not come to its end.
enum Broken {
    /// It was given up, and can be begun anew.
    Aborted(TaskError),
    /// This producer can do no more.
    Lost(TaskError),
}

impl KafkaProducer {
    /// Fences whoever wrote in the name of this run and task before, and takes on where they were.
    pub(super) fn take_over(
        topics: KafkaTopics,
        topic: String,
        origin: &Origin,
        partitions: u32,
    ) -> Result<Self, TaskError> {
        let id = format!("tidemill.{}.{}", origin.run, origin.task);
        let mut config = topics.config(&[
            ("linger.ms", "5"),
            // Below what a broker takes at once by default, 1,048,588 bytes: each batch costs it an
            // append.
            ("batch.size", "900000"),
            ("compression.type", "zstd"),
            ("queue.buffering.max.messages", "1000000"),
            (TRANSACTION_TIMEOUT, &TRANSACTION_MS.to_string()),
        ])?;
        config.set("transactional.id", &id);
        let limit_ms = config.get(TRANSACTION_TIMEOUT).and_then(|text| text.parse().ok());
        let limit = Duration::from_millis(limit_ms.unwrap_or(TRANSACTION_MS));
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(Deliveries::default())
            .map_err(|error| topics.failed("can't be written to", &error))?;
        let doing = format!("can't begin to write `topic:{topic}`");
        // Also ends the transaction that a predecessor has left open.
        insist(topics.persistence(), || producer.init_transactions(ANSWER))
            .map_err(|error| topics.failed(&doing, &error))?;
        let reader = topics.reader(&id)?;
        let group = reader.group_metadata().ok_or_else(|| {
            TaskError::permanent("librdkafka gives no metadata of a consumer's group")
        })?;
        let (position, end) = committed(&topics, &reader, &topic, partitions)?;
        let origin = serde_json::to_vec(origin).map_err(|error| {
            TaskError::permanent(format!("the origin of records can't be written: {error}"))
        })?;
        let headers = OwnedHeaders::new().insert(Header { key: ORIGIN, value: Some(&origin) });
        let seat = Arc::new(Seat { topics, topic, headers, producer, limit, group });
        Ok(KafkaProducer { partitions, position, end, seat })
    }
}

/// How far this run and task have come; where they have not begun, where the topic ends.
fn committed(
    topics: &KafkaTopics,
    reader: &BaseConsumer<Told>,
    topic: &str,
    partitions: u32,
) -> Result<(Option<Position>, Offsets), TaskError> {
    let numbers: Vec<i32> = (0..partitions.cast_signed()).collect();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions.cast_signed() - 1);
    let doing = format!("can't say how far this run has written `topic:{topic}`");
    let found = topics
        .patient(|| reader.committed_offsets(list.clone(), ANSWER))
        .map_err(|error| topics.failed(&doing, &error))?;
    let mut end = topics.watermarks(reader, topic, &numbers)?.end;
    let mut position = None;
    for element in found.elements() {
        let Offset::Offset(at) = element.offset() else { continue };
        end.insert(element.partition().cast_unsigned(), at.cast_unsigned());
        if element.partition() == 0 {
            let parsed = serde_json::from_str(element.metadata()).map_err(|error| {
                TaskError::permanent(format!(
                    "the group of this run and task holds no position that can be read: {error}"
                ))
            })?;
            position = Some(parsed);
        }
    }
    Ok((position, end))
}

impl Seat {
    fn commit(
        &self,
        batches: &[RecordBatch],
        position: &Position,
        before: &Offsets,
    ) -> Result<Offsets, TaskError> {
        let mut round = 1;
        loop {
            match self.transaction(batches, position, before) {
                Ok(end) => return Ok(end),
                Err(Broken::Aborted(TaskError::Transient(why))) if round < ROUNDS => {
                    tracing::warn!("{why}; the transaction is begun anew");
                    round += 1;
                }
                Err(Broken::Aborted(error) | Broken::Lost(error)) => return Err(error),
            }
        }
    }

    fn transaction(
        &self,
        batches: &[RecordBatch],
        position: &Position,
        before: &Offsets,
    ) -> Result<Offsets, Broken> {
        let begun = Instant::now();
        let sent = self.begin(batches).and_then(|()| self.finish(position, before));
        sent.map_err(|error| self.broken(begun, &error))
    }

    fn begin(&self, batches: &[RecordBatch]) -> Result<(), KafkaError> {
        self.producer.context().take();
        self.producer.begin_transaction()?;
        (0..).zip(batches).try_for_each(|(partition, batch)| self.send(partition, batch))
    }

    /// Waits for the records, and commits them with the position. Returns where they end.
    fn finish(&self, position: &Position, before: &Offsets) -> Result<Offsets, KafkaError> {
        // `commit_transaction` would wait for this too, but in steps of 100 ms.
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(1));
        }
        let Delivered { end: reached, refused } = self.producer.context().take();
        if let Some(error) = refused {
            return Err(error);
        }
        let mut end = before.clone();
        end.extend(reached);
        let offsets = self.offsets(&end, position)?;
        self.insist(|| self.producer.send_offsets_to_transaction(&offsets, &self.group, ANSWER))?;
        failpoint::hit("topic.before_commit");
        self.insist(|| self.producer.commit_transaction(ANSWER))?;
        failpoint::hit("topic.after_commit");
        Ok(end)
    }

    fn send(&self, partition: i32, batch: &RecordBatch) -> Result<(), KafkaError> {
        let keys = batch.column(0).as_binary::<i32>();
        let values = batch.column(1).as_binary::<i32>();
        let timestamps = batch.column(2).as_primitive::<TimestampMillisecondType>();
        for row in 0..batch.num_rows() {
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic)
                .partition(partition)
                .payload(values.value(row))
                .timestamp(timestamps.value(row))
                .headers(self.headers.clone());
            if keys.is_valid(row) {
                record = record.key(keys.value(row));
            }
            loop {
                match self.producer.send(record) {
                    Ok(()) => break,
                    Err((error, again))
                        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
                    {
                        self.producer.poll(Duration::from_millis(5));
                        record = again;
                    }
                    Err((error, _)) => return Err(error),
                }
            }
            if row % 1000 == 0 {
                self.producer.poll(Duration::ZERO);
            }
        }
        Ok(())
    }

    fn offsets(
        &self,
        end: &Offsets,
        position: &Position,
    ) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for (&partition, &at) in end {
            let mut element = list.add_partition(&self.topic, partition.cast_signed());
            element.set_offset(Offset::Offset(at.cast_signed()))?;
            if partition == 0 {
                element.set_metadata(serde_json::to_string(position).unwrap_or_default());
            }
        }
        Ok(list)
    }

    fn insist(&self, step: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
        insist(self.topics.persistence(), step)
    }

    /// Gives the transaction up where that is possible.
    fn broken(&self, begun: Instant, error: &KafkaError) -> Broken {
        let doing = format!("can't write `topic:{}`", self.topic);
        let refused = self.producer.context().take().refused;
        // The record that was refused says more than the transaction that failed with it.
        let told = self.topics.failed(&doing, refused.as_ref().unwrap_or(error));
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        if error.rdkafka_error_code().into_iter().chain(fatal).any(is_fenced) {
            // The broker says the same of one whose transaction has taken too long.
            return Broken::Lost(match begun.elapsed() > self.limit {
                true => TaskError::transient(format!(
                    "{doing}: the transaction took longer than {} s ({TRANSACTION_TIMEOUT}), and \
                     the broker has given it up",
                    self.limit.as_secs()
                )),
                false => TaskError::permanent(format!(
                    "{doing}: a newer attempt writes in the name of the same run and task; this \
                     one is fenced"
                )),
            });
        }
        if fatal.is_some() || matches!(error, KafkaError::Transaction(error) if error.is_fatal()) {
            return Broken::Lost(told);
        }
        match self.insist(|| self.producer.abort_transaction(ANSWER)) {
            Ok(()) => Broken::Aborted(told),
            Err(_) => Broken::Lost(told),
        }
    }
}

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
    matches!(code, Fenced | ProducerFenced | InvalidProducerEpoch)
}

/// Repeats a step of a transaction for as long as Kafka says that this can help.
fn insist(
    persistence: Duration,
    mut step: impl FnMut() -> Result<(), KafkaError>,
) -> Result<(), KafkaError> {
    let deadline = Instant::now() + persistence;
    loop {
        match step() {
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && Instant::now() < deadline =>
            {
                tracing::debug!("Kafka: {error}; again");
                std::thread::sleep(Duration::from_millis(200));
            }
            result => return result,
        }
    }
}

#[async_trait]
impl Producer for KafkaProducer {
    fn partitions(&self) -> u32 {
        self.partitions
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
        let (seat, before, asked) = (self.seat.clone(), self.end.clone(), position.clone());
        let batches = records.into_batches();
        self.end = blocking(move || seat.commit(&batches, &asked, &before)).await?;
        self.position = Some(position);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::topics::Topics;
    use crate::places::topics::conformance::{numbers, origin, position};
    use crate::places::topics::kafka::tests::topics;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_transaction_that_took_too_long_is_nothing_and_can_be_made_anew() {
        let Some(topics) = topics(&[(TRANSACTION_TIMEOUT, "1000")]) else { return };
        // Its own, so that it fences nobody else.
        let run = uuid::Uuid::now_v7().simple().to_string();
        let topic = format!("expired-{run}");
        assert_eq!(topics.ensure(&topic, Some(1)).await.unwrap(), 1);
        let (taking, name, slow_origin) = (topics.clone(), topic.clone(), origin(&run));
        let told = blocking(move || {
            let slow = KafkaProducer::take_over(taking, name, &slow_origin, 1)?;
            let begun = Instant::now();
            let sent = slow.seat.begin(&numbers(1, 0..10).into_batches());
            sent.unwrap();
            // The broker looks for such transactions every ten seconds.
            std::thread::sleep(Duration::from_secs(13));
            let error = slow.seat.finish(&position(10), &slow.end).unwrap_err();
            match slow.seat.broken(begun, &error) {
                Broken::Lost(told) => Ok(told),
                Broken::Aborted(told) => panic!("{told}"),
            }
        });
        let told = told.await.unwrap();
        assert!(matches!(told, TaskError::Transient(_)), "{told}");
        assert!(told.to_string().contains("took longer than 1 s"), "{told}");

        let mut next = topics.producer(&topic, origin(&run), None).await.unwrap();
        assert_eq!(next.position(), None, "nothing of it was committed");
        next.commit(numbers(1, 0..10), position(10)).await.unwrap();
        assert_eq!(next.position().unwrap().next, 10);
    }
}
