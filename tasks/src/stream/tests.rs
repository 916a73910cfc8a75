use super::*;
use crate::places::topics::conformance::drain;
use crate::places::topics::{Batch, EmbeddedTopics};
use orchestrator::attempt::testing::{self, MemoryJournal};
use orchestrator::event::Event;
use orchestrator::event::Offsets;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

fn attempt(root: &Path, options: Value) -> (Attempt, Arc<MemoryJournal>) {
    testing::attempt(root, options, &[("rows", "file:raw")], &[("topic", "topic:t")])
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join("data/files/raw").join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn csv(rows: std::ops::Range<u64>) -> String {
    let rows: String = rows.map(|row| format!("{row},\"name, {row}\"\n")).collect();
    format!("id,name\n{rows}")
}

async fn stream(root: &Path, options: Value) -> Result<(Outcome, Vec<Event>), TaskError> {
    let (attempt, journal) = attempt(root, options);
    let outcome = Stream.run(&attempt).await?;
    let events = journal.0.lock().unwrap().clone();
    Ok((outcome, events))
}

async fn batches(root: &Path) -> Vec<Batch> {
    let topics = EmbeddedTopics::new(root.join("data/topics"));
    let end = topics.bounds("t").await.unwrap().unwrap().end;
    let mut consumer = topics.consumer("t", &Offsets::new()).await.unwrap();
    drain(&mut *consumer, &end).await
}

fn texts(batches: &[Batch]) -> Vec<String> {
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap()).into_owned();
    batches.iter().flat_map(|batch| batch.values().iter().map(text).collect::<Vec<_>>()).collect()
}

async fn error(root: &Path, options: Value) -> String {
    stream(root, options).await.unwrap_err().to_string()
}

#[tokio::test]
async fn sends_rows_as_they_stand() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    write(root, "a.csv", "\u{feff}id,name\r\n1,x\r\n\r\n\"2\",\"a\nb\"\n3,\"open\n4,y,z\n,w");
    let (outcome, events) = stream(root, json!({"key": "id"})).await.unwrap();
    let batches = batches(root).await;
    assert_eq!(texts(&batches), ["1,x", "\"2\",\"a\nb\"", "3,\"open", "4,y,z", ",w"]);
    let keys: Vec<_> = batches.iter().flat_map(|batch| batch.keys().iter()).collect();
    assert_eq!(keys, [Some(&b"1"[..]), Some(b"2"), Some(b"3"), Some(b"4"), None]);
    assert_eq!(batches[0].origin.run, "test-run");
    assert_eq!(batches[0].origin.content.columns, ["id", "name"]);
    assert_eq!(outcome.values["rows"], 5);
    let [Event::ReadPinned { .. }, Event::StreamOpened { start, .. }, rest @ ..] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*start, Offsets::from([(0, 0)]));
    let [Event::Published { published, .. }, Event::StreamClosed { end, .. }] = rest else {
        panic!("{rest:?}")
    };
    assert_eq!(published.rows, 5);
    assert_eq!(*end, Offsets::from([(0, 5)]));
}

#[tokio::test]
async fn reads_a_directory_in_order() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    write(root, "b.csv", "id,name\n3,c\n");
    write(root, "a.csv", "id,name\n1,a\n2,b");
    write(root, "c.csv", "id,name\n");
    stream(root, json!({"transaction_rows": 2})).await.unwrap();
    assert_eq!(texts(&batches(root).await), ["1,a", "2,b", "3,c"]);

    let other = TempDir::new().unwrap();
    write(other.path(), "a.csv", "id,name\n1,a\n");
    write(other.path(), "b.csv", "name,id\n");
    let error = error(other.path(), json!({})).await;
    assert!(error.contains("the header of `raw/a.csv` differs from that of `raw/b.csv`"));
    assert!(!other.path().join("data/topics").exists(), "nothing was sent");
}

#[tokio::test]
async fn sends_json() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    write(root, "a.csv", "id,name\n1,\"say \"\"hi\"\"\"\n2,\n3\n");
    stream(root, json!({"format": "json"})).await.unwrap();
    let texts = texts(&batches(root).await);
    assert_eq!(texts, [r#"{"id":"1","name":"say \"hi\""}"#, r#"{"id":"2","name":null}"#, "3"]);
}

#[tokio::test]
async fn sends_json_lines() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    write(root, "a.jsonl", "{\"id\": 7, \"x\": [1]}\n\n{\"id\": null}\nnonsense\n");
    stream(root, json!({"key": "id"})).await.unwrap();
    let batches = batches(root).await;
    assert_eq!(texts(&batches), ["{\"id\": 7, \"x\": [1]}", "{\"id\": null}", "nonsense"]);
    let keys: Vec<_> = batches.iter().flat_map(|batch| batch.keys().iter()).collect();
    assert_eq!(keys, [Some(&b"7"[..]), None, None]);
    assert_eq!(batches[0].origin.content.format, Format::Json);
    assert_eq!(batches[0].origin.content.columns, ["id", "x"]);
    assert!(error(root, json!({"format": "csv"})).await.contains("needs a CSV file"));
}

