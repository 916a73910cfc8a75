use super::dashboard::{self, Dashboard};
use super::page::{Made, MadeFrom};
use super::render::{Answers, write};
use super::sample;
use datafusion::prelude::SessionContext;
use orchestrator::kind::Files;
use std::path::Path;

const SALES: &str = include_str!("../../../pipelines/dashboards/sales.yaml");
const NIGHTLY: &str = include_str!("../../../pipelines/dashboards/nightly.yaml");

fn read(text: &str, inputs: &[&str]) -> Dashboard {
    let files = Files::from([("d.yaml".to_owned(), text.to_owned())]);
    dashboard::read("d.yaml", &files, inputs).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

async fn answers(session: &SessionContext, dashboard: &Dashboard) -> Answers {
    let mut answers = Answers::default();
    for figure in &dashboard.figures {
        answers.figures.push(sample::answer(session, &figure.query.sql).await);
    }
    for chart in &dashboard.charts {
        answers.charts.push(sample::answer(session, &chart.query.sql).await);
    }
    for table in &dashboard.tables {
        answers.tables.push(sample::answer(session, &table.query.sql).await);
    }
    answers
}

fn made() -> Made {
    let from = |(port, version)| MadeFrom {
        port: String::from(port),
        dataset: format!("table:{port}"),
        version: Some(version),
    };
    Made {
        pipeline: "ecommerce".into(),
        task: "report".into(),
        run: "01997f3e".into(),
        interval: "23 Nov 2026".into(),
        at: "Tue 24 Nov 2026, 11:43 UTC".into(),
        version: "0.1.0",
        inputs: [("daily", 3), ("orders", 4)].map(from).into(),
    }
}

async fn report(directory: &Path, text: &str, orders: arrow::array::RecordBatch) {
    let session = sample::session(orders).await;
    let inputs: Vec<&str> =
        sample::AGGREGATES.iter().map(|(name, _)| *name).chain(["orders"]).collect();
    let dashboard = read(text, &inputs);
    let answers = answers(&session, &dashboard).await;
    write(directory, "dashboards/d.yaml", &dashboard, &answers, &made(), &|| Ok(())).unwrap();
}

/// `TIDEMILL_REPORT_DIR=/tmp/report cargo test -p tidemill-tasks look_at` leaves the pages there.
#[tokio::test]
async fn look_at_the_shipped_dashboards() {
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("TIDEMILL_REPORT_DIR").map(std::path::PathBuf::from);
    let root = kept.as_deref().unwrap_or(scratch.path());
    report(&root.join("sales"), SALES, sample::orders(20_000)).await;
    report(&root.join("nightly"), NIGHTLY, sample::orders(20_000)).await;
    for page in ["sales", "nightly"] {
        assert!(root.join(page).join("index.html").exists());
    }
}
