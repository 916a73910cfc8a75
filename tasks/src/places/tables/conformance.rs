//! What every place of tables must do, whatever its object store.

use super::{Publication, StageOptions, Staged, Tables};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use object_store::memory::InMemory;
use orchestrator::attempt::TaskError;
use orchestrator::event::Published;
use orchestrator::kind::Write;
use std::sync::Arc;
use url::Url;

/// Rows of `id` and `night`.
pub(super) fn rows(rows: &[(i64, &str)]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("night", DataType::Utf8, true),
    ]);
    let ids: ArrayRef = Arc::new(rows.iter().map(|(id, _)| *id).collect::<Int64Array>());
    let nights: ArrayRef =
        Arc::new(rows.iter().map(|(_, night)| Some(*night)).collect::<StringArray>());
    RecordBatch::try_new(Arc::new(schema), vec![ids, nights]).unwrap()
}

pub(super) fn publication(id: &str, write: Write) -> Publication {
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
    }
}

/// Stages batches through a plan of two partitions.
pub(super) async fn stage(
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
    let options =
        StageOptions { partition_by: publication.partition_by.clone(), ..Default::default() };
    tables.stage("t", &publication.id, plan, context.task_ctx(), &options).await
}

/// Stages and publishes one batch.
pub(super) async fn publish(
    tables: &Tables,
    publication: &Publication,
    batch: &RecordBatch,
) -> Result<Published, TaskError> {
    let staged = stage(tables, publication, &batch.schema(), std::slice::from_ref(batch)).await?;
    tables.publish("t", publication, vec![staged]).await
}

/// All rows of a version, as sorted texts of their values.
pub(super) async fn read(tables: &Tables, version: i64) -> Vec<String> {
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

/// Runs every case, each on a place of its own.
pub(super) async fn conformance(make: impl Fn() -> Tables) {
    versions_and_rows(&make()).await;
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
