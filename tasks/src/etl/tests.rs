//! Etl tasks run as a whole, on files and tables in a temporary directory.

mod errors;

use super::Etl;
use crate::engine::{Engine, EngineOptions};
use crate::places::Places;
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use orchestrator::attempt::testing::{MemoryJournal, attempt};
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::event::Event;
use orchestrator::kind::Kind;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// An etl task over files `raw/NAME`, which are its inputs.
pub(in crate::etl) struct Case {
    pub(in crate::etl) root: tempfile::TempDir,
    engine: EngineOptions,
    pub(in crate::etl) attempt: Attempt,
    pub(in crate::etl) journal: Arc<MemoryJournal>,
}

const CLEAN: [(&str, &str); 2] = [("valid", "table:valid"), ("rejected", "table:rejected")];

impl Case {
    pub(in crate::etl) fn new(
        files: &[(&str, &str)],
        outputs: &[(&str, &str)],
        options: Value,
    ) -> Case {
        let root = tempfile::tempdir().unwrap();
        let raw = root.path().join("data/files/raw");
        let mut inputs = Vec::new();
        for (name, text) in files {
            let file = raw.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            let dataset = name.split_once('/').map_or(*name, |(directory, _)| directory);
            let port = dataset.split_once('.').map_or(dataset, |(port, _)| port).to_owned();
            let input = (port, format!("file:raw/{dataset}"));
            if !inputs.contains(&input) {
                inputs.push(input);
            }
        }
        let inputs: Vec<_> = inputs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let (attempt, journal) = attempt(root.path(), options, &inputs, outputs);
        let engine = EngineOptions { partitions: Some(4), ..EngineOptions::default() };
        Case { root, engine, attempt, journal }
    }

    pub(in crate::etl) fn clean(files: &[(&str, &str)], options: Value) -> Case {
        Case::new(files, &CLEAN, options)
    }

    fn chunks_of(mut self, bytes: u64) -> Case {
        self.engine.chunk_bytes = Some(bytes);
        self
    }

    pub(in crate::etl) async fn run(&self) -> Result<Outcome, TaskError> {
        Etl::new(Arc::new(Engine::new(self.engine.clone()))).run(&self.attempt).await
    }

    pub(in crate::etl) async fn rows(&self, sql: &str) -> String {
        rows(self.root.path(), sql).await
    }

    pub(in crate::etl) async fn error(&self) -> String {
        let error = self.run().await.unwrap_err();
        assert!(matches!(error, TaskError::Permanent(_)), "{error:?}");
        error.to_string()
    }
}

/// The rows of a query over the tables below `root`, one a line.
pub(in crate::etl) async fn rows(root: &Path, sql: &str) -> String {
    rows_in(&Places::embedded(&root.join("data")).unwrap(), root, sql).await
}

/// The same over the tables of some places; `spill_dir` exists.
pub(in crate::etl) async fn rows_in(places: &Places, spill_dir: &Path, sql: &str) -> String {
    let engine = Engine::default();
    let stream = crate::engine::query::query(&engine, places, sql, spill_dir).await.unwrap();
    let batches: Vec<RecordBatch> = futures::TryStreamExt::try_collect(stream).await.unwrap();
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        cells.collect::<Vec<_>>().join(",")
    };
    lines.map(cells).collect::<Vec<_>>().join("\n")
}

