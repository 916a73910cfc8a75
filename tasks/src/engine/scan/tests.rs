//! Scans of texts, whole and in chunks of any size.

use super::chunks::Source;
use super::csv::first_record;
use super::malformed::{Aside, Malformed, OnMalformed, Sluice};
use super::open::Opened;
use super::{ScanSettings, TextFormat, TextTable};
use crate::engine::columns::Columns;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::common::Result;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Collected(Mutex<Vec<(String, String)>>);

#[async_trait]
impl Aside for Collected {
    async fn take(&self, malformed: Malformed) -> Result<()> {
        let rows = malformed.rows.into_iter().map(|(reason, raw)| (reason.to_string(), raw));
        self.0.lock().unwrap().extend(rows);
        Ok(())
    }
}

fn columns(kinds: &[(&str, &str)]) -> Columns {
    kinds.iter().map(|(name, kind)| ((*name).to_owned(), kind.parse().unwrap())).collect()
}

/// The rows of a text in the order of one partition, and its malformed records.
async fn scan(
    text: &[u8],
    format: TextFormat,
    columns: &Columns,
    chunk_bytes: u64,
) -> (RecordBatch, Vec<(String, String)>) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = Path::from("f");
    store.put(&path, text.to_vec().into()).await.unwrap();
    let (start, fields) = match format {
        TextFormat::JsonLines => (0, Vec::new()),
        TextFormat::Csv => {
            let (header, start) = first_record(text, true).unwrap();
            let column = |name: Vec<u8>| columns.get_index_of(str::from_utf8(&name).unwrap());
            (start as u64, header.into_iter().map(|name| column(name).unwrap()).collect())
        }
    };
    let size = text.len() as u64;
    let source = Source { name: "f".into(), path, size, start, fields: fields.into() };
    let opened = Opened { columns: columns.clone(), sources: vec![source], closed: false };
    let collected = Arc::new(Collected::default());
    let sluice = Sluice::new(collected.clone());
    sluice.open();
    let on_malformed = OnMalformed::Aside(sluice);
    let settings = ScanSettings { chunk_bytes, on_malformed, meter: None };
    let table = TextTable::new(format, store, opened, settings);
    let scan = table.plan(None).unwrap();
    let (mut chunks, mut batches) = (scan.chunks(), Vec::new());
    while let Some(chunk) = chunks.next().await.unwrap() {
        batches.push(scan.read(chunk).await.unwrap());
    }
    let schema = scan.layout.projected.clone();
    let malformed = std::mem::take(&mut *collected.0.lock().unwrap());
    (concat_batches(&schema, &batches).unwrap(), malformed)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// String views as plain strings, which is what Arrow's readers and writers of CSV know.
