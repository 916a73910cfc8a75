//! What Kafka's errors mean: whether it is worth to try again.

use orchestrator::attempt::TaskError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// An error for people, of the class that it has.
pub(super) fn failed(doing: String, error: &KafkaError) -> TaskError {
    let text = match code(error) {
        Some(_) if is_away(error) => format!("{doing}: no broker answers ({error})"),
        Some(code) => format!("{doing}: {code}"),
        None => format!("{doing}: {}", told(error)),
    };
    if is_permanent(error) { TaskError::permanent(text) } else { TaskError::transient(text) }
}

/// The error without the value of a wrong setting: that may be a secret.
pub(super) fn told(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, why, name, _) => format!("the setting `{name}`: {why}"),
        other => other.to_string(),
    }
}

fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// What will be the same next time: a wrong setting, a missing right, a record that is too large.
fn is_permanent(error: &KafkaError) -> bool {
    if matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)) {
        return true;
    }
    code(error).is_some_and(|code| {
        matches!(
            code,
            Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::InvalidTopic
                | Code::InvalidPartitions
                | Code::InvalidReplicationFactor
                | Code::PolicyViolation
                | Code::MessageSizeTooLarge
                | Code::InvalidRecord
                | Code::InvalidArgument
                | Code::InvalidConfig
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::Authentication
                | Code::UnsupportedSASLMechanism
                | Code::InvalidTransactionTimeout
                | Code::UnsupportedVersion
                | Code::AutoOffsetReset
                | Code::OffsetOutOfRange
        )
    })
}

/// No broker answers.
pub(super) fn is_away(error: &KafkaError) -> bool {
    code(error).is_some_and(|code| {
        matches!(
            code,
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::RequestTimedOut
        )
    })
}

/// Passes within seconds, without anything being wrong: a leader is being chosen.
pub(super) fn is_settling(error: &KafkaError) -> bool {
    code(error).is_some_and(|code| {
        matches!(
            code,
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::NotCoordinator
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let check = |error: KafkaError, permanent: bool, words: &str| {
            let error = failed("Kafka at `a:1` can't".into(), &error);
            assert_eq!(matches!(error, TaskError::Permanent(_)), permanent, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        };
        let down = KafkaError::MetadataFetch(Code::BrokerTransportFailure);
        check(down, false, "Kafka at `a:1` can't: no broker answers");
        check(KafkaError::MetadataFetch(Code::TopicAuthorizationFailed), true, "authorization");
        check(KafkaError::MessageProduction(Code::MessageSizeTooLarge), true, "too large");
        let wrong = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN,
            "No such configuration property".into(),
            "securty.protocol".into(),
            "hunter2".into(),
        );
        check(wrong.clone(), true, "`securty.protocol`: No such configuration property");
        assert!(!failed("x".into(), &wrong).to_string().contains("hunter2"));
    }
}
