//! What every implementation of [`Topics`] must do. Offsets are only compared as Kafka allows
//! it: they grow, with gaps or without.

use super::{Batch, Consumer, Content, Format, Origin, Position, Producer, Records, Topics};
use super::{Bounds, partition_of};
use orchestrator::attempt::TaskError;
use orchestrator::event::Offsets;
use std::collections::BTreeMap;
use std::time::Duration;

const NOT_AT_ALL: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(10);

/// Runs all of it on topics that do not exist yet, whose names begin with `prefix`.
pub(crate) async fn all(topics: &dyn Topics, prefix: &str) {
    keeps_keys_values_and_order(topics, &format!("{prefix}-order")).await;
    resumes_at_every_transaction(topics, &format!("{prefix}-resume")).await;
    fences_a_zombie(topics, &format!("{prefix}-zombie")).await;
    lets_two_runs_interleave(topics, &format!("{prefix}-two")).await;
    lets_producers_write_at_once(topics, &format!("{prefix}-race")).await;
    waits_for_records(topics, &format!("{prefix}-wait")).await;
    starts_inside_a_transaction(topics, &format!("{prefix}-inside")).await;
    refuses_what_cannot_be(topics, &format!("{prefix}-bad")).await;
}

pub(crate) fn origin(run: &str) -> Origin {
    let columns = vec!["id".into(), "name".into()];
    Origin {
        run: run.into(),
        task: "stream".into(),
        content: Content { format: Format::Csv, columns },
    }
}

/// Records `from..to`: the number is key and value.
pub(crate) fn numbers(partitions: u32, range: std::ops::Range<u64>) -> Records {
    let mut records = Records::new(partitions);
    for number in range {
        let text = number.to_string();
        records.push(Some(text.as_bytes()), text.as_bytes(), 1_700_000_000_000 + number as i64);
    }
    records
}

pub(crate) fn position(next: u64) -> Position {
    Position { next, detail: format!("{{\"byte\":{}}}", next * 10) }
}

async fn send(producer: &mut dyn Producer, range: std::ops::Range<u64>) -> Result<(), TaskError> {
    let records = numbers(producer.partitions(), range.clone());
    producer.commit(records, position(range.end)).await
}

/// Everything between the consumer's position and `end`, by the drain rule.
pub(crate) async fn drain(consumer: &mut dyn Consumer, end: &Offsets) -> Vec<Batch> {
    let mut batches = Vec::new();
    let drained = |position: &Offsets| end.iter().all(|(partition, at)| position[partition] >= *at);
    while !drained(consumer.position()) {
        let more = consumer.poll(LONG).await.unwrap();
        assert!(!more.is_empty() || drained(consumer.position()), "waited for {end:?} in vain");
        batches.extend(more);
    }
    batches
}

pub(crate) fn values(batches: &[Batch]) -> Vec<u64> {
    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    batches.iter().flat_map(|batch| batch.values()).map(|v| text(v).parse().unwrap()).collect()
}

async fn read_all(topics: &dyn Topics, topic: &str) -> Vec<Batch> {
    let Bounds { start, end } = topics.bounds(topic).await.unwrap().unwrap();
    let mut consumer = topics.consumer(topic, &start).await.unwrap();
    drain(&mut *consumer, &end).await
}

async fn keeps_keys_values_and_order(topics: &dyn Topics, topic: &str) {
    let mut producer = topics.producer(topic, origin("a"), Some(3)).await.unwrap();
    assert_eq!(producer.partitions(), 3);
    send(&mut *producer, 0..500).await.unwrap();
    send(&mut *producer, 500..777).await.unwrap();
    let mut records = Records::new(3);
    records.push(None, b"777", 5);
    producer.commit(records, position(778)).await.unwrap();

    let batches = read_all(topics, topic).await;
    let mut last: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for batch in &batches {
        assert_eq!(*batch.origin, origin("a"));
        for at in 0..batch.len() {
            let offset = batch.first_offset + at as u64;
            let number = values(&[batch.slice(at, 1)])[0];
            if let Some(before) = last.insert(batch.partition, (offset, number)) {
                assert!(before < (offset, number), "{before:?} comes before {offset}, {number}");
            }
            if number < 777 {
                let text = number.to_string();
                assert_eq!(batch.keys().value(at), text.as_bytes());
                assert_eq!(batch.partition, partition_of(text.as_bytes(), 3));
                assert_eq!(batch.timestamps().value(at), 1_700_000_000_000 + number as i64);
            }
        }
    }
    let mut all = values(&batches);
    all.sort_unstable();
    assert_eq!(all, (0..778).collect::<Vec<_>>());
    assert_eq!(topics.bounds(topic).await.unwrap().unwrap().end.len(), 3);
    assert!(topics.names().await.unwrap().contains(&topic.to_owned()));
}

