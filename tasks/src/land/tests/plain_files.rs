//! Landing in a directory of plain files.

use super::*;
use arrow::datatypes::DataType;
use orchestrator::event::Published;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs;
use std::path::PathBuf;

impl House {
    fn in_files(&self, run: &str, options: Value) -> (Attempt, Arc<MemoryJournal>) {
        let (mut attempt, journal) = self.attempt(options, Write::Append);
        attempt.outputs["orders"].planned.dataset = "file:landed/orders".parse().unwrap();
        attempt.run = Arc::new(RunContext { id: run.into(), ..(*attempt.run).clone() });
        (attempt, journal)
    }

    fn landed(&self) -> PathBuf {
        self.root().join("data/files/landed/orders")
    }

    fn staged(&self) -> PathBuf {
        self.root().join("data/files/landed/.orders.landing/staged")
    }

    /// The lines of all CSV files without their headers, by number.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for file in names(&self.landed()) {
            let text = fs::read_to_string(self.landed().join(&file)).unwrap();
            let (header, rows) = text.split_once('\n').unwrap();
            assert!(header.starts_with("id,name"), "{file}: {header}");
            lines.extend(rows.lines().map(str::to_owned));
        }
        lines.sort_by_key(|line| id(line));
        lines
    }

    fn numbers(&self) -> Vec<u64> {
        self.lines().iter().map(|line| id(line)).collect()
    }
}

fn id(line: &str) -> u64 {
    line.split(',').next().unwrap().parse().unwrap()
}

/// Of all files in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn published(journal: &MemoryJournal) -> Published {
    let events = journal.0.lock().unwrap();
    let of_rows = |event: &Event| match event {
        Event::Published { output, published, .. } if output == "orders" => Some(published.clone()),
        _ => None,
    };
    events.iter().find_map(of_rows).unwrap()
}

#[tokio::test]
async fn files_say_in_their_names_what_they_hold() {
    let house = House::new();
    let messages = ["1,a", "2,\"a, \"\"b\"\"\"", "3", "4,\"two\nlines\"", "5,\"\"", "6,f"];
    let end = house.send("test-run", &messages).await;
    let (mut attempt, journal) =
        house.in_files("test-run", json!({"columns": {"id": "integer"}, "add": {"night": "n1"}}));
    stream(&mut attempt, Offsets::new(), Some(end.clone()));
    let outcome = land(&attempt).await.unwrap();
    assert_eq!((&outcome.values["rows"], &outcome.values["dead_letters"]), (&5.into(), &1.into()));

    let expect: Vec<String> = end
        .iter()
        .map(|(partition, end)| format!("t-{partition}-{:020}-{:020}.csv", 0, end - 1))
        .collect();
    assert_eq!(names(&house.landed()), expect);
    let all: String =
        expect.iter().map(|name| fs::read_to_string(house.landed().join(name)).unwrap()).collect();
    for row in
        ["1,a,n1\n", "2,\"a, \"\"b\"\"\",n1\n", "4,\"two\nlines\",n1\n", "5,,n1\n", "6,f,n1\n"]
    {
        assert!(all.contains(&format!("\n{row}")), "{row} in {all}");
    }
    assert_eq!(all.matches("id,name,night\n").count(), 2);
    assert_eq!(house.rows("dead", "select payload from t").await, [["3"]]);

    let published = published(&journal);
    assert_eq!((published.version, published.rows), (None, 5));
    assert_eq!(published.bytes, all.len() as u64);
    assert_eq!(published.schema[0], ("id".into(), "bigint".into()));
    let counts = attempt.progress.counts();
    assert_eq!((counts.rows_in, counts.rows_out), (6, 5));
    assert_eq!(counts.bytes_out, all.len() as u64);
    assert_eq!(names(&house.staged()), [""; 0]);
}

