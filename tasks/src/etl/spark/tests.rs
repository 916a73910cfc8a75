//! Against a real server, which must reach the temporary directory: `cargo xtask test` starts one
//! and names it in `TIDEMILL_TEST_SPARK`.

use crate::engine::Engine;
use crate::etl::Etl;
use crate::etl::tests::{Case, rows_in};
use crate::places::Places;
use orchestrator::attempt::testing::attempt;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::event::Event;
use orchestrator::kind::Kind;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The settings of a profile.
type Settings = Map<String, Value>;

fn server() -> Option<Settings> {
    let Ok(remote) = std::env::var("TIDEMILL_TEST_SPARK") else {
        eprintln!("skipped: no Spark; `cargo xtask test` starts one");
        return None;
    };
    Some(at(&remote))
}

fn at(remote: &str) -> Settings {
    Map::from_iter([("spark".to_owned(), json!({"remote": remote}))])
}

fn use_spark(attempt: &mut Attempt, settings: &Settings) {
    use_profile(attempt, settings);
    attempt.options["engine"] = json!("spark");
}

fn use_profile(attempt: &mut Attempt, settings: &Settings) {
    let run = Arc::get_mut(&mut attempt.run).unwrap();
    run.profile.settings = settings.clone();
}

async fn run(attempt: &Attempt) -> Result<Outcome, TaskError> {
    Etl::new(Arc::new(Engine::default())).run(attempt).await
}

/// A task that Spark computes, over files.
fn spark_case(settings: &Settings, files: &[(&str, &str)], options: Value) -> Case {
    let mut case = Case::clean(files, options);
    use_spark(&mut case.attempt, settings);
    case
}

/// What a task did: its report, and of each output's table the columns and the rows.
async fn done(root: &Path, attempt: &Attempt) -> Vec<String> {
    let outcome = run(attempt).await.unwrap();
    let places = Places::open(&attempt.run).unwrap();
    let mut done = vec![Value::Object(outcome.report).to_string()];
    for output in attempt.outputs.values() {
        let name = output.dataset().name();
        let version = places.tables().latest(name).await.unwrap().unwrap();
        let columns = places.tables().read(name, version).await.unwrap().schema;
        let columns = columns.fields().iter().map(|f| format!("{}: {}", f.name(), f.data_type()));
        done.push(columns.collect::<Vec<_>>().join(", "));
        let all = rows_in(&places, root, &format!("select * from {name}")).await;
        let mut lines: Vec<_> = all.lines().collect();
        lines.sort_unstable();
        done.push(lines.join("\n"));
        assert!(!holds_scratch(&root.join("data/tables").join(name)), "scratch of {name} is left");
    }
    done
}

fn holds_scratch(directory: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with("spark-") || holds_scratch(&entry.path())
    })
}

/// Runs the same task by both engines, over what is below `root`, and gives what it did.
async fn same(
    settings: &Settings,
    root: &Path,
    options: Value,
    inputs: &[(&str, &str)],
    outputs: &[&str],
) -> Vec<String> {
    let mut both = Vec::new();
    for engine in ["datafusion", "spark"] {
        let tables: Vec<_> =
            outputs.iter().map(|port| (*port, format!("table:{port}_{engine}"))).collect();
        let tables: Vec<_> = tables.iter().map(|(a, b)| (*a, b.as_str())).collect();
        let (mut attempt, _) = attempt(root, options.clone(), inputs, &tables);
        match engine {
            "spark" => use_spark(&mut attempt, settings),
            _ => use_profile(&mut attempt, settings),
        }
        both.push(done(root, &attempt).await);
    }
    let (spark, datafusion) = (both.pop().unwrap(), both.pop().unwrap());
    assert_eq!(spark, datafusion);
    spark
}

const CLEAN: [&str; 2] = ["valid", "rejected"];

/// 400 records of a mix of types, with nulls, repeated keys and texts that are awkward.
fn records() -> String {
    let mut text = "id,name,price,amount,at,day,ok\n".to_owned();
    for i in 0..400_u32 {
        let id = i * 7919 % 150;
        let name = ["ann", "\"b,\"\"ob\"", "", "čeněk\\n", "x'y"][i as usize % 5];
        let price = if i % 11 == 0 { String::new() } else { format!("{}.25", i % 40) };
        let amount = if i % 13 == 0 { String::new() } else { format!("{}.{:02}", i, i % 100) };
        let at = format!("2026-01-{:02} {:02}:00:00.12345{}", i % 28 + 1, i % 24, i % 10);
        let day = ["2026-01-01", "1969-12-31", "0999-03-01", ""][i as usize % 4];
        let ok = ["true", "false", ""][i as usize % 3];
        text += &format!("{id},{name},{price},{amount},{at},{day},{ok}\n");
    }
    text
}