/// The producer dies before, in and after each of its transactions; nothing is lost or doubled.
async fn resumes_at_every_transaction(topics: &dyn Topics, topic: &str) {
    let mut next = 0;
    for round in 0..12 {
        let mut producer = topics.producer(topic, origin("a"), Some(2)).await.unwrap();
        let committed = producer.position().map_or(0, |position| position.next);
        assert_eq!(committed, next, "round {round}");
        if let Some(found) = producer.position() {
            assert_eq!(*found, position(next));
        }
        match round % 3 {
            0 => drop(numbers(2, next..next + 10)),
            1 => {
                send(&mut *producer, next..next + 10).await.unwrap();
                next += 10;
            }
            _ => {
                send(&mut *producer, next..next + 7).await.unwrap();
                send(&mut *producer, next + 7..next + 9).await.unwrap();
                next += 9;
            }
        }
    }
    let mut all = values(&read_all(topics, topic).await);
    all.sort_unstable();
    assert_eq!(all, (0..next).collect::<Vec<_>>());
    let end = topics.bounds(topic).await.unwrap().unwrap().end;
    let producer = topics.producer(topic, origin("a"), None).await.unwrap();
    assert!(producer.end().iter().all(|(p, at)| *at <= end[p] && *at > 0), "{:?}", producer.end());
}

async fn fences_a_zombie(topics: &dyn Topics, topic: &str) {
    let mut old = topics.producer(topic, origin("a"), None).await.unwrap();
    send(&mut *old, 0..10).await.unwrap();
    let mut new = topics.producer(topic, origin("a"), None).await.unwrap();
    assert_eq!(new.position().unwrap().next, 10);
    let refused = send(&mut *old, 10..20).await.unwrap_err();
    assert!(matches!(refused, TaskError::Permanent(_)), "{refused:?}");
    send(&mut *new, 10..15).await.unwrap();
    assert_eq!(values(&read_all(topics, topic).await), (0..15).collect::<Vec<_>>());
}

async fn lets_two_runs_interleave(topics: &dyn Topics, topic: &str) {
    let mut a = topics.producer(topic, origin("a"), None).await.unwrap();
    send(&mut *a, 0..10).await.unwrap();
    let start_of_b = topics.bounds(topic).await.unwrap().unwrap().end;
    let mut b = topics.producer(topic, origin("b"), None).await.unwrap();
    assert_eq!(b.position(), None, "another run's position is not its own");
    assert_eq!(*b.end(), start_of_b);
    send(&mut *b, 100..105).await.unwrap();
    send(&mut *a, 10..20).await.unwrap();
    send(&mut *b, 105..110).await.unwrap();
    let end_of_b = b.end().clone();
    send(&mut *a, 20..30).await.unwrap();

    let again = topics.producer(topic, origin("b"), None).await.unwrap();
    assert_eq!(again.position().unwrap().next, 110);
    assert_eq!(*again.end(), end_of_b, "others have written behind it");
    let of = |batches: &[Batch], run: &str| -> Vec<u64> {
        let own: Vec<Batch> =
            batches.iter().filter(|batch| batch.origin.run == run).cloned().collect();
        values(&own)
    };
    let all = read_all(topics, topic).await;
    assert_eq!(of(&all, "a"), (0..30).collect::<Vec<_>>());
    assert_eq!(of(&all, "b"), (100..110).collect::<Vec<_>>());
    let mut consumer = topics.consumer(topic, &start_of_b).await.unwrap();
    let from_b = drain(&mut *consumer, &end_of_b).await;
    assert_eq!(of(&from_b, "b"), (100..110).collect::<Vec<_>>());
    // What came behind the end may be there too: a consumer does not know of it.
    assert_eq!(of(&from_b, "a")[..10], (10..20).collect::<Vec<_>>());
}

