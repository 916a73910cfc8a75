use super::*;
use crate::places::StageOptions;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use orchestrator::attempt::testing;
use orchestrator::event::Event;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

fn batch(ids: &[Option<i64>]) -> RecordBatch {
    let countries = ["de", "fr", "it"].iter().cycle().take(ids.len()).copied();
    let prices = (0..ids.len()).map(|at| (at != 1).then_some(at as f64 + 0.5));
    let columns: [(&str, ArrayRef); 3] = [
        ("order_id", Arc::new(ids.iter().copied().collect::<Int64Array>())),
        ("country", Arc::new(StringArray::from_iter_values(countries))),
        ("price", Arc::new(prices.collect::<Float64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, values)| (name, values, true)))
        .unwrap()
}

/// Writes the input as a new version of `table:orders`.
async fn write(root: &Path, id: &str, batch: &RecordBatch) {
    let places = Places::embedded(&root.join("data")).unwrap();
    let tables = places.tables();
    let options = StageOptions::default();
    let mut writer = tables.stage_writer("orders", id, &batch.schema(), &options).unwrap();
    writer.write(batch).await.unwrap();
    let publication =
        Publication { write: Write::Overwrite, ..crate::places::kv::conformance::publication(id) };
    tables.publish("orders", &publication, vec![writer.finish().await.unwrap()]).await.unwrap();
}

fn attempt(root: &Path, options: Value) -> (Attempt, Arc<testing::MemoryJournal>) {
    let inputs = [("rows", "table:orders")];
    let (mut attempt, journal) =
        testing::attempt(root, options, &inputs, &[("table", "kv:orders")]);
    attempt.outputs[OUTPUT].planned.write = Write::Merge;
    (attempt, journal)
}

fn kind() -> BulkLoad {
    BulkLoad::new(Arc::default())
}

async fn load(root: &Path, options: Value) -> Result<Outcome, TaskError> {
    kind().run(&attempt(root, options).0).await
}

async fn rows(root: &Path) -> Vec<String> {
    let places = Places::embedded(&root.join("data")).unwrap();
    let rows = kv_scan(&places, "orders", "", 100).await.unwrap();
    rows.iter().map(crate::places::kv::conformance::told).collect()
}

fn families() -> Value {
    json!({"info": ["country"], "money": ["price"]})
}

#[tokio::test]
async fn loads_rows_by_key() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "g", &batch(&[Some(10), Some(9), Some(8)])).await;
    let (attempt, journal) =
        attempt(dir.path(), json!({"row_key": ["order_id"], "families": families()}));
    let outcome = kind().run(&attempt).await.unwrap();
    assert_eq!(outcome.values["rows"], 3);
    let expect = [
        "10 info:country=de@24 money:price=0.5@24",
        "8 info:country=it@24 money:price=2.5@24",
        "9 info:country=fr@24",
    ];
    assert_eq!(rows(dir.path()).await, expect);
    let events = journal.0.lock().unwrap();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| match event {
            Event::ReadPinned { version: Some(0), .. } => "pinned",
            Event::PublishIntended { base: None, .. } => "intended",
            Event::Published { published, .. } if published.rows == 3 => "published",
            _ => "else",
        })
        .collect();
    assert_eq!(kinds, ["pinned", "intended", "published"]);
}

#[tokio::test]
async fn keys_are_joined_and_padded() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "g", &batch(&[Some(10), Some(9)])).await;
    let options = json!({
        "row_key": ["country", "order_id"], "pad": {"order_id": 4}, "separator": "/",
        "families": {"money": ["price"]},
    });
    load(dir.path(), options).await.unwrap();
    assert_eq!(rows(dir.path()).await, ["de/0010 money:price=0.5@24", "fr/0009"]);
    let places = Places::embedded(&dir.path().join("data")).unwrap();
    assert_eq!(kv_scan(&places, "orders", "de/", 9).await.unwrap().len(), 1);
    assert!(kv_get(&places, "orders", "fr/0009").await.unwrap().is_some());
}

