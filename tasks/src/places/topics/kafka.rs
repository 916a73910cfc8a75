//! Topics on Kafka.
//!
//! A producer is transactional, with a transactional id made of run and task, so whoever wrote in
//! their name before is fenced. A group of the same name, to which nobody subscribes, keeps how far
//! they have come, as offsets that are committed with the transaction: for each partition the
//! offset behind the last record, and in the metadata of partition 0 the [`Position`]. Each record
//! carries its [`Origin`] as JSON in the header [`ORIGIN`].

mod check;
mod consumer;
mod errors;
mod producer;
#[cfg(test)]
mod tests;

pub(in crate::places) use check::{SERVER, check};

use super::{Bounds, Consumer, Origin, Producer, Topics};
use crate::places::settings::{self, Setting};
use async_trait::async_trait;
use consumer::KafkaConsumer;
use errors::failed;
use orchestrator::attempt::TaskError;
use orchestrator::event::Offsets;
use producer::KafkaProducer;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The header with a record's origin.
const ORIGIN: &str = "tidemill-origin";
/// How long the broker has for a question.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a profile's Kafka is: the key `kafka` of a profile.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// One or more brokers to begin with, such as `localhost:9092`, separated by commas.
    #[schemars(length(min = 1))]
    brokers: String,
    /// How many copies a topic that tidemill makes has of each partition.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    replication: i32,
    /// Further settings of librdkafka by their own names, such as `security.protocol`; a secret as
    /// `{env: NAME}` or `{file: PATH}`.
    #[serde(default)]
    options: BTreeMap<String, Setting>,
}

fn one() -> i32 {
    1
}

/// The topics of a Kafka cluster.
#[derive(Clone, Debug)]
pub struct KafkaTopics {
    settings: Arc<KafkaSettings>,
    patience: Duration,
}

impl KafkaTopics {
    /// Connects to nothing. `patience`: how long a broker that is away is waited for.
    pub fn new(settings: KafkaSettings, patience: Duration) -> Self {
        KafkaTopics { settings: Arc::new(settings), patience }
    }

    /// `defaults`: what counts unless the profile says otherwise.
    fn config(&self, defaults: &[(&str, &str)]) -> Result<ClientConfig, TaskError> {
        let mut config = ClientConfig::new();
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        config.extend(settings::values(&self.settings.options)?);
        config.set("bootstrap.servers", &self.settings.brokers);
        config.set_log_level(RDKafkaLogLevel::Warning);
        Ok(config)
    }

    /// A consumer that belongs to no group of consumers: it reads what it is told to.
    fn reader(&self, group: &str) -> Result<BaseConsumer<Told>, TaskError> {
        // By default a full queue pauses fetching for a second, which halves the throughput.
        let mut config = self.config(&[("fetch.queue.backoff.ms", "10")])?;
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error");
        config.create_with_context(Told).map_err(|error| self.failed("can't be used", &error))
    }

    /// How long what Kafka calls retriable is tried.
    fn persistence(&self) -> Duration {
        self.patience.max(ANSWER)
    }

