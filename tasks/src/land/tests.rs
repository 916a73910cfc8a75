mod options;
mod plain_files;

use super::*;
use crate::places::topics::{Content, Origin, Position, Producer, Records};
use crate::places::{Places, TableSnapshot};
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;
use orchestrator::attempt::testing::{self, MemoryJournal};
use orchestrator::attempt::{RunContext, Stream};
use orchestrator::event::{Event, Offsets};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::watch;

/// A directory with a topic `t` in it.
struct House {
    dir: TempDir,
    places: Places,
}

impl House {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let places = Places::embedded(&dir.path().join("data")).unwrap();
        House { dir, places }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    async fn producer(&self, run: &str, format: Format) -> Box<dyn Producer> {
        let content = Content { format, columns: vec!["id".into(), "name".into()] };
        let origin = Origin { run: run.into(), task: "stream".into(), content };
        self.places.topics().producer("t", origin, Some(2)).await.unwrap()
    }

    async fn send(&self, run: &str, messages: &[&str]) -> Offsets {
        let bytes: Vec<&[u8]> = messages.iter().map(|message| message.as_bytes()).collect();
        self.send_bytes(run, Format::Csv, &bytes).await
    }

    async fn send_bytes(&self, run: &str, format: Format, messages: &[&[u8]]) -> Offsets {
        let mut producer = self.producer(run, format).await;
        let mut records = Records::new(2);
        for message in messages {
            let key = message.split(|byte| *byte == b',').next();
            records.push(key, message, 1_700_000_000_123);
        }
        let next = producer.position().map_or(0, |position| position.next);
        let position = Position { next: next + messages.len() as u64, detail: String::new() };
        producer.commit(records, position).await.unwrap();
        producer.end().clone()
    }

    async fn send_numbers(&self, run: &str, range: std::ops::Range<u64>) -> Offsets {
        let messages: Vec<String> = range.map(|n| format!("{n},name {n}")).collect();
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        self.send(run, &messages).await
    }

    /// An attempt with a table `orders` and one for dead letters.
    fn attempt(&self, options: Value, write: Write) -> (Attempt, Arc<MemoryJournal>) {
        let outputs = [("orders", "table:orders"), ("dead_letters", "table:dead")];
        let (mut attempt, journal) =
            testing::attempt(self.root(), options, &[("topic", "topic:t")], &outputs);
        for output in attempt.outputs.values_mut() {
            output.planned.write = write;
        }
        (attempt, journal)
    }

    async fn snapshot(&self, table: &str) -> TableSnapshot {
        let tables = self.places.tables();
        let version = tables.latest(table).await.unwrap().expect("a table");
        tables.read(table, version).await.unwrap()
    }

    async fn rows(&self, table: &str, sql: &str) -> Vec<Vec<String>> {
        let ctx = SessionContext::new();
        let provider = self.snapshot(table).await.provider(&ctx.state()).await.unwrap();
        ctx.register_table("t", provider).unwrap();
        let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
        batches.iter().flat_map(lines).collect()
    }

    async fn ids(&self) -> Vec<u64> {
        let rows = self.rows("orders", "select id from t order by cast(id as bigint)").await;
        rows.iter().map(|row| row[0].parse().unwrap()).collect()
    }
}

fn lines(batch: &RecordBatch) -> Vec<Vec<String>> {
    let cell = |row, column: usize| array_value_to_string(batch.column(column), row).unwrap();
    let line = |row| (0..batch.num_columns()).map(|column| cell(row, column)).collect();
    (0..batch.num_rows()).map(line).collect()
}

/// Gives the attempt a writer that stands at `start` and has ended at `end`, if it has.
fn stream(attempt: &mut Attempt, start: Offsets, end: Option<Offsets>) -> watch::Sender<Stream> {
    let (sender, receiver) = watch::channel(Stream { start, end });
    attempt.inputs[INPUT].stream = Some(receiver);
    sender
}

async fn land(attempt: &Attempt) -> Result<Outcome, TaskError> {
    tokio::time::timeout(Duration::from_secs(60), Land.run(attempt)).await.expect("it ends")
}

