//! What every place of tables must do, whatever its object store.

use super::{Publication, StageOptions, Staged, Tables, upkeep};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use orchestrator::attempt::TaskError;
use orchestrator::event::Published;
use orchestrator::kind::Write;
use std::sync::Arc;
use url::Url;

/// Rows of `id` and `night`.
pub(crate) fn rows(rows: &[(i64, &str)]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("night", DataType::Utf8, true),
    ]);
    let ids: ArrayRef = Arc::new(rows.iter().map(|(id, _)| *id).collect::<Int64Array>());
    let nights: ArrayRef =
        Arc::new(rows.iter().map(|(_, night)| Some(*night)).collect::<StringArray>());
    RecordBatch::try_new(Arc::new(schema), vec![ids, nights]).unwrap()
}

pub(crate) fn publication(id: &str, write: Write) -> Publication {
    Publication {
        id: id.into(),
        run: "run-1".into(),
        task: "task".into(),
        base: None,
        write,
        replace_where: None,
        partition_by: Vec::new(),
        key: Vec::new(),
        newest_by: None,
        positions: Vec::new(),
        expected: Vec::new(),
        cancel: Default::default(),
    }
}

/// Stages batches through a plan of two partitions.
pub(crate) async fn stage(
    tables: &Tables,
    publication: &Publication,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<Staged, TaskError> {
    let context = SessionContext::new();
    let half = batches.len() / 2;
    let partitions = vec![batches[..half].to_vec(), batches[half..].to_vec()];
    let table = MemTable::try_new(schema.clone(), partitions).unwrap();
    let frame = context.read_table(Arc::new(table)).unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let options = StageOptions::of(publication);
    tables.stage("t", &publication.id, plan, context.task_ctx(), &options).await
}

/// Stages and publishes one batch.
pub(crate) async fn publish(
    tables: &Tables,
    publication: &Publication,
    batch: &RecordBatch,
) -> Result<Published, TaskError> {
    let staged = stage(tables, publication, &batch.schema(), std::slice::from_ref(batch)).await?;
    tables.publish("t", publication, vec![staged]).await
}

/// All rows of a version, as sorted texts of their values.
pub(crate) async fn read(tables: &Tables, version: i64) -> Vec<String> {
    let context = SessionContext::new();
    let snapshot = tables.read("t", version).await.unwrap();
    let provider = snapshot.provider(&context.state()).await.unwrap();
    let batches = context.read_table(provider).unwrap().collect().await.unwrap();
    let mut found = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let values: Vec<String> = batch
                .columns()
                .iter()
                .map(|column| array_value_to_string(column, row).unwrap())
                .collect();
            found.push(values.join("|"));
        }
    }
    found.sort();
    found
}

async fn versions_and_rows(tables: &Tables) {
    assert_eq!(tables.latest("t").await.unwrap(), None);
    assert_eq!(tables.names().await.unwrap(), Vec::<String>::new());
    assert!(tables.history("t").await.unwrap().is_empty());

    let first = publication("run-1/task/a", Write::Overwrite);
    let published = publish(tables, &first, &rows(&[(1, "a"), (2, "b")])).await.unwrap();
    assert_eq!((published.version, published.rows), (Some(0), 2));
    assert_eq!(
        published.schema,
        [("id".into(), "bigint".into()), ("night".into(), "varchar".into())]
    );
    let append = publication("run-1/task/b", Write::Append);
    let published = publish(tables, &append, &rows(&[(3, "c")])).await.unwrap();
    assert_eq!((published.version, published.rows), (Some(1), 1));
    let over = publication("run-2/task/a", Write::Overwrite);
    publish(tables, &over, &rows(&[(4, "d")])).await.unwrap();

    assert_eq!(tables.latest("t").await.unwrap(), Some(2));
    assert_eq!(tables.names().await.unwrap(), ["t"]);
    assert_eq!(read(tables, 0).await, ["1|a", "2|b"]);
    assert_eq!(read(tables, 1).await, ["1|a", "2|b", "3|c"]);
    assert_eq!(read(tables, 2).await, ["4|d"]);
    let snapshot = tables.read("t", 1).await.unwrap();
    assert_eq!((snapshot.rows, snapshot.files.len()), (3, 2));
    let history = tables.history("t").await.unwrap();
    let told: Vec<_> = history.iter().map(|v| (v.version, v.rows, v.publication.clone())).collect();
    let id = |id: &str| Some(id.to_owned());
    assert_eq!(
        told,
        [
            (2, Some(1), id("run-2/task/a")),
            (1, Some(3), id("run-1/task/b")),
            (0, Some(2), id("run-1/task/a"))
        ]
    );
    let error = tables.read("t", 3).await.unwrap_err();
    assert!(error.to_string().contains("has no version 3"), "{error}");
}