/// Stops at every transaction in turn, and goes on with a new attempt; also between files.
#[tokio::test]
async fn resumes_exactly() {
    for stop_after in 1..9 {
        let dir = TempDir::new().unwrap();
        let root = dir.path();
        write(root, "a.csv", &csv(0..35));
        write(root, "b.csv", &csv(35..60));
        let options = json!({"key": "id", "transaction_rows": 10, "partitions": 3});
        {
            let (attempt, _) = attempt(root, options.clone());
            let run = Stream.run(&attempt);
            tokio::pin!(run);
            let topics = EmbeddedTopics::new(root.join("data/topics"));
            loop {
                tokio::select! {
                    biased;
                    ended = &mut run => { ended.unwrap(); break }
                    () = tokio::time::sleep(Duration::from_micros(200)) => {}
                }
                let bounds = topics.bounds("t").await.unwrap().unwrap_or_default();
                if bounds.end.values().sum::<u64>() >= stop_after * 10 {
                    break;
                }
            }
        }
        let (outcome, events) = stream(root, options).await.unwrap();
        assert_eq!(outcome.values["rows"], 60);
        let batches = batches(root).await;
        let mut ids: Vec<u64> = texts(&batches)
            .iter()
            .map(|text| text.split(',').next().unwrap().parse().unwrap())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..60).collect::<Vec<_>>(), "stopped after {stop_after}");
        let Some(Event::StreamClosed { end, .. }) = events.last() else { panic!("{events:?}") };
        assert_eq!(end.values().sum::<u64>(), 60);
    }
}

#[tokio::test]
async fn a_finished_output_is_only_closed_again() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    write(root, "a.csv", &csv(0..10));
    stream(root, json!({})).await.unwrap();
    let (mut again, journal) = attempt(root, json!({}));
    again.outputs[OUTPUT].published = Some(Published { rows: 10, ..Published::default() });
    again.outputs[OUTPUT].opened = Some(Offsets::from([(0, 0)]));
    assert_eq!(Stream.run(&again).await.unwrap().values["rows"], 10);
    let events = journal.0.lock().unwrap().clone();
    let [Event::ReadPinned { .. }, Event::StreamClosed { end, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*end, Offsets::from([(0, 10)]));
    assert_eq!(texts(&batches(root).await).len(), 10);
}

#[tokio::test]
async fn a_topic_that_was_removed_under_its_run_is_noticed() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    write(root, "a.csv", &csv(0..10));
    let (mut again, _) = attempt(root, json!({}));
    again.outputs[OUTPUT].opened = Some(Offsets::from([(0, 7)]));
    let error = Stream.run(&again).await.unwrap_err().to_string();
    assert!(error.contains("`topic:t` has lost records"), "{error}");
}

#[tokio::test]
async fn a_changed_input_is_refused() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    write(root, "a.csv", &csv(0..10));
    stream(root, json!({})).await.unwrap();
    write(root, "a.csv", &csv(0..11));
    let (attempt, _) = attempt(root, json!({}));
    let error = Stream.run(&attempt).await.unwrap_err();
    assert!(matches!(error, TaskError::Permanent(_)));
    assert!(error.to_string().contains("has changed since 10 of its rows"), "{error}");
}

#[tokio::test]
async fn keeps_its_pace_and_can_be_cancelled() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    write(root, "a.csv", &csv(0..10));
    let (attempt, _) = attempt(root, json!({"rate": "4 rows / 1h"}));
    let topics = EmbeddedTopics::new(root.join("data/topics"));
    let cancel = attempt.cancel.clone();
    let watch = async {
        let mut consumer = loop {
            match topics.consumer("t", &Offsets::new()).await {
                Ok(consumer) => break consumer,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let got = consumer.poll(Duration::from_secs(10)).await.unwrap();
        let more = consumer.poll(Duration::from_millis(100)).await.unwrap();
        cancel.cancel();
        (got, more)
    };
    let (ended, (got, more)) = tokio::join!(Stream.run(&attempt), watch);
    assert!(matches!(ended.unwrap_err(), TaskError::Cancelled));
    assert_eq!(texts(&got).len(), 4);
    assert!(more.is_empty());
}

#[tokio::test]
async fn bad_input_is_named() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    assert!(error(root, json!({})).await.contains("no file or directory `raw`"));
    write(root, "a.csv", "");
    assert!(error(root, json!({})).await.contains("`raw/a.csv` is empty"));
    write(root, "a.csv", "id,,name\n");
    assert!(error(root, json!({})).await.contains("column 2 of `raw/a.csv` has no name"));
    write(root, "a.csv", "id,id\n");
    assert!(error(root, json!({})).await.contains("names the column `id` twice"));
    write(root, "a.csv", "order_id,name\n");
    let near = error(root, json!({"key": "orderid"})).await;
    assert!(near.contains("no column `orderid`; did you mean `order_id`?"), "{near}");
    write(root, "b.jsonl", "{}\n");
    assert!(error(root, json!({})).await.contains("mixes JSON lines"));
    let rate = error(root, json!({"rate": "fast"})).await;
    assert!(rate.contains("write it as `1000 rows / 10s`"), "{rate}");
}

#[tokio::test]
async fn an_input_without_rows_opens_and_closes() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.csv", "id,name\n");
    let (outcome, events) = stream(dir.path(), json!({})).await.unwrap();
    assert_eq!(outcome.values["rows"], 0);
    let Some(Event::StreamClosed { end, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(*end, Offsets::from([(0, 0)]));
}