fn types() -> Value {
    json!({"id": "integer", "name": "string", "price": "number", "amount": "decimal(12,2)",
        "at": "timestamp", "day": "date", "ok": "boolean"})
}

/// A table `table:src` of the records below the root, with partitions.
async fn source(settings: &Settings, root: &Path, partition_by: &[&str]) {
    let options = json!({"columns": {"a": types()}, "sql": {"src": "select * from a"}});
    let (mut attempt, _) =
        attempt(root, options, &[("a", "file:src.csv")], &[("src", "table:src")]);
    use_profile(&mut attempt, settings);
    let places = Places::open(&attempt.run).unwrap();
    let mut file = places.files().create("src.csv").await.unwrap();
    file.write(records().into()).await.unwrap();
    file.finish().await.unwrap();
    attempt.outputs["src"].planned.partition_by =
        partition_by.iter().map(|name| (*name).to_owned()).collect();
    run(&attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cleaning_a_table_gives_what_datafusion_gives() {
    let Some(settings) = server() else { return };
    for partition_by in [&[][..], &["day", "ok"], &["name"]] {
        // A path with what is a pattern elsewhere.
        let root = tempfile::Builder::new().prefix("a {b,c}[d] *").tempdir().unwrap();
        source(&settings, root.path(), partition_by).await;
        let options = json!({
            "from": "select id, name, price, amount, at, day, ok, $night as night, \
                     $more + 1 as more from src where name is null or name <> $name",
            "rules": {
                "has_a_price": "price is not null",
                "not_zero": "price <> 0",
                "cheap": "amount / price < $most",
                "backslash": "name is null or name <> 'čeněk\\n' or id > 20",
            },
            "dedupe": {"key": ["id"]},
            "parameters": {"night": "2026-11-23", "name": "x'y", "most": 30.5, "more": 41},
        });
        let done = same(&settings, root.path(), options, &[("src", "table:src")], &CLEAN).await;
        assert!(done[0].contains("\"duplicate\":") && done[0].contains("\"backslash\":"));
        assert!(done[1].contains("amount: Decimal128(12, 2)"), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_give_what_datafusion_gives() {
    let Some(settings) = server() else { return };
    let root = tempfile::tempdir().unwrap();
    let files = root.path().join("data/files");
    std::fs::create_dir_all(&files).unwrap();
    let broken = "x,ann,1,1,2026-01-01,2026-01-01,true\n1,\"a\nb\",1,1,2026-01-01,,\n1,2\n3,\"open";
    std::fs::write(files.join("a.csv"), records() + broken).unwrap();
    let lines = "{\"id\": 1, \"name\": \"json\"}\n{\"id\": \"x\"}\n{\"id\": 900}\n";
    std::fs::write(files.join("b.jsonl"), lines).unwrap();
    let options = json!({
        "columns": {"a": types(), "b": {"id": "integer", "name": "string"}},
        "from": "select id, name, $night as night from a union all select id, name, $night from b",
        "parameters": {"night": "2026-11-23"},
        "rules": {"named": "name is not null"},
        "dedupe": {"key": ["id", "name"], "keep": "smallest"},
    });
    let inputs = [("a", "file:a.csv"), ("b", "file:b.jsonl")];
    let done = same(&settings, root.path(), options, &inputs, &CLEAN).await;
    for reason in ["malformed_id\":2", "too_few_fields\":1", "unclosed_quote\":1"] {
        assert!(done[0].contains(reason), "{}", done[0]);
    }
    assert!(done[4].contains(",,2026-11-23,too_few_fields,1,2"), "{}", done[4]);
    // An input that no query reads may hold what it likes.
    let options = json!({"columns": {"a": types(), "b": {"id": "integer", "name": "string"}},
        "sql": {"out": "select count(*) as n from (select * from b) where id = 1"}});
    std::fs::write(files.join("b.jsonl"), "{\"id\": 1}\n").unwrap();
    let done = same(&settings, root.path(), options, &inputs, &["out"]).await;
    assert_eq!(done[2], "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_tables_have_columns() {
    let Some(settings) = server() else { return };
    let root = tempfile::tempdir().unwrap();
    source(&settings, root.path(), &["day"]).await;
    let options = json!({"sql": {"none": "select * from src where id < 0"}});
    let inputs = [("src", "table:src")];
    same(&settings, root.path(), options, &inputs, &["none"]).await;
    let options = json!({"from": "select * from none", "dedupe": {"key": ["id"]}});
    let done = same(&settings, root.path(), options, &[("none", "table:none_spark")], &CLEAN).await;
    assert!(done[1].starts_with("id: Int64, name: Utf8, price: Float64"), "{done:?}");
    assert_eq!(done[2], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_on_hdfs_are_read_and_written_there() {
    let (Some(mut settings), Ok(hdfs)) = (server(), std::env::var("TIDEMILL_TEST_HDFS")) else {
        eprintln!("skipped: no Spark or no HDFS; `cargo xtask test` starts them");
        return;
    };
    let url = format!("{hdfs}/tidemill/spark-{}", uuid::Uuid::now_v7().simple());
    settings.insert("hdfs".into(), json!({"url": url}));
    let root = tempfile::tempdir().unwrap();
    source(&settings, root.path(), &["day"]).await;
    let options = json!({"columns": {"a": types()}, "dedupe": {"key": ["id"], "keep": "smallest"},
        "from": "select * from src union all select * from a where id < 100",
        "rules": {"some": "id > 10"}});
    let inputs = [("src", "table:src"), ("a", "file:src.csv")];
    let done = same(&settings, root.path(), options, &inputs, &CLEAN).await;
    assert!(done[0].contains("duplicate"), "{}", done[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_queries_give_what_datafusion_gives() {
    let Some(settings) = server() else { return };
    let root = tempfile::tempdir().unwrap();
    let mut text = "order_id,product_id,customer_id,product_category,price,quantity,\
                    order_timestamp,user_rating,payment_method,delivery_status,is_prime,\
                    delivery_days,discount,country\n"
        .to_owned();
    for i in 0..900_u32 {
        let category = ["Books", "Toys", "Home"][i as usize % 3];
        let rating = if i % 7 == 0 { String::new() } else { (i % 5 + 1).to_string() };
        let days = if i % 9 == 0 { String::new() } else { (i % 8).to_string() };
        let discount = if i % 4 == 0 { String::new() } else { format!("0.{:02}", i % 31) };
        text += &format!(
            "{i},{},{},{category},{}.{:02},{},2026-0{}-1{} 1{}:30:00,{rating},card,sent,{},{days},\
             {discount},CZ\n",
            i % 23,
            i % 71,
            i % 300,
            i % 100,
            i % 6 + 1,
            i % 9 + 1,
            i % 10,
            i % 10,
            i % 2 == 0,
        );
    }
    std::fs::create_dir_all(root.path().join("data/files")).unwrap();
    std::fs::write(root.path().join("data/files/orders.csv"), text).unwrap();
    let columns = json!({"order_id": "integer", "product_id": "integer", "customer_id": "integer",
        "product_category": "string", "price": "number", "quantity": "integer",
        "order_timestamp": "timestamp", "user_rating": "integer", "payment_method": "string",
        "delivery_status": "string", "is_prime": "boolean", "delivery_days": "integer",
        "discount": "number", "country": "string"});
    let options = json!({
        "columns": {"streamed": columns, "bulk": columns},
        "from": include_str!("../../../../pipelines/sql/orders.sql"),
        "rules": {"price_is_positive": "price > 0"},
        "dedupe": {"key": ["order_id"], "keep": "smallest"},
    });
    let inputs = [("streamed", "file:orders.csv"), ("bulk", "file:orders.csv")];
    same(&settings, root.path(), options, &inputs, &CLEAN).await;
    let queries = json!({
        "daily": include_str!("../../../../pipelines/sql/daily_sales.sql"),
        "categories": include_str!("../../../../pipelines/sql/category_sales.sql"),
        "satisfaction": include_str!("../../../../pipelines/sql/satisfaction.sql"),
        "prime": include_str!("../../../../pipelines/sql/prime_sales.sql"),
        "products": include_str!("../../../../pipelines/sql/top_products.sql"),
    });
    let outputs: Vec<_> = queries.as_object().unwrap().keys().map(String::as_str).collect();
    let inputs = [("orders", "table:valid_spark")];
    same(&settings, root.path(), json!({"sql": queries}), &inputs, &outputs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_writes_only_what_is_missing() {
    let Some(settings) = server() else { return };
    let options = json!({"columns": {"a": {"k": "integer", "v": "integer"}},
        "from": "select * from a", "dedupe": {"key": ["k"]}});
    let mut case = spark_case(&settings, &[("a.csv", "k,v\n1,1\n1,2\n2,x\n")], options);
    let report = case.run().await.unwrap().report;
    assert_eq!(report["rejected"], json!({"duplicate": 1, "malformed_v": 1}));
    let published = |name: &str| {
        case.journal.0.lock().unwrap().iter().find_map(|event| match event {
            Event::Published { output, published, .. } if output == name => Some(published.clone()),
            _ => None,
        })
    };
    let (valid, rejected) = (published("valid"), published("rejected"));
    std::fs::remove_dir_all(case.root.path().join("data/tables/rejected")).unwrap();
    case.attempt.outputs["valid"].published = valid;
    assert_eq!(case.run().await.unwrap().report, report);
    assert_eq!(case.rows("select k, v from valid").await, "1,1");
    assert_eq!(case.rows("select count(*) from rejected").await, "2");
    // As after a crash behind the second: Spark has nothing to do.
    case.attempt.outputs["rejected"].published = rejected;
    std::fs::remove_dir_all(case.root.path().join("data/files")).unwrap();
    assert_eq!(case.run().await.unwrap().report, report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_attempt_ends_soon_and_leaves_nothing() {
    let Some(settings) = server() else { return };
    let options = json!({"columns": {"a": {"k": "integer", "v": "integer"}}, "from":
        "select a.k, count(*) as n from a, range(0, 20000000000) r \
         where hash(r.id) % 7 = a.v group by a.k"});
    let case = spark_case(&settings, &[("a.csv", "k,v\n1,99\n")], options);
    let cancel = async {
        // The query alone would take minutes.
        while case.attempt.progress.share().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        case.attempt.cancel.cancel();
        Instant::now()
    };
    let both = async { tokio::join!(case.run(), cancel) };
    let (result, cancelled) = tokio::time::timeout(Duration::from_secs(100), both).await.unwrap();
    assert!(matches!(result, Err(TaskError::Cancelled)), "{result:?}");
    assert!(cancelled.elapsed() < Duration::from_secs(30), "{:?}", cancelled.elapsed());
    assert!(!case.root.path().join("data/tables/valid/_delta_log").exists());
    assert!(!holds_scratch(&case.root.path().join("data/tables")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_told_with_their_places() {
    let Some(settings) = server() else { return };
    let check = async |more: Value, expect: &[&str]| {
        let mut options = json!({"columns": {"a": {"k": "integer", "v": "integer"}},
            "from": "select * from a"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let error = spark_case(&settings, &[("a.csv", "k,v\n1,1\n0,1\n")], options).error().await;
        expect.iter().for_each(|part| assert!(error.contains(part), "{part:?} not in {error:?}"));
    };
    check(
        json!({"from": "select k,\n  w from a"}),
        &["from:2:3: [UNRESOLVED_COLUMN", "`w`", "2 |   w from a\n  |   ^"],
    )
    .await;
    check(json!({"from": "select * from b"}), &["from:1:15: [TABLE_OR_VIEW_NOT_FOUND]"]).await;
    check(json!({"from": "select nothing(k) from a"}), &["[UNRESOLVED_ROUTINE]", "`nothing`"])
        .await;
    check(
        json!({"rules": {"some": "v > 0", "big": "w > 0"}}),
        &["rule `big`:1:1: [UNRESOLVED_COLUMN", "1 | w > 0"],
    )
    .await;
    check(json!({"rules": {"odd": "v + 1"}}), &["rule `odd`: `v + 1` is neither true"]).await;
    check(json!({"rules": {"big": "v / k > 0"}}), &["from: [DIVIDE_BY_ZERO]", ", in `v / k > 0`"])
        .await;
    check(json!({"dedupe": {"key": ["kk"]}}), &["dedupe: no column `kk`; did you mean `k`?"]).await;
    check(json!({"from": "select k, v as reason from a"}), &["`reason`, which rejected"]).await;
    check(json!({"from": "select k, v as K from a"}), &["two columns `K`"]).await;
    let sql = json!({"columns": {"a": {"k": "integer"}}, "sql": {"out": "select * from a"}});
    let mut case = Case::new(&[("a.csv", "k\nx\n")], &[("out", "table:out")], sql);
    use_spark(&mut case.attempt, &settings);
    let error = case.error().await;
    assert!(error.contains("raw/a.csv") && error.contains("malformed_k"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_may_come_back() {
    let options = json!({"columns": {"a": {"k": "integer"}}, "from": "select * from a"});
    let files = [("a.csv", "k\n1\n")];
    let begin = Instant::now();
    let away =
        spark_case(&at("sc://127.0.0.1:9"), &files, options.clone()).run().await.unwrap_err();
    assert!(matches!(away, TaskError::Transient(_)), "{away:?}");
    assert!(away.to_string().contains("answers at `sc://127.0.0.1:9`"), "{away}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    let wrong = spark_case(&at("http://127.0.0.1:15002"), &files, options).error().await;
    assert!(wrong.contains("`spark.remote` is such as"), "{wrong}");
}