#[tokio::test]
async fn a_missing_key_is_counted_and_shown() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "g", &batch(&[Some(1), None, None])).await;
    let options = json!({"row_key": ["order_id"], "families": families()});
    let error = load(dir.path(), options.clone()).await.unwrap_err();
    assert!(matches!(error, TaskError::Permanent(_)));
    let text = error.to_string();
    assert!(text.contains("2 of 3 rows lack a part of their row key"), "{text}");
    assert!(text.contains("order_id null, country `"), "{text}");
    let places = Places::embedded(&dir.path().join("data")).unwrap();
    assert_eq!(places.kv().summary("orders").await.unwrap(), None, "nothing is half loaded");

    let mut options = options;
    options["on_missing_key"] = json!("skip");
    let outcome = load(dir.path(), options).await.unwrap();
    assert_eq!(outcome.report["rows_without_key"], 2);
    assert_eq!(outcome.values["rows"], 1);
    assert_eq!(rows(dir.path()).await, ["1 info:country=de@24 money:price=0.5@24"]);
}

#[tokio::test]
async fn keys_that_would_look_alike_are_refused() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "g", &batch(&[Some(12345), Some(-1)])).await;
    let fail = async |options: Value| load(dir.path(), options).await.unwrap_err().to_string();
    let padded = json!({
        "row_key": ["order_id"], "pad": {"order_id": 4}, "families": {"f": ["price"]}
    });
    let text = fail(padded).await;
    assert!(text.contains("2 of 2 rows have a `order_id` that can't be padded to 4"), "{text}");
    let joined = json!({
        "row_key": ["country", "order_id"], "separator": "e", "families": {"f": ["price"]}
    });
    let text = fail(joined).await;
    assert!(text.contains("1 of 2 rows have the separator `e`"), "{text}");
}

#[tokio::test]
async fn unknown_columns_are_named() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "g", &batch(&[Some(1)])).await;
    let options = json!({"row_key": ["orderid"], "families": {"f": ["pric", "country"]}});
    let text = load(dir.path(), options).await.unwrap_err().to_string();
    assert!(text.contains("no column `pric`; did you mean `price`?"), "{text}");
    assert!(text.contains("no column `orderid`; did you mean `order_id`?"), "{text}");
}

#[tokio::test]
async fn a_resumed_run_adopts_its_commit() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "g", &batch(&[Some(1), Some(2)])).await;
    let options = json!({"row_key": ["order_id"], "families": families()});
    let first = attempt(dir.path(), options.clone()).0;
    kind().run(&first).await.unwrap();
    // It died before the journal had it.
    let mut again = attempt(dir.path(), options).0;
    again.outputs[OUTPUT].intended = Some(None);
    let outcome = kind().run(&again).await.unwrap();
    assert_eq!(outcome.values["rows"], 2);
    let places = Places::embedded(&dir.path().join("data")).unwrap();
    assert_eq!(places.kv().summary("orders").await.unwrap().unwrap().version, Some(0));
}

#[test]
fn options_are_checked() {
    let check = |options: Value, expect: &str| {
        let options: Options = serde_json::from_value(options).unwrap();
        let told: Vec<String> = options
            .problems()
            .iter()
            .map(|p| format!("{}: {}", p.path.join("."), p.message))
            .collect();
        assert_eq!(told.join("; "), expect);
    };
    check(json!({"row_key": ["a"], "families": {"f": ["b"]}}), "");
    check(
        json!({"row_key": [], "families": {"f": []}}),
        "with.row_key: a row key has at least one column; with.families: there are no columns to load",
    );
    check(
        json!({"row_key": ["a", "b"], "separator": "", "pad": {"c": 3, "a": 0}, "families": {"f": ["b"]}}),
        "with.separator: several columns need a separator, or different keys could look the same; \
         with.pad.c: `c` is no column of the row key; \
         with.pad.a: `0` is no number of digits from 1 to 64",
    );
    check(
        json!({"row_key": ["a"], "families": {"f": ["b"], "g": ["b"], "h:": ["c"]}}),
        "with.families.g: `b` is in `f` and in `g`; \
         with.families.h:: `h:` can't be a family; use letters, digits, `_`, `-` and `.`",
    );
}