/// Publishes what must be refused, and tells why it was; nothing may have changed.
async fn refused(tables: &Tables, publication: &Publication, batch: &RecordBatch) -> String {
    let before = tables.latest("t").await.unwrap();
    let error = publish(tables, publication, batch).await.unwrap_err();
    assert!(matches!(error, TaskError::Permanent(_)), "{error:?}");
    assert_eq!(tables.latest("t").await.unwrap(), before);
    error.to_string()
}

async fn schemas(tables: &Tables) {
    let plain = publication("a", Write::Overwrite);
    publish(tables, &plain, &rows(&[(1, "a")])).await.unwrap();
    let one = |name: &str, column: ArrayRef| RecordBatch::try_from_iter([(name, column)]).unwrap();
    let texts = || Arc::new(StringArray::from(vec!["7"])) as ArrayRef;

    let append = publication("b", Write::Append);
    let told = refused(tables, &append, &one("id", texts())).await;
    assert!(told.contains("`id` is varchar in the new rows and bigint in the table"), "{told}");
    assert!(told.contains("the new rows lack the column `night`"), "{told}");
    let mut unstaged = publication("b", Write::Overwrite);
    let staged = stage(tables, &unstaged, &rows(&[]).schema(), &[rows(&[(1, "a")])]).await.unwrap();
    unstaged.partition_by = vec!["night".into()];
    let error = tables.publish("t", &unstaged, vec![staged]).await.unwrap_err().to_string();
    assert!(error.contains("staged for partitions by none, not by `night`"), "{error}");
    let told = refused(tables, &append, &one("count(*)", texts())).await;
    assert!(told.contains("`count(*)` needs a name without"), "{told}");

    // A column more is null in the rows before.
    let mut wider = rows(&[(2, "b")]).columns().to_vec();
    wider.push(texts());
    let fields = [("id", wider[0].clone()), ("night", wider[1].clone()), ("x", wider[2].clone())];
    let wider = RecordBatch::try_from_iter(fields).unwrap();
    publish(tables, &append, &wider).await.unwrap();
    assert_eq!(read(tables, 1).await, ["1|a|", "2|b|7"]);
    // Overwriting takes any columns; older versions keep theirs.
    publish(tables, &publication("c", Write::Overwrite), &one("x", texts())).await.unwrap();
    assert_eq!(read(tables, 2).await, ["7"]);
    assert_eq!(read(tables, 0).await, ["1|a"]);
}

async fn no_rows(tables: &Tables) {
    let first = publication("a", Write::Overwrite);
    let published = publish(tables, &first, &rows(&[])).await.unwrap();
    assert_eq!((published.version, published.rows), (Some(0), 0));
    let snapshot = tables.read("t", 0).await.unwrap();
    assert_eq!((snapshot.rows, snapshot.files.len(), snapshot.schema.fields().len()), (0, 0, 2));
    assert!(read(tables, 0).await.is_empty());
    publish(tables, &publication("b", Write::Append), &rows(&[(1, "a")])).await.unwrap();
    publish(tables, &publication("c", Write::Append), &rows(&[])).await.unwrap();
    assert_eq!(read(tables, 2).await, ["1|a"]);
    publish(tables, &publication("d", Write::Overwrite), &rows(&[])).await.unwrap();
    assert!(read(tables, 3).await.is_empty());
}