async fn lets_producers_write_at_once(topics: &dyn Topics, topic: &str) {
    let write = |run: &'static str, base: u64| async move {
        let mut producer = topics.producer(topic, origin(run), Some(2)).await.unwrap();
        for step in 0..20 {
            let from = base + step * 5;
            send(&mut *producer, from..from + 5).await.unwrap();
        }
    };
    tokio::join!(write("a", 0), write("b", 1000), write("c", 2000));
    let mut all = values(&read_all(topics, topic).await);
    all.sort_unstable();
    let expect: Vec<u64> = (0..100).chain(1000..1100).chain(2000..2100).collect();
    assert_eq!(all, expect);
}

async fn waits_for_records(topics: &dyn Topics, topic: &str) {
    let mut producer = topics.producer(topic, origin("a"), None).await.unwrap();
    let mut early = topics.consumer(topic, &Offsets::new()).await.unwrap();
    assert!(early.poll(NOT_AT_ALL).await.unwrap().is_empty());
    let (got, sent) = tokio::join!(early.poll(LONG), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        send(&mut *producer, 0..3).await
    });
    sent.unwrap();
    assert_eq!(values(&got.unwrap()), [0, 1, 2]);
    assert!(early.poll(NOT_AT_ALL).await.unwrap().is_empty());
    assert!(early.position()[&0] >= 3);
    let mut late = topics.consumer(topic, &Offsets::new()).await.unwrap();
    assert_eq!(values(&late.poll(LONG).await.unwrap()), [0, 1, 2]);
    let end = producer.end().clone();
    let mut at_end = topics.consumer(topic, &end).await.unwrap();
    assert!(at_end.poll(NOT_AT_ALL).await.unwrap().is_empty());
    send(&mut *producer, 3..4).await.unwrap();
    assert_eq!(values(&at_end.poll(LONG).await.unwrap()), [3]);
}

async fn starts_inside_a_transaction(topics: &dyn Topics, topic: &str) {
    let mut producer = topics.producer(topic, origin("a"), None).await.unwrap();
    for step in 0..5 {
        send(&mut *producer, step * 10..step * 10 + 10).await.unwrap();
    }
    let all = read_all(topics, topic).await;
    let offsets: Vec<u64> = all.iter().flat_map(|b| b.first_offset..b.end_offset()).collect();
    let end = producer.end().clone();
    for (number, offset) in (0..50).zip(offsets) {
        let mut consumer = topics.consumer(topic, &Offsets::from([(0, offset)])).await.unwrap();
        let rest = values(&drain(&mut *consumer, &end).await);
        assert_eq!(rest, (number..50).collect::<Vec<_>>());
    }
}

async fn refuses_what_cannot_be(topics: &dyn Topics, topic: &str) {
    assert_eq!(topics.bounds(topic).await.unwrap(), None);
    let missing = topics.consumer(topic, &Offsets::new()).await.err().unwrap();
    assert!(matches!(missing, TaskError::Permanent(_)), "{missing:?}");
    assert!(missing.to_string().contains(topic), "{missing}");
    topics.producer(topic, origin("a"), Some(2)).await.unwrap();
    let other = topics.producer(topic, origin("a"), Some(3)).await.err().unwrap();
    assert!(matches!(other, TaskError::Permanent(_)), "{other:?}");
    assert!(other.to_string().contains("partitions: 3"), "{other}");
    assert_eq!(topics.producer(topic, origin("a"), None).await.unwrap().partitions(), 2);
    let mut producer = topics.producer(topic, origin("a"), None).await.unwrap();
    assert!(producer.commit(Records::new(2), position(0)).await.is_err());
    let beyond = Offsets::from([(7, 0)]);
    assert!(topics.consumer(topic, &beyond).await.is_err());
}