#[tokio::test]
async fn files_are_json_or_parquet_too() {
    for format in ["json", "parquet"] {
        let house = House::new();
        let end = house.send("test-run", &["1,a", "2,"]).await;
        let options = json!({"columns": {"id": "integer"}, "format": format, "metadata": true});
        let (mut attempt, _) = house.in_files("test-run", options);
        stream(&mut attempt, Offsets::new(), Some(end));
        land(&attempt).await.unwrap();
        let files: Vec<PathBuf> =
            names(&house.landed()).iter().map(|name| house.landed().join(name)).collect();
        assert!(files.iter().all(|file| file.extension().unwrap() == format), "{files:?}");
        let mut rows = Vec::new();
        for file in &files {
            if format == "json" {
                let text = fs::read_to_string(file).unwrap();
                rows.extend(text.lines().map(|line| {
                    let row: Value = serde_json::from_str(line).unwrap();
                    assert_eq!(row.as_object().unwrap().len(), 5, "nulls are told: {line}");
                    assert_eq!(row["topic_timestamp"], "2023-11-14T22:13:20.123Z");
                    format!("{} {}", row["id"], row["name"])
                }));
                continue;
            }
            let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(file).unwrap());
            let reader = reader.unwrap();
            assert_eq!(*reader.schema().field(0).data_type(), DataType::Int64);
            let batches = reader.build().unwrap().map(Result::unwrap);
            let text = |line: Vec<String>| match line[1].as_str() {
                "" => format!("{} null", line[0]),
                name => format!("{} \"{name}\"", line[0]),
            };
            rows.extend(batches.flat_map(|batch| super::lines(&batch)).map(text));
        }
        rows.sort();
        assert_eq!(rows, ["1 \"a\"", "2 null"], "{format}");
    }
}

