//! The kind of task, from its options to the artifact.

use crate::engine::Engine;
use crate::places::Places;
use crate::places::tables::{Publication, StageOptions};
use crate::report::Report;
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use orchestrator::attempt::testing::{MemoryJournal, attempt};
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::event::{Event, Published};
use orchestrator::kind::{Files, Kind, Write};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

const DASHBOARD: &str = "
title: Sales
figures: [{label: Revenue, format: currency, sql: select sum(revenue) from daily}]
charts:
  by_category: {title: By category, kind: bar, x: category, y: revenue, sql: sql/by_category.sql}
tables:
  all: {title: All, sql: select * from daily where revenue > $least}
";
const BY_CATEGORY: &str =
    "-- The chart's.\nselect category, revenue\nfrom daily\norder by category\n";

/// Commits a version of `table:daily_sales`.
async fn commit(root: &Path, id: &str, revenues: &[f64]) {
    let tables = Places::embedded(&root.join("data")).unwrap().tables().clone();
    let names = (0..revenues.len()).map(|i| format!("category {i}"));
    let columns: [(&str, ArrayRef); 2] = [
        ("category", Arc::new(StringArray::from_iter_values(names))),
        ("revenue", Arc::new(Float64Array::from(revenues.to_vec()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let publication = Publication {
        id: id.into(),
        run: "earlier".into(),
        task: "aggregate".into(),
        base: tables.latest("daily_sales").await.unwrap(),
        write: Write::Overwrite,
        replace_where: None,
        partition_by: Vec::new(),
        key: Vec::new(),
        newest_by: None,
        positions: Vec::new(),
        expected: Vec::new(),
        cancel: tokio_util::sync::CancellationToken::new(),
    };
    let options = StageOptions::default();
    let mut writer = tables.stage_writer("daily_sales", id, &batch.schema(), &options).unwrap();
    writer.write(&batch).await.unwrap();
    let staged = writer.finish().await.unwrap();
    tables.publish("daily_sales", &publication, vec![staged]).await.unwrap();
}

struct Case {
    root: tempfile::TempDir,
    attempt: Attempt,
    journal: Arc<MemoryJournal>,
}

impl Case {
    fn new(dashboard: &str, by_category: &str) -> Case {
        let root = tempfile::tempdir().unwrap();
        let options = json!({"dashboard": "dashboards/d.yaml", "parameters": {"least": 15}});
        let inputs = [("daily", "table:daily_sales")];
        let (mut attempt, journal) =
            attempt(root.path(), options, &inputs, &[("page", "artifact:sales")]);
        attempt.files = Arc::new(Files::from([
            ("dashboards/d.yaml".to_owned(), dashboard.to_owned()),
            ("sql/by_category.sql".to_owned(), by_category.to_owned()),
        ]));
        Case { root, attempt, journal }
    }

    async fn run(&self) -> Result<Outcome, TaskError> {
        Report::new(Arc::new(Engine::default())).run(&self.attempt).await
    }

    async fn error(&self) -> String {
        match self.run().await.unwrap_err() {
            TaskError::Permanent(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn artifact(&self) -> std::path::PathBuf {
        self.root.path().join("data/artifacts/sales")
    }
}

#[tokio::test]
async fn a_run_leaves_a_page() {
    let case = Case::new(DASHBOARD, BY_CATEGORY);
    commit(case.root.path(), "first", &[1.0]).await;
    commit(case.root.path(), "second", &[10.0, 20.0, 30.0]).await;
    let outcome = case.run().await.unwrap();
    let directory = case.artifact().join("test-run");
    let page = directory.join("index.html");
    assert_eq!(outcome.values["page"], Value::from(page.display().to_string()));
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("title=\"$60.00\">$60.00</dd>"), "the sum of the newest version");
    assert!(text.contains("table:daily_sales <span>version 1</span>"));
    assert!(text.contains("edit <code>the query</code> in <code>sql/by_category.sql</code>"));
    let chart = std::fs::read_to_string(directory.join("data/by_category.csv")).unwrap();
    assert_eq!(chart, "category,revenue\ncategory 0,10.0\ncategory 1,20.0\ncategory 2,30.0\n");
    let table = std::fs::read_to_string(directory.join("data/all.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "the parameter leaves two rows and the header: {table}");
    for ending in ["png", "svg"] {
        assert!(directory.join(format!("charts/by_category.{ending}")).exists());
    }
    let latest = case.artifact().join("latest/index.html");
    assert_eq!(std::fs::read_to_string(latest).unwrap(), text);
    let events = case.journal.0.lock().unwrap().clone();
    let dataset = || "table:daily_sales".parse().unwrap();
    let pinned = Event::ReadPinned {
        task: "test".into(),
        input: "daily".into(),
        dataset: dataset(),
        version: Some(1),
    };
    assert_eq!(events[0], pinned);
    assert!(matches!(&events[1], Event::PublishIntended { output, .. } if output == "page"));
    let Event::Published { published, .. } = &events[2] else { panic!("{events:?}") };
    assert_eq!((published.rows, events.len()), (6, 3));
    assert!(published.bytes > 4_000_000, "plotly is in the page: {}", published.bytes);
    assert_eq!(case.attempt.progress.share(), Some(1.0));
}

#[tokio::test]
async fn a_pinned_version_is_read_again() {
    let mut case = Case::new(DASHBOARD, BY_CATEGORY);
    commit(case.root.path(), "first", &[1.0]).await;
    commit(case.root.path(), "second", &[10.0, 20.0]).await;
    case.attempt.inputs["daily"].version = Some(0);
    case.run().await.unwrap();
    let chart = case.artifact().join("test-run/data/by_category.csv");
    assert_eq!(std::fs::read_to_string(chart).unwrap(), "category,revenue\ncategory 0,1.0\n");
}

#[tokio::test]
async fn what_is_published_stays() {
    let mut case = Case::new(DASHBOARD, BY_CATEGORY);
    case.attempt.outputs["page"].published = Some(Published::default());
    let outcome = case.run().await.unwrap();
    let page = case.artifact().join("test-run/index.html");
    assert_eq!(outcome.values["page"], Value::from(page.display().to_string()));
    assert!(case.journal.0.lock().unwrap().is_empty(), "there was nothing to do");
}

#[tokio::test]
async fn a_cancelled_attempt_leaves_nothing() {
    let case = Case::new(DASHBOARD, BY_CATEGORY);
    commit(case.root.path(), "first", &[1.0]).await;
    case.attempt.cancel.cancel();
    assert!(matches!(case.run().await, Err(TaskError::Cancelled)));
    assert!(!case.artifact().exists());
}

#[tokio::test]
async fn errors_name_the_chart_and_the_place() {
    let case = Case::new(DASHBOARD, BY_CATEGORY);
    assert_eq!(case.error().await, "`table:daily_sales` does not exist; has a task written it?");

    let case = Case::new(DASHBOARD, &BY_CATEGORY.replace("category, revenue", "category, revenu"));
    commit(case.root.path(), "first", &[1.0]).await;
    assert_eq!(
        case.error().await,
        "dashboards/d.yaml: `charts.by_category`: sql/by_category.sql:2:18: no column `revenu`; \
         did you mean `revenue`?\n2 | select category, revenu\n  |                  ^^^^^^"
    );

    let case = Case::new(&DASHBOARD.replace("sum(revenue)", "sum(revenu)"), BY_CATEGORY);
    commit(case.root.path(), "first", &[1.0]).await;
    let error = case.error().await;
    let place =
        "dashboards/d.yaml: figures.0.sql:1:12: no column `revenu`; did you mean `revenue`?";
    assert!(error.starts_with(place), "{error}");
    assert!(!case.artifact().exists(), "nothing half-made stays");

    let case =
        Case::new(&DASHBOARD.replace("kind: bar", "kind: line, series: region"), BY_CATEGORY);
    commit(case.root.path(), "first", &[1.0]).await;
    let error = case.error().await;
    assert!(
        error.starts_with(
            "dashboards/d.yaml: `charts.by_category`: the query's result has no column `region`"
        ),
        "{error}"
    );
    let left: Vec<_> = std::fs::read_dir(case.artifact()).unwrap().collect();
    assert!(left.is_empty(), "nothing half-made stays: {left:?}");
}

#[test]
fn all_that_is_referred_to_is_read() {
    let mut read = Vec::new();
    let kind = Report::new(Arc::new(Engine::default()));
    kind.refer(&json!({"dashboard": "dashboards/d.yaml"}), &mut |path| {
        read.push(path.to_owned());
        (path == "dashboards/d.yaml").then(|| DASHBOARD.to_owned())
    });
    assert_eq!(read, ["dashboards/d.yaml", "sql/by_category.sql"]);
}

#[test]
fn the_shipped_dashboards_are_sound() {
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines");
    for pipeline in ["ecommerce.yaml", "ecommerce_nightly.yaml"] {
        let kinds = crate::kinds(None);
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let found = orchestrator::load::validate(&pipelines.join(pipeline), &kinds, now);
        let problems = match found {
            Ok((_, problems)) | Err(problems) => problems.diagnostics,
        };
        let ours: Vec<_> = problems.iter().filter(|one| one.file.contains("dashboards")).collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }
}
