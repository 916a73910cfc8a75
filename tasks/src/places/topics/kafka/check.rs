//! Whether a Kafka can be worked with.

use super::{KafkaSettings, KafkaTopics, errors};
use crate::places::check::server::{Server, blocking};
use crate::places::check::{Finding, State};
use crate::places::settings;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(in crate::places) const SERVER: Server = Server {
    what: "kafka",
    compose: "kafka",
    option: "kafka.brokers",
    example: "localhost:9092",
    process: "a broker",
    wrong_protocol: "give `kafka.brokers` the port of a broker's client listener, 9092 by default \
                     (not that of a controller, ZooKeeper or a web page), and `options` its \
                     `security.protocol`: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
    stuck: "the brokers take connections but do not answer: are they still starting, or is \
            `security.protocol` under `options` not that of their listener?",
};

/// A broker's part of the time that the whole check has.
const ANSWER: Duration = Duration::from_secs(3);
/// The first producer of a cluster waits for the topic of transactions to be made.
const TRANSACTIONS: Duration = Duration::from_secs(5);
const PORT: &str = "9092";

/// Asks for metadata, and has the coordinator of transactions take a producer.
pub(in crate::places) async fn check(settings: KafkaSettings) -> Vec<Finding> {
    blocking(move || find(settings)).await
}

fn find(settings: KafkaSettings) -> Vec<Finding> {
    let brokers = settings.brokers.clone();
    if let Err(error) = settings::values(&settings.options) {
        return vec![SERVER.unusable(&error.to_string()).at(&brokers)];
    }
    let (mut reached, mut findings) = (Vec::new(), Vec::new());
    let addresses: Vec<String> = brokers.split(',').map(address).collect();
    let dialled = SERVER.dial_all(&addresses);
    for (address, dialled) in addresses.into_iter().zip(dialled) {
        match dialled {
            None => reached.push(address),
            Some(finding) => findings.push(finding),
        }
    }
    let Some(first) = reached.first() else { return findings };
    // One that answers is enough to find the others.
    findings.iter_mut().for_each(|finding| finding.state = State::Warn);
    let topics = KafkaTopics::new(settings, Duration::ZERO);
    match ask(&topics, first, &reached) {
        Ok(found) => findings.extend(found),
        Err(finding) => findings.push(*finding),
    }
    findings
}

/// As librdkafka reads one of several: the protocol and the port may be left out.
fn address(broker: &str) -> String {
    let broker = broker.trim();
    let broker = broker.rsplit_once("://").map_or(broker, |(_, rest)| rest);
    if broker.contains(':') { broker.to_owned() } else { format!("{broker}:{PORT}") }
}

/// Questions to brokers of which at least the first can be connected to.
fn ask(
    topics: &KafkaTopics,
    first: &str,
    reached: &[String],
) -> Result<Vec<Finding>, Box<Finding>> {
    let brokers = &topics.settings.brokers;
    let mut config = topics.config(&[]).map_err(|error| SERVER.unusable(&error.to_string()))?;
    config.set("group.id", "tidemill.doctor");
    let reader: BaseConsumer<Heard> = config
        .create_with_context(Heard::default())
        .map_err(|error| SERVER.unusable(&errors::told(&error)).at(brokers))?;
    let begun = Instant::now();
    let metadata = reader
        .fetch_metadata(None, ANSWER)
        .map_err(|error| unanswered(&error, &heard(&reader), first, brokers))?;
    let latency = begun.elapsed();
    let own = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__")).count();
    let count = metadata.brokers().len();
    let mut findings = Vec::new();
    let told =
        metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port()));
    let told: Vec<String> = told.filter(|address| !reached.contains(address)).collect();
    for (address, dialled) in told.iter().zip(SERVER.dial_all(&told)) {
        findings.extend(dialled.map(|_| advertised(address).at(brokers)));
    }
    if findings.is_empty() {
        findings.push(match transactions(&mut config) {
            Ok(()) => {
                let plural = if count == 1 { "" } else { "s" };
                let found = format!("{count} broker{plural}, {own} topics, transactions work");
                Finding::ok(SERVER.what, found).at(brokers).took(latency)
            }
            Err(error) => no_transactions(&error).at(brokers).took(latency),
        });
    }
    findings.extend(replication(topics.settings.replication, count).map(|found| found.at(brokers)));
    Ok(findings)
}

/// What librdkafka has said in the meantime; it does so only where it is asked.
fn heard(reader: &BaseConsumer<Heard>) -> String {
    while reader.poll(Duration::from_millis(10)).is_some() {}
    reader.context().last()
}

/// Takes a producer's place, as each writing attempt does, and writes nothing.
fn transactions(config: &mut ClientConfig) -> Result<(), KafkaError> {
    config.remove("group.id");
    config.set("transactional.id", "tidemill.doctor");
    let producer: BaseProducer<Heard> = config.create_with_context(Heard::default())?;
    producer.init_transactions(TRANSACTIONS)
}