#[tokio::test]
async fn lands_with_its_writer_and_ends_when_drained() {
    let house = House::new();
    let start = house.send_numbers("other", 500..510).await;
    let (mut attempt, journal) = house.attempt(json!({"roll": {"rows": 7}}), Write::Overwrite);
    let sender = stream(&mut attempt, start.clone(), None);
    let write = async {
        house.send_numbers("test-run", 0..10).await;
        house.send_numbers("other", 510..520).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let end = house.send_numbers("test-run", 10..25).await;
        house.send_numbers("other", 520..530).await;
        sender.send_modify(|stream| stream.end = Some(end));
    };
    let (outcome, ()) = tokio::join!(land(&attempt), write);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.values["rows"], 25);
    assert_eq!(outcome.values["dead_letters"], 0);
    assert_eq!(outcome.report["messages_of_other_runs"], 10);
    assert_eq!(house.ids().await, (0..25).collect::<Vec<_>>());
    assert_eq!(house.snapshot("orders").await.version, 0, "one commit for all rolls");
    assert_eq!(attempt.progress.counts().rows_in, 25);
    assert_eq!(attempt.progress.counts().rows_out, 25);
    let events = journal.0.lock().unwrap();
    let published: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Published { output, published, .. } => Some((output.as_str(), published.rows)),
            _ => None,
        })
        .collect();
    assert_eq!(published, [("dead_letters", 0), ("orders", 25)]);
}

#[tokio::test]
async fn bad_messages_become_dead_letters() {
    let house = House::new();
    let messages: [&[u8]; 8] = [
        b"1,\"a, b\"",
        b"2,x,y",
        b"3",
        b"4,\"open",
        b"5,\xff",
        b"6,",
        b"seven,x",
        b"8,\"say \"\"hi\"\"\"",
    ];
    let end = house.send_bytes("test-run", Format::Csv, &messages).await;
    let options = json!({"columns": {"id": "integer"}, "metadata": true, "add": {"night": "n1"}});
    let (mut attempt, _) = house.attempt(options, Write::Overwrite);
    stream(&mut attempt, Offsets::new(), Some(end));
    let outcome = land(&attempt).await.unwrap();
    assert_eq!((&outcome.values["rows"], &outcome.values["dead_letters"]), (&3.into(), &5.into()));
    let rows = house.rows("orders", "select id, name, night from t order by id").await;
    let expect = [["1", "a, b", "n1"], ["6", "", "n1"], ["8", "say \"hi\"", "n1"]];
    assert_eq!(rows, expect);
    let nulls = house.rows("orders", "select id from t where name is null").await;
    assert_eq!(nulls, [["6"]], "an empty field is null");
    let dead =
        house.rows("dead", "select key, reason, payload, payload_bytes from t order by key").await;
    let expect = [
        ["2", "it has 3 fields instead of 2", "2,x,y", ""],
        ["3", "it has 1 field instead of 2", "3", ""],
        ["4", "its quotes do not fit together", "4,\"open", ""],
        ["5", "it is not UTF-8", "", "352cff"],
        ["seven", "`id` is not of the type integer: `seven`", "seven,x", ""],
    ];
    assert_eq!(dead, expect);
    let places = house.rows("dead", "select distinct topic, run, timestamp from t").await;
    assert_eq!(places, [["t", "test-run", "2023-11-14T22:13:20.123Z"]]);

    // Every message is in one of the two tables, at its own offset.
    let sql = "select topic_partition, topic_offset from t";
    let mut offsets = house.rows("orders", sql).await;
    offsets.extend(house.rows("dead", "select partition, \"offset\" from t").await);
    offsets.sort();
    offsets.dedup();
    assert_eq!(offsets.len(), messages.len());
}

