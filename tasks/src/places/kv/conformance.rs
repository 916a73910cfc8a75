//! What every implementation of [`KeyValues`] must do.

use super::{KeyValues, Load, ROW_KEY, Row, Scan};
use crate::places::tables::Publication;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::{SessionConfig, SessionContext};
use jiff::Timestamp;
use orchestrator::attempt::TaskError;
use orchestrator::kind::Write;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a place does about a column family that a table does not have yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewFamily {
    Added,
    Refused,
}

/// Runs all of it on tables that do not exist yet, whose names begin with `prefix`.
pub(crate) async fn all(kv: &dyn KeyValues, prefix: &str, new_family: NewFamily) {
    finds_rows_by_key_and_prefix(kv, &format!("{prefix}-find")).await;
    newer_cells_count(kv, &format!("{prefix}-newer")).await;
    takes_a_new_family(kv, &format!("{prefix}-family"), new_family).await;
    loading_again_changes_nothing(kv, &format!("{prefix}-again")).await;
    merges_small_into_big(kv, &format!("{prefix}-big")).await;
    says_what_is_missing(kv, &format!("{prefix}-missing")).await;
}

/// A row: key and cells.
pub(crate) type Line<'a> = (&'a str, &'a [(&'a str, &'a str)]);

pub(crate) fn publication(id: &str) -> Publication {
    Publication {
        id: id.into(),
        run: id.into(),
        task: "load".into(),
        base: None,
        write: Write::Merge,
        replace_where: None,
        partition_by: Vec::new(),
        key: Vec::new(),
        newest_by: None,
        positions: Vec::new(),
        expected: Vec::new(),
        cancel: Default::default(),
    }
}

/// A load of rows with these columns, spread over three partitions.
pub(crate) async fn load_of(id: &str, day: i8, columns: &[&str], lines: &[Line<'_>]) -> Load {
    let mut fields = vec![Field::new(ROW_KEY, DataType::Utf8, true)];
    fields.extend(columns.iter().map(|name| Field::new(*name, DataType::Utf8, true)));
    let schema = Arc::new(Schema::new(fields));
    let batch = |lines: &[Line]| {
        let cell = |line: &Line, name: &str| {
            line.1.iter().find(|(column, _)| *column == name).map(|(_, value)| value.to_string())
        };
        let keys: StringArray = lines.iter().map(|line| Some(line.0)).collect();
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(keys)];
        for name in columns {
            let cells: StringArray = lines.iter().map(|line| cell(line, name)).collect();
            arrays.push(Arc::new(cells));
        }
        RecordBatch::try_new(schema.clone(), arrays).unwrap()
    };
    let size = lines.len().div_ceil(3).max(1);
    let mut partitions: Vec<Vec<RecordBatch>> =
        lines.chunks(size).map(|lines| vec![batch(lines)]).collect();
    if partitions.is_empty() {
        partitions.push(vec![batch(&[])]);
    }
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let table = datafusion::datasource::MemTable::try_new(schema, partitions).unwrap();
    let rows = session.read_table(Arc::new(table)).unwrap();
    let keys = rows.clone().select_columns(&[ROW_KEY]).unwrap();
    Load {
        publication: publication(id),
        at: time(day),
        rows: rows.create_physical_plan().await.unwrap(),
        keys: keys.create_physical_plan().await.unwrap(),
        session,
        progress: Default::default(),
    }
}

pub(crate) fn time(day: i8) -> Timestamp {
    format!("2026-11-{day:02}T00:00:00Z").parse().unwrap()
}