    /// Asks again for a while where the cluster is only changing its mind about who leads, and where
    /// no broker answers.
    fn patient<T>(&self, mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let begun = Instant::now();
        loop {
            match ask() {
                Err(error)
                    if errors::is_settling(&error) && begun.elapsed() < ANSWER
                        || errors::is_away(&error) && begun.elapsed() < self.patience =>
                {
                    tracing::debug!("Kafka at `{}`: {error}; again", self.settings.brokers);
                    std::thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    fn failed(&self, doing: &str, error: &KafkaError) -> TaskError {
        failed(format!("Kafka at `{}` {doing}", self.settings.brokers), error)
    }

    /// The partitions of a topic, sorted; `None` if there is no such topic.
    fn partitions(
        &self,
        reader: &BaseConsumer<Told>,
        topic: &str,
    ) -> Result<Option<Vec<i32>>, TaskError> {
        let doing = format!("can't say what `topic:{topic}` is");
        let metadata = self
            .patient(|| reader.fetch_metadata(Some(topic), ANSWER))
            .map_err(|error| self.failed(&doing, &error))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(code) => return Err(self.failed(&doing, &KafkaError::MetadataFetch(code))),
        }
        let mut partitions: Vec<i32> = found.partitions().iter().map(|p| p.id()).collect();
        partitions.sort_unstable();
        Ok((!partitions.is_empty()).then_some(partitions))
    }

    /// Where the committed records of a topic begin and end: behind the end lie at most those of
    /// transactions that are still open.
    fn watermarks(
        &self,
        reader: &BaseConsumer<Told>,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Bounds, TaskError> {
        let mut bounds = Bounds::default();
        for &partition in partitions {
            let doing = format!("can't say where `topic:{topic}` ends");
            let (low, high) = self
                .patient(|| reader.fetch_watermarks(topic, partition, ANSWER))
                .map_err(|error| self.failed(&doing, &error))?;
            bounds.start.insert(partition.cast_unsigned(), low.cast_unsigned());
            bounds.end.insert(partition.cast_unsigned(), high.cast_unsigned());
        }
        Ok(bounds)
    }

    fn find_bounds(&self, topic: &str) -> Result<Option<Bounds>, TaskError> {
        let reader = self.reader("tidemill")?;
        let Some(partitions) = self.partitions(&reader, topic)? else { return Ok(None) };
        self.watermarks(&reader, topic, &partitions).map(Some)
    }

    /// Makes the topic if there is none, and says how many partitions it has.
    async fn ensure(&self, topic: &str, asked: Option<u32>) -> Result<u32, TaskError> {
        let find = || {
            let (topics, topic) = (self.clone(), topic.to_owned());
            blocking(move || topics.partitions(&topics.reader("tidemill")?, &topic))
        };
        if let Some(partitions) = find().await? {
            let found = partitions.len() as u32;
            return match asked {
                Some(asked) if asked != found => Err(TaskError::permanent(format!(
                    "the topic has {found} partitions, and that can't be changed to \
                     `partitions: {asked}`; leave the option out, or write to another topic"
                ))),
                _ => Ok(found),
            };
        }
        let doing = format!("can't make `topic:{topic}`");
        let admin: AdminClient<Told> = self
            .config(&[])?
            .create_with_context(Told)
            .map_err(|error| self.failed(&doing, &error))?;
        let count = asked.unwrap_or(1).max(1);
        let new = NewTopic::new(
            topic,
            count.cast_signed(),
            TopicReplication::Fixed(self.settings.replication),
        );
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let made = admin.create_topics(&[new], &options).await;
        for result in made.map_err(|error| self.failed(&doing, &error))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => {
                    return Err(self.failed(&doing, &KafkaError::AdminOp(code)));
                }
            }
        }
        // It takes a moment until the brokers have told one another.
        let deadline = Instant::now() + ANSWER;
        loop {
            match find().await? {
                Some(partitions) => return Ok(partitions.len() as u32),
                None if Instant::now() > deadline => {
                    return Err(TaskError::transient(format!(
                        "`topic:{topic}` was made, but the brokers do not know it yet"
                    )));
                }
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

#[async_trait]
impl Topics for KafkaTopics {
    fn locate(&self, topic: &str) -> String {
        format!("kafka://{}/{topic}", self.settings.brokers)
    }

    async fn names(&self) -> Result<Vec<String>, TaskError> {
        let topics = self.clone();
        blocking(move || {
            let reader = topics.reader("tidemill")?;
            let metadata = reader
                .fetch_metadata(None, ANSWER)
                .map_err(|error| topics.failed("can't list its topics", &error))?;
            let names = metadata.topics().iter().map(|topic| topic.name());
            // Kafka's own begin with two underscores.
            let mut names: Vec<_> =
                names.filter(|name| !name.starts_with("__")).map(str::to_owned).collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn bounds(&self, topic: &str) -> Result<Option<Bounds>, TaskError> {
        let (topics, topic) = (self.clone(), topic.to_owned());
        blocking(move || topics.find_bounds(&topic)).await
    }

    async fn producer(
        &self,
        topic: &str,
        origin: Origin,
        partitions: Option<u32>,
    ) -> Result<Box<dyn Producer>, TaskError> {
        let partitions = self.ensure(topic, partitions).await?;
        let (topics, topic) = (self.clone(), topic.to_owned());
        let take_over = move || KafkaProducer::take_over(topics, topic, &origin, partitions);
        Ok(Box::new(blocking(take_over).await?))
    }

    async fn consumer(&self, topic: &str, start: &Offsets) -> Result<Box<dyn Consumer>, TaskError> {
        let (topics, topic, start) = (self.clone(), topic.to_owned(), start.clone());
        Ok(Box::new(blocking(move || KafkaConsumer::open(&topics, topic, &start)).await?))
    }
}

/// What librdkafka says goes where everything is told.
#[derive(Clone, Copy, Debug)]
struct Told;

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{reason} ({error})");
    }
}

impl ConsumerContext for Told {}

fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!("{facility}: {message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!("{facility}: {message}")
        }
        _ => tracing::debug!("{facility}: {message}"),
    }
}

/// Runs what waits for a broker on a thread that may.
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
