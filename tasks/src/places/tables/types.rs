//! Values of every type that a table keeps, there and back; and what it refuses.

use super::conformance::{publication, publish};
use super::{Publication, StageOptions, Tables, type_name};
use arrow::array::*;
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::memory::InMemory;
use orchestrator::kind::Write;
use std::sync::Arc;
use url::Url;

fn place() -> Tables {
    Tables::new(Url::parse("memory:///").unwrap(), Arc::new(InMemory::new())).unwrap()
}

fn overwrite() -> Publication {
    publication("a", Write::Overwrite)
}

async fn query(tables: &Tables, sql: &str) -> Vec<String> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let version = tables.latest("t").await.unwrap().unwrap();
    let snapshot = tables.read("t", version).await.unwrap();
    let provider = snapshot.provider(&context.state()).await.unwrap();
    context.register_table("t", provider).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let mut found = Vec::new();
    let options = FormatOptions::default().with_null("null");
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            found.push(values.join("|"));
        }
    }
    found
}

/// Writes one column, and checks the type and the values that come back.
async fn check(column: ArrayRef, expect_type: &str, expect: &[&str]) {
    let tables = place();
    let given = column.data_type().clone();
    let batch = RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap();
    let published = publish(&tables, &overwrite(), &batch).await.unwrap();
    assert_eq!(published.schema, [("x".to_owned(), expect_type.to_owned())], "{given}");
    assert_eq!(query(&tables, "select x from t").await, expect, "{given}");
    let snapshot = tables.read("t", 0).await.unwrap();
    assert_eq!(type_name(snapshot.schema.field(0).data_type()), expect_type);
}

async fn refused(column: ArrayRef, expect: &str) {
    let tables = place();
    let batch = RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap();
    let error = publish(&tables, &overwrite(), &batch).await.unwrap_err().to_string();
    assert!(error.contains("column `x`") && error.contains(expect), "{error}");
    assert_eq!(tables.latest("t").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers() {
    check(Arc::new(BooleanArray::from(vec![Some(true), None])), "boolean", &["true", "null"]).await;
    let extremes = |min: i64, max: i64| [min.to_string(), max.to_string()];
    let bytes = Arc::new(Int8Array::from(vec![i8::MIN, i8::MAX]));
    check(bytes, "tinyint", &["-128", "127"]).await;
    let longs = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]));
    let [min, max] = extremes(i64::MIN, i64::MAX);
    check(longs, "bigint", &[&min, &max]).await;
    check(Arc::new(UInt8Array::from(vec![255])), "smallint", &["255"]).await;
    check(Arc::new(UInt32Array::from(vec![u32::MAX])), "bigint", &["4294967295"]).await;
    let unsigned = Arc::new(UInt64Array::from(vec![i64::MAX as u64]));
    check(unsigned, "bigint", &[&max]).await;
    let doubles = vec![0.1, -0.0, f64::MAX, f64::NAN, f64::INFINITY];
    let doubles = Arc::new(Float64Array::from(doubles));
    check(doubles, "double", &["0.1", "-0.0", "1.7976931348623157e308", "NaN", "inf"]).await;
    let money = Decimal128Array::from(vec![123_456_789_012_345_678]);
    let money = Arc::new(money.with_precision_and_scale(20, 4).unwrap());
    check(money, "decimal(20,4)", &["12345678901234.5678"]).await;
    refused(Arc::new(UInt64Array::from(vec![u64::MAX])), "can't be kept as bigint").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times() {
    let expect = ["2026-11-23T01:02:03.000004Z"];
    let micros = 1_795_395_723_000_004;
    let naive = Arc::new(TimestampMicrosecondArray::from(vec![micros]));
    check(naive, "timestamp", &expect).await;
    let nanos = Arc::new(TimestampNanosecondArray::from(vec![micros * 1000 + 999]));
    check(nanos, "timestamp", &expect).await;
    let zoned = TimestampMicrosecondArray::from(vec![micros]).with_timezone("+02:00");
    check(Arc::new(zoned), "timestamp", &expect).await;
    let seconds = Arc::new(TimestampSecondArray::from(vec![-1]));
    check(seconds, "timestamp", &["1969-12-31T23:59:59Z"]).await;
    let dates = Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)]));
    check(dates, "date", &["1969-12-31", "null", "2024-10-04"]).await;
    refused(Arc::new(Time64MicrosecondArray::from(vec![1])), "cast it").await;
    refused(Arc::new(DurationSecondArray::from(vec![1])), "cast it").await;
    let far = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
    refused(far, "can't be kept as timestamp").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_and_bytes() {
    let long = "é".repeat(500);
    let texts = vec![Some("a"), None, Some(""), Some(long.as_str())];
    let expect = ["a", "null", "", long.as_str()];
    check(Arc::new(StringArray::from(texts.clone())), "varchar", &expect).await;
    check(Arc::new(LargeStringArray::from(texts.clone())), "varchar", &expect).await;
    check(Arc::new(StringViewArray::from(texts.clone())), "varchar", &expect).await;
    let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
    check(Arc::new(dictionary), "varchar", &expect).await;
    let bytes: BinaryArray = BinaryArray::from(vec![b"\x00\xff".as_slice()]);
    check(Arc::new(bytes), "binary", &["00ff"]).await;
    refused(Arc::new(NullArray::new(1)), "cast(null as varchar)").await;
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]);
    refused(Arc::new(list), "select its parts").await;
}