fn plain(rows: &RecordBatch) -> RecordBatch {
    let kind = |kind: &DataType| match kind {
        DataType::Utf8View => DataType::Utf8,
        other => other.clone(),
    };
    let schema = rows.schema();
    let fields = schema.fields().iter().map(|f| Field::new(f.name(), kind(f.data_type()), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = rows.columns().iter().map(|array| cast(array, &kind(array.data_type())).unwrap());
    RecordBatch::try_new(schema, arrays.collect()).unwrap()
}

type Row = (i64, Option<String>, Option<f64>, bool, i64, Option<i32>);

fn written(rows: &[Row]) -> (RecordBatch, Columns, Vec<u8>) {
    use arrow::array::{
        BooleanArray, Date32Array, Float64Array, Int64Array, TimestampMicrosecondArray,
    };
    let columns = columns(&[
        ("id", "integer"),
        ("name", "string"),
        ("price", "number"),
        ("prime", "boolean"),
        ("at", "timestamp"),
        ("day", "date"),
    ]);
    let at = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.4));
    let arrays: [ArrayRef; 6] = [
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(rows.iter().map(|row| row.1.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.3)).collect::<BooleanArray>()),
        Arc::new(at.with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.5).collect::<Date32Array>()),
    ];
    let named = columns.keys().zip(arrays).map(|(name, array)| (name.as_str(), array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(named).unwrap();
    let mut text = Vec::new();
    arrow::csv::Writer::new(&mut text).write(&batch).unwrap();
    (batch, columns, text)
}

fn row() -> impl Strategy<Value = Row> {
    (
        any::<i64>(),
        proptest::option::of("[a-zé\"\n\r, ]{1,20}"),
        proptest::option::of(prop_oneof![
            any::<f64>().prop_filter("finite", |x| x.is_finite()),
            (-1e6f64..1e6)
        ]),
        any::<bool>(),
        -62_135_596_800_000_000i64..253_402_214_400_000_000,
        proptest::option::of(-700_000i32..2_900_000),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What Arrow writes is read as it was, and as Arrow reads it, in chunks of any size.
    #[test]
    fn agrees_with_arrow(rows in proptest::collection::vec(row(), 1..40), chunk in 1u64..2000) {
        let (batch, columns, text) = written(&rows);
        let (read, malformed) = block_on(scan(&text, TextFormat::Csv, &columns, chunk));
        prop_assert_eq!(malformed, vec![]);
        let read = plain(&read);
        prop_assert_eq!(&read, &batch);
        let mut arrow = arrow::csv::ReaderBuilder::new(batch.schema())
            .with_header(true)
            .with_batch_size(64)
            .build(&text[..])
            .unwrap();
        prop_assert_eq!(read, arrow.next().unwrap().unwrap());
    }

    /// Any text at all, in chunks of any size, gives the same rows and the same records aside;
    /// and every record is one or the other.
    #[test]
    fn any_text_is_read_the_same_in_any_chunks(
        text in "([a1,\"\n\r ]|true|2026-01-01|\u{e9}){0,60}",
        chunk in 1u64..70,
    ) {
        let columns = columns(&[("a", "integer"), ("b", "string"), ("c", "boolean")]);
        let text = format!("a,b,c\n{text}");
        let read = |chunk| block_on(scan(text.as_bytes(), TextFormat::Csv, &columns, chunk));
        let (rows, aside) = read(1 << 20);
        let (chunked_rows, chunked_aside) = read(chunk);
        prop_assert_eq!(rows.columns(), chunked_rows.columns());
        prop_assert_eq!(aside, chunked_aside);
    }
}

fn check(text: &str, kinds: &[(&str, &str)], rows: &str, malformed: &[(&str, &str)]) {
    let (read, aside) = block_on(scan(text.as_bytes(), TextFormat::Csv, &columns(kinds), 1 << 20));
    check_rows(text, &read, &aside, rows, malformed);
}

fn check_json(text: &str, kinds: &[(&str, &str)], rows: &str, malformed: &[(&str, &str)]) {
    for chunk in [1, 1 << 20] {
        let (read, aside) =
            block_on(scan(text.as_bytes(), TextFormat::JsonLines, &columns(kinds), chunk));
        check_rows(text, &read, &aside, rows, malformed);
    }
}

fn check_rows(
    text: &str,
    read: &RecordBatch,
    aside: &[(String, String)],
    rows: &str,
    malformed: &[(&str, &str)],
) {
    let mut written = Vec::new();
    let mut writer = arrow::csv::WriterBuilder::new().with_header(false).with_null("NULL".into());
    writer = writer.with_delimiter(b'|');
    writer.build(&mut written).write(&plain(read)).unwrap();
    assert_eq!(String::from_utf8(written).unwrap().trim_end(), rows, "{text:?}");
    let aside: Vec<_> = aside.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(aside, malformed, "{text:?}");
}

#[test]
fn csv_values() {
    let two = [("n", "integer"), ("s", "string")];
    check("n,s\n1,a\n", &two, "1|a", &[]);
    check("s,n\r\na,1\r\n\r\nb,2", &two, "1|a\n2|b", &[]);
    check("n,s\n,\n\"\",\"\"\n", &two, "NULL|NULL\nNULL|", &[]);
    check("n,s\n\"1\",\"a \"\"b\"\", c\"\n", &two, "1|\"a \"\"b\"\", c\"", &[]);
    // A quote in the middle of a value is part of it, and hides nothing behind it.
    check("n,s\n1,5\" disk\n2,b\n", &two, "1|\"5\"\" disk\"\n2|b", &[]);
    check("n,s\n1,a\rb\n", &two, "1|\"a\rb\"", &[]);
    check("n,s\n", &two, "", &[]);
    let decimal = [("d", "decimal(5,2)"), ("t", "date")];
    check("d,t\n12.5,2024-02-29\n", &decimal, "12.50|2024-02-29", &[]);
    check(
        "d,t\n1234.5,\n1.234,\n1,2023-02-29\n",
        &decimal,
        "",
        &[("malformed_d", "1234.5,"), ("malformed_d", "1.234,"), ("malformed_t", "1,2023-02-29")],
    );
}

#[test]
fn csv_that_does_not_fit() {
    let two = [("n", "integer"), ("s", "string")];
    check("n,s\nx,a\n1,b\n", &two, "1|b", &[("malformed_n", "x,a")]);
    check("n,s\n 1,a\n", &two, "", &[("malformed_n", " 1,a")]);
    check("n,s\n9223372036854775808,a\n", &two, "", &[("malformed_n", "9223372036854775808,a")]);
    check("n,s\n1\n2,b\n3", &two, "2|b", &[("too_few_fields", "1"), ("too_few_fields", "3")]);
    check("n,s\nx,b,c\n2,b\n", &two, "2|b", &[("too_many_fields", "x,b,c")]);
    check("n,s\n1,\"a\"b\n2,b\n", &two, "2|b", &[("malformed_s", "1,\"a\"b")]);
    check("n,s\n1,\"a\n2,b\n", &two, "", &[("unclosed_quote", "1,\"a\n2,b")]);
    check("n,s\n1,\"\n", &two, "", &[("unclosed_quote", "1,\"")]);
    let (read, aside) =
        block_on(scan(b"n,s\n1,\xff\xe9\n2,\xc3\xa9\n", TextFormat::Csv, &columns(&two), 1 << 20));
    let raw = "1,\\xFF\\xE9";
    check_rows("not UTF-8", &read, &aside, "2|é", &[("malformed_s", raw)]);
}

#[test]
fn json_lines() {
    let kinds = [
        ("i", "integer"),
        ("n", "number"),
        ("b", "boolean"),
        ("s", "string"),
        ("at", "timestamp"),
        ("d", "decimal(6,2)"),
    ];
    check_json(
        "{\"i\":1,\"n\":2,\"b\":true,\"s\":\"a\\\"\\u00e9\",\"at\":\"2026-01-01\",\"d\":1.5}\r\n\n\
         {\"d\":\"2.25\",\"s\":[1,{\"x\":null}],\"other\":1,\"n\":1e3}",
        &kinds,
        "1|2.0|true|\"a\"\"é\"|2026-01-01T00:00:00Z|1.50\n\
         NULL|1000.0|NULL|\"[1,{\"\"x\"\":null}]\"|NULL|2.25",
        &[],
    );
    let bad = [
        ("malformed_i", "{\"i\":1.0}"),
        ("malformed_i", "{\"i\":\"1\",\"n\":\"x\"}"),
        ("malformed_i", "{\"i\":9223372036854775808}"),
        ("malformed_n", "{\"n\":\"1\"}"),
        ("malformed_b", "{\"b\":1}"),
        ("malformed_s", "{\"s\":1}"),
        ("malformed_at", "{\"at\":1}"),
        ("malformed_at", "{\"at\":\"yesterday\"}"),
        ("malformed_d", "{\"d\":1.234}"),
        ("malformed_i", "{\"i\":1,\"i\":2}"),
        ("malformed_json", "{\"i\":1"),
        ("malformed_json", "{\"i\":1} x"),
        ("malformed_json", "[1]"),
        ("malformed_json", "nonsense"),
    ];
    let lines: Vec<_> = bad.iter().map(|(_, line)| *line).collect();
    check_json(&lines.join("\n"), &kinds, "", &bad);
}