async fn put(kv: &dyn KeyValues, table: &str, id: &str, day: i8, lines: &[Line<'_>]) -> u64 {
    let load = load_of(id, day, &["f:a", "f:b", "g:c"], lines).await;
    kv.load(table, load).await.unwrap().rows
}

/// A row as text: `key f:a=1@3 f:b=x@4`, with the day of each cell.
pub(crate) fn told(row: &Row) -> String {
    let mut text = row.key.clone();
    for cell in &row.cells {
        let day = cell.timestamp.strftime("%-d");
        text.push_str(&format!(" {}={}@{day}", cell.column, cell.value));
    }
    text
}

pub(crate) async fn scan(
    kv: &dyn KeyValues,
    table: &str,
    prefix: &str,
    limit: usize,
) -> Vec<String> {
    let rows = kv.scan(table, &Scan::prefix(prefix, limit)).await.unwrap();
    rows.iter().map(told).collect()
}

async fn finds_rows_by_key_and_prefix(kv: &dyn KeyValues, table: &str) {
    let lines: [Line; 6] = [
        ("b2", &[("f:a", "2")]),
        ("a", &[("f:a", "1"), ("f:b", "x"), ("g:c", "")]),
        ("b10", &[("f:a", "10")]),
        ("bä", &[("f:a", "ä")]),
        ("c", &[("g:c", "3")]),
        ("b", &[("f:b", "y")]),
    ];
    assert_eq!(put(kv, table, "r1", 1, &lines).await, 6);
    let row = kv.get(table, "a").await.unwrap().unwrap();
    assert_eq!(told(&row), "a f:a=1@1 f:b=x@1 g:c=@1");
    assert_eq!(kv.get(table, "bb").await.unwrap(), None);
    assert_eq!(kv.get(table, "").await.unwrap(), None);
    let b = ["b f:b=y@1", "b10 f:a=10@1", "b2 f:a=2@1", "bä f:a=ä@1"];
    assert_eq!(scan(kv, table, "b", 10).await, b);
    assert_eq!(scan(kv, table, "b", 2).await, b[..2]);
    assert_eq!(scan(kv, table, "", 100).await.len(), 6);
    assert_eq!(scan(kv, table, "x", 100).await, [""; 0]);
    assert_eq!(scan(kv, table, "", 0).await, [""; 0]);
    let between = Scan { start: "b1".into(), stop: Some("c".into()), limit: 10 };
    assert_eq!(kv.scan(table, &between).await.unwrap().len(), 3);
    assert!(kv.names().await.unwrap().contains(&table.to_owned()));
    let columns = kv.summary(table).await.unwrap().unwrap().columns;
    let families: BTreeSet<&str> =
        columns.iter().map(|column| column.split_once(':').unwrap().0).collect();
    assert_eq!(families, BTreeSet::from(["f", "g"]));
}

async fn newer_cells_count(kv: &dyn KeyValues, table: &str) {
    put(kv, table, "r5", 5, &[("k", &[("f:a", "5"), ("f:b", "5")])]).await;
    put(kv, table, "r7", 7, &[("k", &[("f:a", "7")]), ("l", &[("f:a", "7")])]).await;
    assert_eq!(scan(kv, table, "", 9).await, ["k f:a=7@7 f:b=5@5", "l f:a=7@7"]);
    // An older interval, run later, fills gaps and hides nothing.
    let late: [Line; 2] =
        [("k", &[("f:a", "6"), ("f:b", "6"), ("g:c", "6")]), ("l", &[("f:b", "6")])];
    put(kv, table, "r6", 6, &late).await;
    let expect = ["k f:a=7@7 f:b=6@6 g:c=6@6", "l f:a=7@7 f:b=6@6"];
    assert_eq!(scan(kv, table, "", 9).await, expect);
    put(kv, table, "r4", 4, &late).await;
    assert_eq!(scan(kv, table, "", 9).await, expect, "still older: nothing to fill");
}

async fn takes_a_new_family(kv: &dyn KeyValues, table: &str, new_family: NewFamily) {
    put(kv, table, "r1", 1, &[("k", &[("f:a", "1")])]).await;
    let load = load_of("r2", 2, &["f:b", "h:new"], &[("k", &[("h:new", "2")])]).await;
    let loaded = kv.load(table, load).await;
    if new_family == NewFamily::Added {
        loaded.unwrap();
        assert_eq!(scan(kv, table, "k", 9).await, ["k f:a=1@1 h:new=2@2"]);
    } else {
        let error = loaded.unwrap_err();
        assert!(matches!(error, TaskError::Permanent(_)), "{error}");
        assert!(error.to_string().contains("no family `h`"), "{error}");
        assert_eq!(scan(kv, table, "k", 9).await, ["k f:a=1@1"]);
    }
}

async fn loading_again_changes_nothing(kv: &dyn KeyValues, table: &str) {
    let lines: [Line; 3] =
        [("a", &[("f:a", "1"), ("f:b", "x")]), ("b", &[("f:a", "2")]), ("c", &[("f:a", "3")])];
    put(kv, table, "r1", 1, &lines).await;
    let before = scan(kv, table, "", 9).await;
    assert_eq!(put(kv, table, "r1-again", 1, &lines).await, 3);
    assert_eq!(scan(kv, table, "", 9).await, before);
    // A corrected interval replaces its own cells.
    put(kv, table, "r1-corrected", 1, &[("b", &[("f:a", "20")])]).await;
    assert_eq!(kv.get(table, "b").await.unwrap().as_ref().map(told).unwrap(), "b f:a=20@1");
    assert_eq!(put(kv, table, "r2", 2, &[]).await, 0);
    assert_eq!(scan(kv, table, "", 9).await.len(), 3);
}

async fn merges_small_into_big(kv: &dyn KeyValues, table: &str) {
    let keys: Vec<String> = (0..3000).map(|n| format!("{:05}", n * 7 % 3000)).collect();
    let cells: Vec<[(&str, &str); 1]> = keys.iter().map(|key| [("f:a", key.as_str())]).collect();
    let lines: Vec<Line> =
        keys.iter().zip(&cells).map(|(key, cells)| (&**key, &cells[..])).collect();
    put(kv, table, "r1", 1, &lines).await;
    put(kv, table, "r2", 2, &[("01500", &[("f:a", "x")]), ("01500a", &[("f:a", "y")])]).await;
    let all = scan(kv, table, "", 9999).await;
    assert_eq!(all.len(), 3001);
    assert!(all.is_sorted());
    assert_eq!(all[1500..1503], ["01500 f:a=x@2", "01500a f:a=y@2", "01501 f:a=01501@1"]);
}

async fn says_what_is_missing(kv: &dyn KeyValues, table: &str) {
    assert_eq!(kv.summary(table).await.unwrap(), None);
    let error = kv.get(table, "a").await.unwrap_err().to_string();
    assert!(error.contains(&format!("there is no `kv:{table}`")), "{error}");
}