/// Why there is no metadata although a broker takes connections. `heard`: what librdkafka said.
fn unanswered(error: &KafkaError, heard: &str, address: &str, brokers: &str) -> Finding {
    let said = if heard.is_empty() { errors::told(error) } else { heard.to_owned() };
    let denied = ["Authentication", "SASL", "authentication", "ssl"];
    if denied.iter().any(|word| said.contains(word)) {
        let remedy = "`options` must hold what the listener wants: `security.protocol`, and for SASL \
                      `sasl.mechanism`, `sasl.username` and `sasl.password: {env: NAME}`, for TLS \
                      `ssl.ca.location`";
        return Finding::fail(SERVER.what, said, remedy).at(brokers);
    }
    SERVER.speaks_otherwise(address, &said).at(brokers)
}

/// A broker that sends its clients to an address where it can't be reached.
fn advertised(address: &str) -> Finding {
    let found = format!("a broker calls itself `{address}`, and is not reached there");
    let remedy = "set `advertised.listeners` in the broker's configuration to an address that this \
                  machine can reach, or make the name known here";
    Finding::fail(SERVER.what, found, remedy)
}

fn no_transactions(error: &KafkaError) -> Finding {
    let found = format!("transactions do not work: {}", errors::told(error));
    let remedy = match error.rdkafka_error_code() {
        Some(Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            "allow the user Write and Describe on transactional ids with the prefix `tidemill.` \
             (kafka-acls)"
        }
        _ => {
            "with fewer than three brokers set `transaction.state.log.replication.factor` and \
             `transaction.state.log.min.isr` of the brokers to their number; the log of the broker \
             tells more"
        }
    };
    Finding::fail(SERVER.what, found, remedy)
}

fn replication(copies: i32, brokers: usize) -> Option<Finding> {
    let too_many = usize::try_from(copies).is_ok_and(|copies| copies > brokers);
    too_many.then(|| {
        let found = format!("`replication: {copies}`, but there are {brokers} brokers");
        let remedy = "new topics can't be made: lower `kafka.replication`, or add brokers";
        Finding::warn(SERVER.what, found, remedy)
    })
}

/// Keeps the last reason that librdkafka gave, which says more than the error of a call.
#[derive(Default)]
struct Heard(Mutex<String>);

impl Heard {
    fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        // What goes wrong becomes a finding.
        tracing::debug!("{facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{reason} ({error})");
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            reason.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl ConsumerContext for Heard {}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(finding: &Finding, remedy: &str) {
        assert!(finding.remedy.as_ref().unwrap().contains(remedy), "{finding:?}");
    }

    #[test]
    fn addresses_are_read_as_librdkafka_reads_them() {
        assert_eq!(address(" a "), "a:9092");
        assert_eq!(address("SASL_SSL://a:1"), "a:1");
    }

    #[test]
    fn each_failure_has_its_remedy() {
        let error = KafkaError::MetadataFetch(Code::OperationTimedOut);
        let denied = "SASL authentication error: Authentication failed";
        contains(&unanswered(&error, denied, "127.0.0.1:9", "b"), "`sasl.mechanism`");
        contains(&unanswered(&error, "", "127.0.0.1:9", "b"), "9092 by default");
        contains(&advertised("kafka:29092"), "`advertised.listeners`");
        let error = |code| KafkaError::MetadataFetch(code);
        contains(&no_transactions(&error(Code::TransactionalIdAuthorizationFailed)), "kafka-acls");
        contains(&no_transactions(&error(Code::OperationTimedOut)), "min.isr");
        assert_eq!(replication(1, 1), None);
        contains(&replication(3, 1).unwrap(), "lower `kafka.replication`");
    }

    fn check(brokers: &str, settings: serde_json::Value) -> Vec<Finding> {
        let mut settings: KafkaSettings = serde_json::from_value(settings).unwrap();
        settings.brokers = brokers.into();
        find(settings)
    }

    #[test]
    fn a_secret_that_is_not_there() {
        let options = serde_json::json!({"sasl.password": {"env": "TIDEMILL_NONE"}});
        let settings = serde_json::json!({"brokers": "", "options": options});
        contains(&check("127.0.0.1:9", settings)[0], "set the variable");
    }

    #[test]
    fn a_real_one() {
        let Ok(brokers) = std::env::var("TIDEMILL_TEST_KAFKA") else {
            eprintln!("skipped: no Kafka; `cargo xtask test` starts one");
            return;
        };
        let findings = check(&brokers, serde_json::json!({"brokers": ""}));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].found.contains("1 broker, "), "{findings:?}");
        assert!(findings[0].found.ends_with("transactions work"), "{findings:?}");
        let several = format!("127.0.0.1:9,{brokers}");
        let findings = check(&several, serde_json::json!({"brokers": "", "replication": 3}));
        let states: Vec<State> = findings.iter().map(|finding| finding.state).collect();
        assert_eq!(states, [State::Warn, State::Ok, State::Warn], "{findings:?}");
        let options = serde_json::json!({"securty.protocol": "ssl"});
        let findings = check(&brokers, serde_json::json!({"brokers": "", "options": options}));
        assert!(findings[0].found.contains("securty.protocol"), "{findings:?}");
    }
}
