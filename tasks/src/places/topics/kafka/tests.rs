//! Against a real broker: `cargo xtask test` starts one and names it in `TIDEMILL_TEST_KAFKA`.

use super::*;
use crate::places::topics::conformance;

/// The topics of the tests' broker, with these options.
pub(super) fn topics(options: &[(&str, &str)]) -> Option<KafkaTopics> {
    let Ok(brokers) = std::env::var("TIDEMILL_TEST_KAFKA") else {
        eprintln!("skipped: no Kafka; `cargo xtask test` starts one");
        return None;
    };
    Some(of(&brokers, options))
}

fn of(brokers: &str, options: &[(&str, &str)]) -> KafkaTopics {
    let text =
        |(name, value): &(&str, &str)| ((*name).to_owned(), Setting::Text((*value).to_owned()));
    let options = options.iter().map(text).collect();
    KafkaTopics::new(
        KafkaSettings { brokers: brokers.into(), replication: 1, options },
        Duration::ZERO,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let Some(topics) = topics(&[]) else { return };
    conformance::all(&topics, &format!("conforms-{}", uuid::Uuid::now_v7().simple())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_setting_is_permanent_and_a_broker_that_is_away_is_not() {
    let wrong = of("127.0.0.1:9", &[("securty.protocol", "ssl")]);
    let error = wrong.names().await.unwrap_err();
    assert!(matches!(error, TaskError::Permanent(_)), "{error}");
    assert!(error.to_string().contains("securty.protocol"), "{error}");
}