#[tokio::test]
async fn without_dead_letters_a_bad_message_fails_the_task() {
    let house = House::new();
    let end = house.send("test-run", &["1,a", "2,b,c"]).await;
    let (mut attempt, _) = house.attempt(json!({}), Write::Overwrite);
    attempt.outputs.shift_remove(DEAD_LETTERS);
    stream(&mut attempt, Offsets::new(), Some(end));
    let error = land(&attempt).await.unwrap_err();
    assert!(matches!(error, TaskError::Permanent(_)));
    let text = error.to_string();
    assert!(text.contains("it has 3 fields instead of 2; give the task an output"), "{text}");
    assert_eq!(house.places.tables().latest("orders").await.unwrap(), None);
}

#[tokio::test]
async fn lands_json() {
    let house = House::new();
    let messages: [&[u8]; 5] = [
        br#"{"id": 1, "name": "a"}"#,
        br#"{"name": {"x": [1]}, "id": "2"}"#,
        br#"{"id": 3, "nam": "a"}"#,
        br#"{"id": 4}"#,
        b"nonsense",
    ];
    let end = house.send_bytes("test-run", Format::Json, &messages).await;
    let (mut attempt, _) = house.attempt(json!({}), Write::Overwrite);
    stream(&mut attempt, Offsets::new(), Some(end));
    land(&attempt).await.unwrap();
    let rows = house.rows("orders", "select id, name from t order by id").await;
    assert_eq!(rows, [["1", "a"], ["2", "{\"x\":[1]}"], ["4", ""]]);
    let dead = house.rows("dead", "select reason from t order by reason desc").await;
    assert_eq!(dead[0], ["the table has no column `nam`"]);
    assert!(dead[1][0].starts_with("it is not a JSON object: expected"), "{dead:?}");
}

/// Attempts that are killed at their n-th roll, for every n, by giving up the future.
#[tokio::test]
async fn an_interrupted_landing_goes_on_behind_its_last_roll() {
    for write in [Write::Overwrite, Write::Append] {
        let house = House::new();
        let messages: Vec<String> =
            (0..40).map(|n| if n % 9 == 5 { format!("{n}") } else { format!("{n},x") }).collect();
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        for part in messages.chunks(8) {
            house.send("test-run", part).await;
        }
        let end = house.places.topics().bounds("t").await.unwrap().unwrap().end;
        let options = json!({"roll": {"rows": 6}});
        let mut intended = None;
        for kill in [1, 2, 1, 3, 1] {
            let (mut attempt, journal) = house.attempt(options.clone(), write);
            remember(&mut attempt, &intended);
            // The writer has not ended yet, so this one waits for ever once it has landed all.
            let _sender = stream(&mut attempt, Offsets::new(), None);
            let before = rolls(&house, write).await;
            let progress = async {
                while rolls(&house, write).await < (before + kill).min(6) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                ended = Land.run(&attempt) => panic!("{ended:?}"),
                () = progress => {}
            }
            intended = intended.or_else(|| first_intent(&journal));
            // The thread of the roll that was on its way may still be writing.
            tokio::time::sleep(Duration::from_millis(150)).await;
            lose_last_roll(&house, write);
        }
        let (mut attempt, _) = house.attempt(options, write);
        remember(&mut attempt, &intended);
        stream(&mut attempt, Offsets::new(), Some(end));
        let outcome = land(&attempt).await.unwrap();
        assert_eq!(
            (&outcome.values["rows"], &outcome.values["dead_letters"]),
            (&36.into(), &4.into())
        );
        assert!(attempt.progress.counts().rows_in < 40, "it did not begin anew");
        let expect: Vec<u64> = (0..40).filter(|n| n % 9 != 5).collect();
        assert_eq!(house.ids().await, expect, "{write:?}");
        assert_eq!(house.rows("dead", "select * from t").await.len(), 4, "{write:?}");
    }
}