fn orders() -> Value {
    json!({"orders": {"id": "integer", "name": "string", "price": "number", "at": "timestamp"}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_valid_or_has_a_reason() {
    let text = "id,name,price,at\n\
        1,ann,1.5,2026-01-01 00:00:00\n\
        2,\"bob\nb\",2.5,2026-01-02T00:00:00Z\n\
        1,duplicate,9,2026-01-03\n\
        3,,-1,2026-01-03\n\
        4,eve,cheap,2026-01-03\n\
        5,eve,1,2026-02-30\n\
        6,eve,1\n\
        7,eve,1,2026-01-03,more\n\
        \n\
        x,\"quo\"\"te, \n\",1,2026-01-03\r\n\
        8,,,\n\
        9,eve,2e3,2026-01-03 10:00:00.5+01:00\r\n\
        10,\"open";
    for chunk_bytes in [1, 7, 40, 1 << 20] {
        let case = Case::clean(
            &[("orders.csv", text)],
            json!({
                "columns": orders(),
                "from": "select * from orders",
                "rules": {"has_name": "name is not null", "positive": "price > 0"},
                "dedupe": {"key": ["id"]},
            }),
        )
        .chunks_of(chunk_bytes);
        let outcome = case.run().await.unwrap();
        assert_eq!(
            Value::Object(outcome.report),
            json!({
                "rows_in": 12, "valid": 3,
                "rejected": {
                    "has_name": 2, "duplicate": 1, "malformed_at": 1, "malformed_id": 1,
                    "malformed_price": 1, "too_few_fields": 1, "too_many_fields": 1,
                    "unclosed_quote": 1,
                },
            })
        );
        assert_eq!(
            case.rows("select id, replace(name, chr(10), '_'), price, at from valid order by id")
                .await,
            "1,ann,1.5,2026-01-01T00:00:00Z\n2,bob_b,2.5,2026-01-02T00:00:00Z\n\
             9,eve,2000.0,2026-01-03T09:00:00.500Z"
        );
        assert_eq!(
            case.rows(
                "select reason, id, name, price, replace(raw, chr(10), '_') from rejected \
                 order by reason, id"
            )
            .await,
            "duplicate,1,duplicate,9.0,\n\
             has_name,3,,-1.0,\n\
             has_name,8,,,\n\
             malformed_at,,,,5,eve,1,2026-02-30\n\
             malformed_id,,,,x,\"quo\"\"te, _\",1,2026-01-03\n\
             malformed_price,,,,4,eve,cheap,2026-01-03\n\
             too_few_fields,,,,6,eve,1\n\
             too_many_fields,,,,7,eve,1,2026-01-03,more\n\
             unclosed_quote,,,,10,\"open"
        );
    }
}

fn keep(options: Value) -> Value {
    let mut all = json!({"columns": {"a": {"k": "integer", "v": "integer"}},
        "from": "select * from a"});
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    all
}

/// 4,000 rows of 500 keys; the first of a key is the one with the smallest `v`.
fn repeated() -> String {
    let mut text = "k,v\n".to_owned();
    for v in 0..4000u64 {
        // Keys in a scattered order, so that no chunk has them all.
        text += &format!("{},{v}\n", v * 7919 % 500);
    }
    text
}

const FIRSTS: &str = "select count(*), count(distinct k), max(v) from valid";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_in_file_order_is_kept() {
    for options in
        [json!({"dedupe": {"key": ["k"]}}), json!({"dedupe": {"key": ["k"], "keep": "first"}})]
    {
        let case = Case::clean(&[("a.csv", &repeated())], keep(options)).chunks_of(64);
        case.run().await.unwrap();
        assert_eq!(case.rows(FIRSTS).await, "500,500,499");
        assert_eq!(case.rows("select count(*) from rejected").await, "3500");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_goes_through_filters_unions_and_directories() {
    let late: String = (0..500).fold("k,v\n".to_owned(), |text, k| text + &format!("{k},9999\n"));
    let options = json!({
        "columns": {"a": {"k": "integer", "v": "integer"}, "b": {"k": "integer", "v": "integer"}},
        "from": "select k, v + 1 as v from a where v >= 500 union all select k, v from b",
        "dedupe": {"key": ["k"], "keep": "first"},
    });
    let all = repeated();
    let (first, second) = all.split_at(all[..20_000].rfind('\n').unwrap() + 1);
    let files = [("a/1.csv", first.to_owned()), ("a/2.csv", format!("v,k\n{}", swapped(second)))];
    let files =
        [(files[0].0, files[0].1.as_str()), (files[1].0, files[1].1.as_str()), ("b.csv", &late)];
    let case = Case::clean(&files, options).chunks_of(100);
    let outcome = case.run().await.unwrap();
    assert_eq!(outcome.values["rows_in"], json!(4000));
    assert_eq!(case.rows("select count(*), min(v), max(v) from valid").await, "500,501,1000");
}

fn swapped(lines: &str) -> String {
    let swap = |line: &str| line.split_once(',').map(|(k, v)| format!("{v},{k}\n")).unwrap();
    lines.lines().map(swap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_order_the_smallest_is_kept() {
    let query = "select k, -v as v from a where v < (select max(v) from a)";
    for options in [json!({"key": ["k"]}), json!({"key": ["k"], "keep": "smallest"})] {
        let options = keep(json!({"from": query, "dedupe": options, "rules": {"r": "v <> -3998"}}));
        let case = Case::clean(&[("a.csv", &repeated())], options).chunks_of(64);
        let outcome = case.run().await.unwrap();
        let rejected = json!({"r": 1, "duplicate": 3498});
        assert_eq!(outcome.report["rejected"], rejected);
        // Of each key the greatest `v` before the sign was changed; two keys lost theirs.
        assert_eq!(
            case.rows("select count(*), count(distinct k), max(v), min(v) from valid").await,
            "500,500,-3498,-3997"
        );
    }
    let options = keep(json!({"from": query, "dedupe": {"key": ["k"], "keep": "first"}}));
    let case = Case::clean(&[("a.csv", &repeated())], options);
    assert!(case.error().await.contains("`keep: first` needs rows in the order of files"));
    let options = keep(json!({"from": query, "dedupe": {"key": ["k"], "keep": "any"}}));
    let case = Case::clean(&[("a.csv", &repeated())], options);
    assert_eq!(case.run().await.unwrap().values["valid"], json!(500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smallest_row_wins_among_rows_with_nulls_and_long_texts() {
    let long = "x".repeat(100);
    let text = format!("k,s\n1,{long}b\n1,{long}a\n1,\n2,{long}b\n2,{long}a\n,z\n,y\n3,{long}\n");
    let options = json!({
        "columns": {"a": {"k": "integer", "s": "string"}},
        "from": "select * from a order by s desc limit 100",
        "dedupe": {"key": ["k"]},
    });
    let case = Case::clean(&[("a.csv", &text)], options);
    case.run().await.unwrap();
    let kept = case.rows("select k, right(s, 2) from valid order by k nulls first").await;
    assert_eq!(kept, ",y\n1,\n2,xa\n3,xx");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_records_are_told_once_however_often_a_query_scans() {
    let options = json!({
        "columns": {"a": {"k": "integer", "v": "integer"}},
        "from": "select k from a where k < 3 union all select k from a where k >= 3",
    });
    let case = Case::clean(&[("a.csv", "k,v\n1,1\n2,x\n3,1\n4,1\n")], options);
    let outcome = case.run().await.unwrap();
    let report = json!({"rows_in": 4, "valid": 3, "rejected": {"malformed_v": 1}});
    assert_eq!(Value::Object(outcome.report), report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_records_have_the_constants_of_the_query() {
    let options = json!({
        "columns": {"a": {"k": "integer", "v": "integer"}},
        "from": "select k, $night as night, v from a where v > 0 \
                 union all select k, $night, v from a where v <= 0",
        "parameters": {"night": "2026-11-23"},
        "rules": {"small": "v < 9"},
    });
    let case = Case::clean(&[("a.csv", "k,v\n1,1\n2,x\n3,-1\n4,9\n")], options);
    case.run().await.unwrap();
    assert_eq!(
        case.rows("select reason, night, k, raw from rejected order by reason").await,
        "malformed_v,2026-11-23,,2,x\nsmall,2026-11-23,4,"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_rule_may_rely_on_an_earlier_one() {
    let options = keep(json!({"rules": {"some": "k <> 0", "cheap": "v / k < 5"}}));
    let case = Case::clean(&[("a.csv", "k,v\n0,1\n1,1\n1,9\n,1\n")], options);
    let outcome = case.run().await.unwrap();
    assert_eq!(outcome.report["rejected"], json!({"some": 2, "cheap": 1}));
    let options = keep(json!({"rules": {"cheap": "v / k < 5"}}));
    let case = Case::clean(&[("a.csv", "k,v\n0,1\n1,1\n")], options);
    assert!(case.error().await.to_lowercase().contains("divide by zero"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_makes_one_table_of_each_query() {
    let outputs = [("small", "table:small"), ("sums", "table:sums")];
    let options = json!({
        "columns": {"a": {"k": "integer", "v": "integer"}},
        "parameters": {"most": 2, "name": "it's"},
        "sql": {
            "small": "select *, $name as name from a where k <= $most",
            "sums": "sql/sums.sql",
        },
    });
    let mut case = Case::new(&[("a.csv", "k,v\n1,1\n2,2\n3,3\n")], &outputs, options);
    case.attempt.files = Arc::new(
        [("sql/sums.sql".to_owned(), "select count(*) as n, sum(v) as v from a".to_owned())].into(),
    );
    let outcome = case.run().await.unwrap();
    assert_eq!(Value::Object(outcome.report), json!({"small": 2, "sums": 1}));
    assert_eq!(case.rows("select * from small order by k").await, "1,1,it's\n2,2,it's");
    assert_eq!(case.rows("select * from sums").await, "3,6");
    assert_eq!(case.attempt.progress.counts().rows_in, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_refuses_records_that_do_not_fit_what_it_reads() {
    let outputs = [("out", "table:out")];
    let columns = json!({"a": {"k": "integer", "v": "integer"}});
    let options = json!({"columns": columns, "sql": {"out": "select sum(v) as v from a"}});
    let case = Case::new(&[("a.csv", "k,v\n1,1\n2,x\n")], &outputs, options);
    let error = case.error().await;
    assert!(error.contains("raw/a.csv") && error.contains("malformed_v"), "{error}");
    assert!(error.contains("`2,x`"), "{error}");
    assert!(!case.root.path().join("data/tables/out/_delta_log").exists());
    let options = json!({"columns": columns, "sql": {"out": "select sum(k) as k from a"}});
    let case = Case::new(&[("a.csv", "k,v\n1,1\n2,x\n")], &outputs, options);
    case.run().await.unwrap();
    assert_eq!(case.rows("select * from out").await, "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_read_at_the_version_that_is_pinned() {
    let case = Case::clean(&[("a.csv", &repeated())], keep(json!({})));
    case.run().await.unwrap();
    let (mut second, journal) = attempt(
        case.root.path(),
        json!({"from": "select k, v from clean", "dedupe": {"key": ["k"]}}),
        &[("clean", "table:valid")],
        &CLEAN
            .map(|(port, _)| (port, if port == "valid" { "table:unique" } else { "table:other" })),
    );
    second.task = "again".into();
    let etl = Etl::new(Arc::new(Engine::default()));
    etl.run(&second).await.unwrap();
    assert_eq!(case.rows("select count(*), max(v) from unique").await, "500,499");
    let pinned = journal.0.lock().unwrap().iter().any(
        |event| matches!(event, Event::ReadPinned { version: Some(0), input, .. } if input == "clean"),
    );
    assert!(pinned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_writes_only_what_is_missing() {
    let text = "k,v\n1,1\n1,2\n2,x\n";
    let options = keep(json!({"dedupe": {"key": ["k"]}}));
    let mut case = Case::clean(&[("a.csv", text)], options);
    let report = case.run().await.unwrap().report;
    // As after a crash right behind the first commit.
    let published = |output: &str| {
        let events = case.journal.0.lock().unwrap();
        events.iter().find_map(|event| match event {
            Event::Published { output: name, published, .. } if name == output => {
                Some(published.clone())
            }
            _ => None,
        })
    };
    let (valid, rejected) = (published("valid"), published("rejected"));
    assert!(valid.is_some() && rejected.is_some());
    std::fs::remove_dir_all(case.root.path().join("data/tables/rejected")).unwrap();
    case.attempt.outputs["valid"].published = valid;
    assert_eq!(case.run().await.unwrap().report, report);
    assert_eq!(case.rows("select count(*) from valid").await, "1");
    assert_eq!(case.rows("select count(*) from rejected").await, "2");
    // And as after one behind the second: there is nothing to do but to count.
    case.attempt.outputs["rejected"].published = rejected;
    std::fs::remove_dir_all(case.root.path().join("data/files")).unwrap();
    assert_eq!(case.run().await.unwrap().report, report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_attempt_ends_soon_and_leaves_nothing() {
    let text = repeated().replace("k,v\n", "");
    let text = format!("k,v\n{}", text.repeat(200));
    let options = keep(json!({"dedupe": {"key": ["k"]}}));
    let case = Case::clean(&[("a.csv", &text)], options).chunks_of(4096);
    let cancel = async {
        while case.attempt.progress.counts().rows_in < 10_000 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        case.attempt.cancel.cancel();
        std::time::Instant::now()
    };
    let (result, cancelled) = tokio::join!(case.run(), cancel);
    assert!(matches!(result, Err(TaskError::Cancelled)), "{result:?}");
    assert!(cancelled.elapsed() < std::time::Duration::from_secs(2));
    for table in ["valid", "rejected"] {
        assert!(!case.root.path().join("data/tables").join(table).join("_delta_log").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_in_memory_says_what_to_raise() {
    let text = (0..200_000).fold("k,v\n".to_owned(), |text, k| text + &format!("{k},1\n"));
    let options = keep(json!({"dedupe": {"key": ["k"]}, "memory": "2MiB"}));
    let case = Case::clean(&[("a.csv", &text)], options);
    let error = case.error().await;
    assert!(error.contains("the keys of `dedupe`"), "{error}");
    assert!(error.contains("`memory: 2GiB` under `with:`"), "{error}");
}