/// Replaces the rows of one night.
fn night(id: &str, night: &str) -> Publication {
    Publication {
        replace_where: Some(format!("night = '{night}'")),
        partition_by: vec!["night".into()],
        ..publication(id, Write::ReplaceWhere)
    }
}

async fn nights(tables: &Tables) {
    let first = night("a", "n1");
    publish(tables, &first, &rows(&[(1, "n1"), (2, "n1")])).await.unwrap();
    publish(tables, &night("b", "n2"), &rows(&[(3, "n2")])).await.unwrap();
    assert_eq!(read(tables, 1).await, ["1|n1", "2|n1", "3|n2"]);
    publish(tables, &night("c", "n1"), &rows(&[(4, "n1")])).await.unwrap();
    assert_eq!(read(tables, 2).await, ["3|n2", "4|n1"]);

    let told = refused(tables, &night("d", "n1"), &rows(&[(5, "n1"), (6, "n3")])).await;
    assert!(told.contains("`night = n3` don't meet `replace_where: night = 'n1'`"), "{told}");
    let mut other = night("d", "n1");
    other.replace_where = Some("id = 1".into());
    let told = refused(tables, &other, &rows(&[(5, "n1")])).await;
    assert!(told.contains("not a condition on the partition columns `night`"), "{told}");
    other.replace_where = Some("night".into());
    let told = refused(tables, &other, &rows(&[(5, "n1")])).await;
    assert!(told.contains("gives varchar, not true or false"), "{told}");
    let told = refused(tables, &night("d", ""), &rows(&[(5, "")])).await;
    assert!(told.contains("`night` partitions the table and holds an empty text"), "{told}");
    let mut whole = publication("d", Write::Append);
    let told = refused(tables, &whole, &rows(&[(5, "n1")])).await;
    assert!(told.contains("is partitioned by `night`, and the new rows by none"), "{told}");

    // Exactly the night goes, also when there is nothing to put in its place.
    publish(tables, &night("e", "n1"), &rows(&[])).await.unwrap();
    assert_eq!(read(tables, 3).await, ["3|n2"]);
    // Values that a path could not hold, and null, which is not any night.
    let odd = "a/b c=%é'";
    let mut odd_night = night("f", "n9");
    odd_night.replace_where = Some("night = 'a/b c=%é'''".into());
    publish(tables, &odd_night, &rows(&[(7, odd)])).await.unwrap();
    whole.partition_by = vec!["night".into()];
    let nulls = RecordBatch::try_new(
        rows(&[]).schema(),
        vec![Arc::new(Int64Array::from(vec![8])), Arc::new(StringArray::from(vec![None::<&str>]))],
    );
    publish(tables, &whole, &nulls.unwrap()).await.unwrap();
    assert_eq!(read(tables, 5).await, ["3|n2", "7|a/b c=%é'", "8|"]);
    // Pieces of a name that can't be a path are found again, and not under another name.
    for id in ["run/a:b/ü", "run/a:b/u", &"long/".repeat(60)] {
        let options = StageOptions { file_prefix: Some("0/1".into()), ..Default::default() };
        let batch = rows(&[(1, "a")]);
        let mut writer = tables.stage_writer("t", id, &batch.schema(), &options).unwrap();
        writer.write(&batch).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(tables.staged("t", id).await.unwrap()[0].prefix.as_deref(), Some("0/1"));
    }
    assert!(tables.staged("t", "run/a:b/o").await.unwrap().is_empty());
    odd_night.id = "g".into();
    publish(tables, &odd_night, &rows(&[(9, odd)])).await.unwrap();
    assert_eq!(read(tables, 6).await, ["3|n2", "8|", "9|a/b c=%é'"]);
}