/// Attempts that are killed at their n-th roll, for every n, by giving up the future.
#[tokio::test]
async fn an_interrupted_landing_in_files_goes_on_behind_its_last_roll() {
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
    for kill in [1, 2, 1] {
        let (mut attempt, journal) = house.in_files("test-run", options.clone());
        remember(&mut attempt, &intended);
        // The writer has not ended yet, so this one waits for ever once it has landed all.
        let _sender = stream(&mut attempt, Offsets::new(), None);
        let before = names(&house.landed()).len();
        let progress = async {
            while names(&house.landed()).len() < before + kill {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = Land.run(&attempt) => panic!("{ended:?}"),
            () = progress => {}
        }
        intended = intended.or_else(|| first_intent(&journal));
        // The thread of the roll that was on its way may still be writing.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let (mut attempt, journal) = house.in_files("test-run", options);
    remember(&mut attempt, &intended);
    stream(&mut attempt, Offsets::new(), Some(end));
    let outcome = land(&attempt).await.unwrap();
    assert_eq!((&outcome.values["rows"], &outcome.values["dead_letters"]), (&36.into(), &4.into()));
    assert!(attempt.progress.counts().rows_in < 40, "it did not begin anew");
    let expect: Vec<u64> = (0..40).filter(|n| n % 9 != 5).collect();
    assert_eq!(house.numbers(), expect);
    assert_eq!(house.rows("dead", "select * from t").await.len(), 4);
    let size = |name: &String| fs::metadata(house.landed().join(name)).unwrap().len();
    assert_eq!(published(&journal).bytes, names(&house.landed()).iter().map(size).sum::<u64>());
}

/// As if the run had died between the commit and the renames, and nobody had resumed it.
#[tokio::test]
async fn whoever_comes_next_places_what_is_committed() {
    let house = House::new();
    house.send_numbers("a", 0..20).await;
    land(&house.in_files("r1", json!({"roll": {"rows": 5}})).0).await.unwrap();
    let log = house.places.files().url("landed/.orders.landing");
    let log = crate::places::Tables::new(log, house.places.files().store()).unwrap();
    let version = log.latest("log").await.unwrap().unwrap();
    let ctx = SessionContext::new();
    let provider = log.read("log", version).await.unwrap().provider(&ctx.state()).await.unwrap();
    ctx.register_table("t", provider).unwrap();
    let sql = "select file, staged, rows, last_offset - first_offset + 1 from t order by file";
    let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    let logged: Vec<_> = batches.iter().flat_map(super::lines).collect();
    assert_eq!(
        logged.iter().map(|row| &row[0]).collect::<Vec<_>>(),
        names(&house.landed()).iter().collect::<Vec<_>>()
    );
    fs::create_dir_all(house.staged()).unwrap();
    for row in &logged[1..] {
        assert_eq!(row[2], row[3], "its name says how many messages it holds");
        fs::rename(house.landed().join(&row[0]), house.staged().join(&row[1])).unwrap();
    }
    // What another run is writing right now is its own.
    fs::write(house.staged().join("r0.unfinished"), "id,name\n0,x\n").unwrap();

    let (attempt, _) = house.in_files("r2", json!({}));
    let outcome = land(&attempt).await.unwrap();
    assert_eq!(outcome.values["rows"], 0, "nothing is read again");
    assert_eq!(house.numbers(), (0..20).collect::<Vec<_>>());
    assert_eq!(names(&house.staged()), ["r0.unfinished"]);
}

#[tokio::test]
async fn files_that_a_reader_took_away_do_not_come_back() {
    let house = House::new();
    house.send_numbers("a", 0..10).await;
    land(&house.in_files("r1", json!({})).0).await.unwrap();
    assert_eq!(house.numbers(), (0..10).collect::<Vec<_>>());
    fs::remove_dir_all(house.landed()).unwrap();
    for (run, expect) in [("r2", vec![]), ("r3", (10..14).collect()), ("r4", (10..14).collect())] {
        let (attempt, journal) = house.in_files(run, json!({}));
        land(&attempt).await.unwrap();
        assert_eq!(house.numbers(), expect, "{run}");
        assert_eq!(published(&journal).rows, if run == "r3" { 4 } else { 0 });
        if run == "r2" {
            house.send_numbers("b", 10..14).await;
        }
    }
}

/// Both begin at the same offsets, and cut them differently.
#[tokio::test]
async fn two_runs_at_once_do_not_land_a_message_in_two_files() {
    let house = House::new();
    house.send_numbers("a", 0..60).await;
    let (a, _) = house.in_files("r1", json!({"roll": {"rows": 5}}));
    let (b, _) = house.in_files("r2", json!({"roll": {"rows": 7}}));
    let (first, second) = tokio::join!(land(&a), land(&b));
    let ended = [first, second];
    for lost in ended.iter().filter_map(|ended| ended.as_ref().err()) {
        assert!(
            matches!(lost, TaskError::Transient(text) if text.contains("file:landed/orders")
                && text.contains("another run")),
            "{lost}"
        );
    }
    // What its retry does.
    land(&house.in_files("r3", json!({})).0).await.unwrap();
    assert_eq!(house.numbers(), (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn runs_that_send_to_one_topic_land_their_own() {
    let house = House::new();
    for part in 0..4 {
        house.send_numbers(if part % 2 == 0 { "r1" } else { "r2" }, part * 5..part * 5 + 5).await;
    }
    let end = house.places.topics().bounds("t").await.unwrap().unwrap().end;
    let start = |run| {
        let (mut attempt, _) = house.in_files(run, json!({"roll": {"rows": 3}}));
        let sender = stream(&mut attempt, Offsets::new(), Some(end.clone()));
        (attempt, sender)
    };
    let ((a, _one), (b, _other)) = (start("r1"), start("r2"));
    let (first, second) = tokio::join!(land(&a), land(&b));
    assert_eq!(
        (&first.unwrap().values["rows"], &second.unwrap().values["rows"]),
        (&10.into(), &10.into())
    );
    assert_eq!(house.numbers(), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_topic_without_messages_makes_no_file() {
    let house = House::new();
    let _ = house.producer("test-run", Format::Csv).await;
    let (mut attempt, journal) = house.in_files("test-run", json!({"columns": {"id": "integer"}}));
    attempt.outputs.shift_remove(DEAD_LETTERS);
    stream(&mut attempt, Offsets::new(), Some(Offsets::from([(0, 0), (1, 0)])));
    assert_eq!(land(&attempt).await.unwrap().values["rows"], 0);
    assert_eq!(names(&house.landed()), [""; 0]);
    assert_eq!(published(&journal).rows, 0);
}