/// Filters and aggregates that answer from statistics agree with the rows.
#[tokio::test(flavor = "multi_thread")]
async fn statistics_hide_nothing() {
    let long = "z".repeat(300);
    let money = Decimal128Array::from(vec![123_456_789_012_345_678, 1, 2])
        .with_precision_and_scale(20, 4)
        .unwrap();
    let times = TimestampMicrosecondArray::from(vec![1_795_395_723_000_004, 0, -1]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(i64::MIN)]))),
        ("f", Arc::new(Float64Array::from(vec![f64::NAN, 1.0, -0.0]))),
        ("s", Arc::new(StringArray::from(vec!["a", long.as_str(), "é"]))),
        ("m", Arc::new(money)),
        ("t", Arc::new(times.with_timezone("UTC"))),
        ("d", Arc::new(Date32Array::from(vec![20_000, -1, 0]))),
        ("n", Arc::new(Int32Array::from(vec![None, None, None]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let tables = place();
    publish(&tables, &overwrite(), &batch).await.unwrap();
    publish(&tables, &publication("b", Write::Append), &batch.slice(1, 1)).await.unwrap();
    let check = async |sql: &str, expect: &str| {
        assert_eq!(query(&tables, sql).await, [expect], "{sql}");
    };
    check("select count(*) from t", "4").await;
    check("select count(i), count(n) from t", "2|0").await;
    let bounds = format!("{}|{}", i64::MIN, i64::MAX);
    check("select min(i), max(i) from t", &bounds).await;
    check("select min(s), max(s) from t", &format!("a|{}", "é")).await;
    check("select min(d), max(d) from t", "1969-12-31|2024-10-04").await;
    check("select max(t), min(n) from t", "2026-11-23T01:02:03.000004Z|null").await;
    check("select max(m) from t", "12345678901234.5678").await;
    check("select count(*) from t where f > 5", "1").await;
    check("select count(*) from t where m = cast('12345678901234.5678' as decimal(20,4))", "1")
        .await;
    check(&format!("select count(*) from t where s = '{long}'"), "2").await;
    check("select count(*) from t where i = 9223372036854775807", "1").await;
    check("select count(*) from t where t >= '2026-11-23T01:02:03.000004Z'", "1").await;
    check("select count(*) from t where n is null", "4").await;
    check("select count(*) from t where d < date '1970-01-01'", "2").await;
}

/// What says little is encoded small, and what differs without a dictionary.
#[tokio::test(flavor = "multi_thread")]
async fn encodings_follow_the_values() {
    let ids: Int64Array = (0..20_000).map(|id| id * 7).collect();
    let few: Int64Array = (0..20_000).map(|id| id % 10).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![("ids", Arc::new(ids)), ("few", Arc::new(few))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let tables = place();
    let options = StageOptions::default();
    let mut writer = tables.stage_writer("t", "a", &batch.schema(), &options).unwrap();
    for start in (0..20_000).step_by(1000) {
        writer.write(&batch.slice(start, 1000)).await.unwrap();
    }
    let staged = writer.finish().await.unwrap();
    assert_eq!((staged.rows, staged.adds.len()), (20_000, 1));
    let published = tables.publish("t", &overwrite(), vec![staged]).await.unwrap();
    let snapshot = tables.read("t", published.version.unwrap()).await.unwrap();
    let file = &snapshot.files[0];
    let bytes = object_store::ObjectStoreExt::get(&tables.store(), &file.path).await.unwrap();
    let bytes = bytes.bytes().await.unwrap();
    assert_eq!((bytes.len() as u64, published.bytes), (file.size, file.size));
    let reader = parquet::file::serialized_reader::SerializedFileReader::new(bytes).unwrap();
    let metadata = parquet::file::reader::FileReader::metadata(&reader);
    let encodings = |column: usize| -> Vec<parquet::basic::Encoding> {
        metadata.row_group(0).column(column).encodings().collect()
    };
    use parquet::basic::Encoding;
    assert!(encodings(0).contains(&Encoding::DELTA_BINARY_PACKED), "{:?}", encodings(0));
    assert!(!encodings(0).contains(&Encoding::RLE_DICTIONARY), "{:?}", encodings(0));
    assert!(encodings(1).contains(&Encoding::RLE_DICTIONARY), "{:?}", encodings(1));
    assert_eq!(query(&tables, "select sum(ids), sum(few) from t").await, ["1399930000|90000"]);
}

/// Filters on partition columns, and bounds that went through a checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_checkpoints() {
    let tables = place();
    for number in 0..45_i64 {
        let mut append = publication(&number.to_string(), Write::Append);
        append.partition_by = vec!["day".into(), "odd".into()];
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("day", Arc::new(Date32Array::from(vec![Some(number as i32 % 3), None]))),
            ("x", Arc::new(Int64Array::from(vec![i64::MAX - number, i64::MIN + number]))),
            ("odd", Arc::new(BooleanArray::from(vec![number % 2 == 1; 2]))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        );
        publish(&tables, &append, &batch.unwrap()).await.unwrap();
    }
    assert!(tables.latest("t").await.unwrap() > Some(40), "two checkpoints");
    let check = async |sql: &str, expect: &[&str]| {
        assert_eq!(query(&tables, sql).await, expect, "{sql}");
    };
    check("select count(*) from t", &["90"]).await;
    let bounds = format!("{}|{}", i64::MIN, i64::MAX);
    check("select min(x), max(x) from t", &[&bounds]).await;
    check("select min(day), max(day), count(day) from t", &["1970-01-01|1970-01-03|45"]).await;
    check("select count(*) from t where day = date '1970-01-02'", &["15"]).await;
    check("select count(*) from t where day is null and odd", &["22"]).await;
    check("select count(*) from t where x > 0 and day is null", &["0"]).await;
    check(
        "select day, count(*) from t group by day order by day",
        &["1970-01-01|15", "1970-01-02|15", "1970-01-03|15", "null|45"],
    )
    .await;
    // Columns in the order in which they were declared, whatever partitions them.
    check(
        "select * from t where x = 9223372036854775807",
        &["1970-01-01|9223372036854775807|false"],
    )
    .await;
    check("select odd from t where x = 9223372036854775806 limit 1", &["true"]).await;
}

/// Tables that other programs write can be read; those with newer features are not written to.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_write() {
    let root = tempfile::tempdir().unwrap();
    let places = crate::places::Places::embedded(root.path()).unwrap();
    let tables = places.tables();
    let ids = |ids: Vec<i64>| {
        let columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(Int64Array::from(ids)))];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .unwrap()
    };
    publish(tables, &overwrite(), &ids(vec![1, 2])).await.unwrap();
    let open = async || deltalake_core::open_table(tables.url("t")).await.unwrap();
    open().await.write(vec![ids(vec![3])]).await.unwrap();
    assert_eq!(query(tables, "select sum(id), min(id), max(id) from t").await, ["6|1|3"]);
    let history = tables.history("t").await.unwrap();
    assert_eq!((history[0].version, history[0].rows, &history[0].run), (1, None, &None));
    publish(tables, &publication("b", Write::Append), &ids(vec![4])).await.unwrap();
    assert_eq!(query(tables, "select sum(id) from t").await, ["10"]);

    // A rule that nobody here would check.
    let strict = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as _)]);
    std::fs::create_dir(root.path().join("tables/s")).unwrap();
    let made = deltalake_core::DeltaTable::try_from_url(tables.url("s")).await.unwrap();
    made.write(vec![strict.unwrap()]).await.unwrap();
    let mut writer =
        tables.stage_writer("s", "c", &ids(vec![]).schema(), &StageOptions::default()).unwrap();
    writer.write(&ids(vec![2])).await.unwrap();
    let staged = vec![writer.finish().await.unwrap()];
    let error = tables.publish("s", &publication("c", Write::Append), staged).await.unwrap_err();
    assert!(error.to_string().contains("set a rule on its column `id`"), "{error}");

    let naive = TimestampMicrosecondArray::from(vec![1_000_000]);
    let columns: Vec<(&str, ArrayRef)> = vec![("at", Arc::new(naive))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    std::fs::create_dir(root.path().join("tables/u")).unwrap();
    let made = deltalake_core::DeltaTable::try_from_url(tables.url("u")).await.unwrap();
    made.write(vec![batch.clone()]).await.unwrap();
    let context = SessionContext::new();
    let provider = tables.read("u", 0).await.unwrap().provider(&context.state()).await.unwrap();
    let found = context.read_table(provider).unwrap().collect().await.unwrap();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let mut writer =
        tables.stage_writer("u", "c", &batch.schema(), &StageOptions::default()).unwrap();
    writer.write(&batch).await.unwrap();
    let staged = writer.finish().await.unwrap();
    let error = tables.publish("u", &overwrite(), vec![staged]).await.unwrap_err().to_string();
    assert!(error.contains("Delta features that tidemill reads but does not write"), "{error}");
}