async fn exactly_once(tables: &Tables) {
    // The rows were staged, and the process died before the commit: nobody sees them.
    let first = publication("run-1/task/a", Write::Append);
    stage(tables, &first, &rows(&[]).schema(), &[rows(&[(1, "a")])]).await.unwrap();
    assert_eq!(tables.latest("t").await.unwrap(), None);
    // The next attempt commits; one that died right after it is adopted by the next.
    let published = publish(tables, &first, &rows(&[(1, "a")])).await.unwrap();
    let again = publish(tables, &first, &rows(&[(1, "a")])).await.unwrap();
    assert_eq!(again, published);
    assert_eq!(read(tables, 0).await, ["1|a"]);
    assert_eq!(tables.find("t", "run-1/task/a", None).await.unwrap(), Some(published));
    assert_eq!(tables.find("t", "run-1/task/a", Some(0)).await.unwrap(), None);
    assert_eq!(tables.find("t", "run-1/task", None).await.unwrap(), None);
    assert_eq!(tables.find("other", "run-1/task/a", None).await.unwrap(), None);

    // Positions are one with the rows.
    let mut roll = publication("run-1/task/b/10", Write::Append);
    roll.base = Some(0);
    roll.positions = vec![("topic/0".into(), 10), ("topic/1".into(), 7)];
    publish(tables, &roll, &rows(&[(2, "b")])).await.unwrap();
    assert_eq!(tables.position("t", "topic/0").await.unwrap(), Some(10));
    assert_eq!(tables.position("t", "topic/1").await.unwrap(), Some(7));
    assert_eq!(tables.position("t", "topic/2").await.unwrap(), None);
    assert_eq!(tables.position("other", "topic/0").await.unwrap(), None);
}

/// What killed processes leave is no version and no row.
async fn leftovers(tables: &Tables) {
    publish(tables, &publication("a", Write::Overwrite), &rows(&[(1, "a")])).await.unwrap();
    let root = tables.table_path("t");
    for left in [
        "_delta_log/.00000000000000000001.json.0123.tmp",
        "_delta_log/_commit_0123.json.tmp",
        "_delta_log/00000000000000000020.checkpoint.parquet.tmp",
        "data/run-9/task/a/part-0000-0123.parquet",
        "data/run-9/task/a/.part-0000-0123.parquet.4567.tmp",
    ] {
        let path = left.split('/').fold(root.clone(), |path, part| path.join(part));
        tables.store().put(&path, "half of somethi".into()).await.unwrap();
    }
    assert_eq!(tables.latest("t").await.unwrap(), Some(0));
    assert_eq!(read(tables, 0).await, ["1|a"]);
    publish(tables, &publication("b", Write::Append), &rows(&[(2, "b")])).await.unwrap();
    assert_eq!(read(tables, 1).await, ["1|a", "2|b"]);
    // Something beside the tables is none.
    let stray = tables.table_path("no-table").join("notes.txt");
    tables.store().put(&stray, "of mine".into()).await.unwrap();
    assert_eq!(tables.names().await.unwrap(), ["t"]);
    assert_eq!(tables.sweep("t", &[]).await.unwrap().files, 2);
}

/// Two publications that saw the same version of the table, in each order and at once.
async fn races(tables: &Tables) {
    let over = |id: &str| publication(id, Write::Overwrite);
    let add = |id: &str| publication(id, Write::Append);
    // Both make the table.
    let (a, b) = (over("a"), over("b"));
    let (first, second) = (rows(&[(1, "a")]), rows(&[(2, "b")]));
    let (a, b) = tokio::join!(publish(tables, &a, &first), publish(tables, &b, &second));
    let mut versions = [a.unwrap().version, b.unwrap().version];
    versions.sort();
    assert_eq!(versions, [Some(0), Some(1)]);
    assert_eq!(read(tables, 1).await.len(), 1, "a union of two overwrites");

    let staged = async |publication: &Publication, batch: &RecordBatch| {
        stage(tables, publication, &batch.schema(), std::slice::from_ref(batch)).await.unwrap()
    };
    // An append and an overwrite, both staged before either is published.
    for (version, append_first) in [(2, true), (4, false)] {
        let (over, add) = (over(&format!("o{version}")), add(&format!("a{version}")));
        let old = staged(&over, &rows(&[(1, "over")])).await;
        let new = staged(&add, &rows(&[(2, "add")])).await;
        if append_first {
            tables.publish("t", &add, vec![new]).await.unwrap();
            tables.publish("t", &over, vec![old]).await.unwrap();
            assert_eq!(read(tables, version + 1).await, ["1|over"]);
        } else {
            tables.publish("t", &over, vec![old]).await.unwrap();
            tables.publish("t", &add, vec![new]).await.unwrap();
            assert_eq!(read(tables, version + 1).await, ["1|over", "2|add"]);
        }
    }
    // Many at once: each row is there once, and one id counts once however often it comes.
    let many = (0..12).map(|number| {
        let add = add(&format!("many-{}", number % 9));
        async move { publish(tables, &add, &rows(&[(number % 9, "x")])).await.unwrap() }
    });
    futures::future::join_all(many).await;
    let newest = tables.latest("t").await.unwrap().unwrap();
    let found = read(tables, newest).await;
    let expect: Vec<String> = (0..9).map(|number| format!("{number}|x")).collect();
    assert!(expect.iter().all(|row| found.iter().filter(|found| *found == row).count() == 1));
    assert_eq!((found.len(), newest), (11, 5 + 9));
}