/// As if it had died before the last roll's rows were in, when its dead letters already were.
fn lose_last_roll(house: &House, write: Write) {
    let table = house.root().join("data/tables/orders");
    let (directory, ending) = match write {
        Write::Append => (table.join("_delta_log"), ".json"),
        _ => (table.join("data/test-run/test/orders"), ".staged"),
    };
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let files = entries.map(|entry| entry.unwrap().path());
    let last = files.filter(|path| path.to_str().unwrap().ends_with(ending)).max();
    last.into_iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

/// What the run's state would hand to the next attempt.
fn remember(attempt: &mut Attempt, intended: &Option<Vec<(String, Option<i64>)>>) {
    for (output, base) in intended.iter().flatten() {
        attempt.outputs[output].intended = Some(*base);
    }
}

fn first_intent(journal: &MemoryJournal) -> Option<Vec<(String, Option<i64>)>> {
    let events = journal.0.lock().unwrap();
    let intents = events.iter().filter_map(|event| match event {
        Event::PublishIntended { output, base, .. } => Some((output.clone(), *base)),
        _ => None,
    });
    Some(intents.collect())
}

async fn rolls(house: &House, write: Write) -> u64 {
    let tables = house.places.tables();
    let count = match write {
        Write::Append => tables.latest("orders").await.unwrap().map_or(0, |version| version + 1),
        _ => tables.staged("orders", "test-run/test/orders").await.unwrap().len() as i64,
    };
    count as u64
}

#[tokio::test]
async fn a_topic_of_others_is_landed_up_to_where_it_ends_at_the_start() {
    let house = House::new();
    house.send_numbers("a", 0..10).await;
    house.send_numbers("b", 10..20).await;
    for (run, expect) in [("r1", 20), ("r2", 25), ("r3", 25)] {
        let (mut attempt, _) = house.attempt(json!({"roll": {"rows": 8}}), Write::Append);
        attempt.run = Arc::new(RunContext { id: run.into(), ..(*attempt.run).clone() });
        land(&attempt).await.unwrap();
        assert_eq!(house.ids().await, (0..expect).collect::<Vec<_>>(), "{run}");
        if run == "r1" {
            house.send_numbers("c", 20..25).await;
        }
    }
    // The offsets are kept by the table, also of messages that were none.
    house.send("c", &["25"]).await;
    let (mut attempt, _) = house.attempt(json!({}), Write::Append);
    attempt.run = Arc::new(RunContext { id: "r4".into(), ..(*attempt.run).clone() });
    land(&attempt).await.unwrap();
    let (mut attempt, _) = house.attempt(json!({}), Write::Append);
    attempt.run = Arc::new(RunContext { id: "r5".into(), ..(*attempt.run).clone() });
    let outcome = land(&attempt).await.unwrap();
    assert_eq!(outcome.values["dead_letters"], 0);
    assert_eq!(house.rows("dead", "select * from t").await.len(), 1);

    std::fs::remove_dir_all(house.root().join("data/topics")).unwrap();
    house.send_numbers("d", 0..3).await;
    let (attempt, _) = house.attempt(json!({}), Write::Append);
    let error = land(&attempt).await.unwrap_err().to_string();
    assert!(error.contains("it is another topic of the same name"), "{error}");
}

/// Both begin at the same offsets; only one of them may land what lies behind.
#[tokio::test]
async fn two_runs_at_once_do_not_land_a_message_twice() {
    let house = House::new();
    house.send_numbers("a", 0..60).await;
    let start = |run: &str| {
        let (mut attempt, _) = house.attempt(json!({"roll": {"rows": 5}}), Write::Append);
        attempt.run = Arc::new(RunContext { id: run.into(), ..(*attempt.run).clone() });
        attempt
    };
    let (a, b) = (start("r1"), start("r2"));
    let (first, second) = tokio::join!(land(&a), land(&b));
    for lost in [first, second].into_iter().filter_map(Result::err) {
        assert!(matches!(&lost, TaskError::Transient(text) if text.contains("another run")));
    }
    // What its retry does.
    land(&start("r3")).await.unwrap();
    assert_eq!(house.ids().await, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn overwriting_lands_all_anew() {
    let house = House::new();
    house.send_numbers("a", 0..10).await;
    for (run, rows) in [("r1", 10), ("r2", 13)] {
        let (mut attempt, _) = house.attempt(json!({}), Write::Overwrite);
        attempt.run = Arc::new(RunContext { id: run.into(), ..(*attempt.run).clone() });
        land(&attempt).await.unwrap();
        assert_eq!(house.ids().await, (0..rows).collect::<Vec<_>>());
        house.send_numbers("a", 10..13).await;
    }
}

#[tokio::test]
async fn a_night_replaces_itself_alone() {
    let house = House::new();
    for (run, night, ids) in [("r1", "n1", 0..5), ("r2", "n2", 5..9), ("r3", "n2", 20..22)] {
        let start = house.places.topics().bounds("t").await.unwrap().unwrap_or_default().end;
        let end = house.send_numbers(run, ids).await;
        let (mut attempt, _) = house.attempt(json!({"add": {"night": night}}), Write::Overwrite);
        let planned = &mut attempt.outputs["orders"].planned;
        planned.write = Write::ReplaceWhere;
        planned.replace_where = Some(format!("night = '{night}'"));
        planned.partition_by = vec!["night".into()];
        attempt.run = Arc::new(RunContext { id: run.into(), ..(*attempt.run).clone() });
        stream(&mut attempt, start, Some(end));
        land(&attempt).await.unwrap();
    }
    assert_eq!(house.ids().await, [0, 1, 2, 3, 4, 20, 21]);
}

#[tokio::test]
async fn a_slow_topic_rolls_by_time() {
    let house = House::new();
    let (mut attempt, _) = house.attempt(json!({"roll": {"every": "50ms"}}), Write::Append);
    let _ = house.producer("test-run", Format::Csv).await;
    let sender = stream(&mut attempt, Offsets::new(), None);
    let write = async {
        for at in 0..3 {
            let end = house.send_numbers("test-run", at..at + 1).await;
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while rolls(&house, Write::Append).await <= at && std::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if at == 2 {
                sender.send_modify(|stream| stream.end = Some(end));
            }
        }
    };
    let (outcome, ()) = tokio::join!(land(&attempt), write);
    assert_eq!(outcome.unwrap().report["rolls"], 3);
    assert_eq!(house.snapshot("orders").await.version, 2, "each roll is a commit");
}

#[tokio::test]
async fn can_be_cancelled() {
    let house = House::new();
    house.send_numbers("test-run", 0..10).await;
    let (mut attempt, _) = house.attempt(json!({"roll": {"rows": 5}}), Write::Overwrite);
    let _sender = stream(&mut attempt, Offsets::new(), None);
    let cancel = attempt.cancel.clone();
    let (ended, ()) = tokio::join!(land(&attempt), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
    });
    assert!(matches!(ended.unwrap_err(), TaskError::Cancelled));
    assert_eq!(house.places.tables().latest("orders").await.unwrap(), None);
}

#[tokio::test]
async fn columns_are_checked() {
    let house = House::new();
    let end = house.send_numbers("test-run", 0..3).await;
    let fail = async |options: Value| {
        let (mut attempt, _) = house.attempt(options, Write::Overwrite);
        stream(&mut attempt, Offsets::new(), Some(end.clone()));
        land(&attempt).await.unwrap_err().to_string()
    };
    let near = fail(json!({"columns": {"nam": "string"}})).await;
    assert!(near.contains("declares `nam`, which the messages do not have; did you mean `name`?"));
    let twice = fail(json!({"add": {"name": "x"}})).await;
    assert!(twice.contains("the messages have a column `name`"), "{twice}");
}

#[tokio::test]
async fn a_topic_without_messages_gives_empty_tables_if_columns_are_declared() {
    let house = House::new();
    let _ = house.producer("test-run", Format::Csv).await;
    let run = async |options: Value| {
        let (mut attempt, _) = house.attempt(options, Write::Overwrite);
        stream(&mut attempt, Offsets::new(), Some(Offsets::from([(0, 0), (1, 0)])));
        land(&attempt).await
    };
    let error = run(json!({})).await.unwrap_err().to_string();
    assert!(error.contains("declare them in `columns`"), "{error}");
    run(json!({"columns": {"id": "integer", "name": "string"}})).await.unwrap();
    let orders = house.snapshot("orders").await;
    assert_eq!((orders.rows, orders.schema.fields().len()), (0, 2));
}