/// Rows of `id`, `night` and `interval`, merged by the first, newest by the last.
fn keyed(rows: &[(i64, &str, i64)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let nights: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>());
    let intervals: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>());
    RecordBatch::try_from_iter([("id", ids), ("night", nights), ("interval", intervals)]).unwrap()
}

async fn merges(tables: &Tables) {
    let merge = |id: &str| Publication {
        key: vec!["id".into()],
        newest_by: Some("interval".into()),
        ..publication(id, Write::Merge)
    };
    // Repeated keys within one publication too.
    let batch = keyed(&[(3, "c", 2), (1, "a", 2), (1, "older", 1), (2, "b", 2)]);
    publish(tables, &merge("a"), &batch).await.unwrap();
    assert_eq!(read(tables, 0).await, ["1|a|2", "2|b|2", "3|c|2"]);
    // A newer interval wins, an older one does not, the same again changes nothing.
    let batch = keyed(&[(4, "d", 3), (2, "B", 3)]);
    publish(tables, &merge("b"), &batch).await.unwrap();
    assert_eq!(read(tables, 1).await, ["1|a|2", "2|B|3", "3|c|2", "4|d|3"]);
    publish(tables, &merge("c"), &keyed(&[(2, "old", 1), (5, "e", 1)])).await.unwrap();
    assert_eq!(read(tables, 2).await, ["1|a|2", "2|B|3", "3|c|2", "4|d|3", "5|e|1"]);
    publish(tables, &merge("d"), &keyed(&[(2, "again", 3), (5, "E", 1)])).await.unwrap();
    assert_eq!(read(tables, 3).await, ["1|a|2", "2|again|3", "3|c|2", "4|d|3", "5|E|1"]);
    assert_eq!(tables.read("t", 3).await.unwrap().rows, 5);
    // Keys beyond all others leave the files before alone.
    let before = tables.read("t", 3).await.unwrap().files;
    publish(tables, &merge("e"), &keyed(&[(9, "i", 1)])).await.unwrap();
    let after = tables.read("t", 4).await.unwrap().files;
    assert!(before.iter().all(|file| after.contains(file)), "{after:?}");
    assert_eq!(read(tables, 4).await.len(), 6);

    let told = refused(tables, &publication("f", Write::Append), &keyed(&[(1, "x", 1)])).await;
    assert!(told.contains("has one row for each `id`"), "{told}");
    let mut keyless = merge("f");
    keyless.key = Vec::new();
    let told = refused(tables, &keyless, &keyed(&[(1, "x", 1)])).await;
    assert!(told.contains("needs a `key`"), "{told}");
    keyless.key = vec!["nr".into()];
    let told = refused(tables, &keyless, &keyed(&[(1, "x", 1)])).await;
    assert!(told.contains("nr"), "{told}");
}

async fn merges_into_what_was_no_merge(tables: &Tables) {
    // Unsorted, and one key twice, far from the new ones.
    let mut over = publication("a", Write::Overwrite);
    over.partition_by = vec!["night".into()];
    let batch = keyed(&[(5, "x", 1), (1, "x", 1), (9, "z", 1), (2, "y", 1), (9, "z", 1)]);
    publish(tables, &over, &batch).await.unwrap();
    let merge = |id: &str| Publication {
        key: vec!["id".into()],
        partition_by: vec!["night".into()],
        ..publication(id, Write::Merge)
    };
    // Without an order the new row wins, and moves to its partition.
    publish(tables, &merge("b"), &keyed(&[(2, "x", 0), (4, "y", 0)])).await.unwrap();
    assert_eq!(read(tables, 1).await, ["1|x|1", "2|x|0", "4|y|0", "5|x|1", "9|z|1"]);
    // Files of several partitions whose keys lie in between each other's.
    publish(tables, &merge("c"), &keyed(&[(3, "y", 0), (4, "y", 1)])).await.unwrap();
    assert_eq!(read(tables, 2).await, ["1|x|1", "2|x|0", "3|y|0", "4|y|1", "5|x|1", "9|z|1"]);
    publish(tables, &merge("d"), &keyed(&[(5, "y", 2), (1, "x", 2)])).await.unwrap();
    assert_eq!(read(tables, 3).await, ["1|x|2", "2|x|0", "3|y|0", "4|y|1", "5|y|2", "9|z|1"]);
    // What was merged into other files is not kept beside them.
    let swept = tables.sweep("t", &[]).await.unwrap();
    assert_eq!(swept.files, 0);
}

/// Rows that are staged in pieces are found again by a later attempt, whole pieces only.
async fn pieces(tables: &Tables) {
    let publication = publication("run/land/orders", Write::Overwrite);
    assert!(tables.staged("t", &publication.id).await.unwrap().is_empty());
    let batch = rows(&[(1, "a")]);
    for prefix in ["00020", "00010"] {
        let options = StageOptions { file_prefix: Some(prefix.into()), ..Default::default() };
        let schema = batch.schema();
        let mut writer = tables.stage_writer("t", &publication.id, &schema, &options).unwrap();
        writer.write(&batch).await.unwrap();
        writer.finish().await.unwrap();
    }
    let options = StageOptions { file_prefix: Some("00030".into()), ..Default::default() };
    let mut torn = tables.stage_writer("t", &publication.id, &batch.schema(), &options).unwrap();
    torn.write(&batch).await.unwrap();
    drop(torn);
    let staged = tables.staged("t", &publication.id).await.unwrap();
    let prefixes: Vec<_> = staged.iter().map(|staged| staged.prefix.as_deref()).collect();
    assert_eq!(prefixes, [Some("00010"), Some("00020")]);
    let published = tables.publish("t", &publication, staged).await.unwrap();
    assert_eq!(published.rows, 2);
    assert_eq!(read(tables, 0).await, ["1|a", "1|a"]);
}

/// Runs every case, each on a place of its own.
pub(crate) async fn conformance(make: impl Fn() -> Tables) {
    versions_and_rows(&make()).await;
    schemas(&make()).await;
    no_rows(&make()).await;
    nights(&make()).await;
    exactly_once(&make()).await;
    leftovers(&make()).await;
    races(&make()).await;
    merges(&make()).await;
    merges_into_what_was_no_merge(&make()).await;
    pieces(&make()).await;
    upkeep::tests::many_commits(&make()).await;
    upkeep::tests::compaction_keeps_partitions(&make()).await;
    upkeep::tests::sweeping(&make()).await;
    upkeep::tests::sweeping_behind_a_checkpoint(&make()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    let make =
        || Tables::new(Url::parse("memory:///some/tables").unwrap(), Arc::new(InMemory::new()));
    conformance(|| make().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_local_file_system() {
    let root = tempfile::tempdir().unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    conformance(|| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // A path that has to be escaped in a URL.
        let data = root.path().join(format!("data dir {number} é"));
        crate::places::Places::embedded(&data).unwrap().tables().clone()
    })
    .await;
}
