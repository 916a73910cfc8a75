//! A report as a whole: from a dashboard's text and tables to files.

mod kind;
mod mistakes;
mod numbers;
mod pictures;

use super::dashboard::{self, Dashboard};
use super::page::{Made, MadeFrom};
use super::query::Names;
use super::render::{Answers, write};
use super::sample;
use crate::engine::Engine;
use crate::engine::offline::Offline;
use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use indexmap::IndexMap;
use orchestrator::kind::{Files, Known};
use serde_json::Value;
use std::path::Path;

const SALES: &str = include_str!("../../../pipelines/dashboards/sales.yaml");
const NIGHTLY: &str = include_str!("../../../pipelines/dashboards/nightly.yaml");

fn read(text: &str, inputs: &[&str]) -> Dashboard {
    let files = Files::from([("d.yaml".to_owned(), text.to_owned())]);
    let engine = Engine::default();
    let (parameters, columns) = (IndexMap::new(), Offline::new(&engine, &Known::new()));
    let names = Names { inputs, parameters: &parameters, columns: &columns };
    dashboard::read("d.yaml", &files, names).unwrap_or_else(|problems| panic!("{problems:#?}"))
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

/// Draws the dashboard of the session's tables, and gives the page.
async fn report(directory: &Path, text: &str, session: &SessionContext, inputs: &[&str]) -> String {
    let dashboard = read(text, inputs);
    let answers = answers(session, &dashboard).await;
    write(directory, &dashboard, &answers, &made(), &|| Ok(())).unwrap();
    std::fs::read_to_string(directory.join("index.html")).unwrap()
}

/// The shipped dashboard over the orders and what is derived from them.
async fn shipped(directory: &Path, text: &str, orders: RecordBatch) -> String {
    let session = sample::session(orders).await;
    let aggregates = sample::AGGREGATES.iter().map(|(name, _)| *name);
    let inputs: Vec<&str> = aggregates.chain(["orders"]).collect();
    report(directory, text, &session, &inputs).await
}

/// What the page's script gets to draw: the chart of that name.
fn plot(page: &str, name: &str) -> Value {
    let (_, after) = page.split_once("<script type=\"application/json\" id=\"charts\">").unwrap();
    let (json, _) = after.split_once("</script>").unwrap();
    let charts: Vec<Value> = serde_json::from_str(json).unwrap();
    charts.into_iter().find(|chart| chart["name"] == name).unwrap()
}

/// `TIDEMILL_REPORT_DIR=/tmp/report cargo test -p tidemill-tasks look_at` leaves a page there.
#[tokio::test]
async fn look_at_the_nightly_dashboard() {
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("TIDEMILL_REPORT_DIR").map(std::path::PathBuf::from);
    let root = kept.as_deref().unwrap_or(scratch.path()).join("nightly");
    let page = shipped(&root, NIGHTLY, sample::orders(5_000)).await;
    assert_eq!(plot(&page, "revenue_by_day")["data"][0]["x"].as_array().unwrap().len(), 365);
}

#[tokio::test]
async fn a_page_asks_nobody() {
    let scratch = tempfile::tempdir().unwrap();
    let session = SessionContext::new();
    let text = "title: T\ncharts:\n  a: \
                {title: A, kind: bar, x: x, y: y, sql: \"select 'a' as x, 1 as y\"}";
    let page = report(scratch.path(), text, &session, &[]).await;
    assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none';"));
    // Scripts may name the standards and the makers that they come from; the page itself does not.
    let mut rest = page.as_str();
    let mut outside = String::new();
    while let Some((before, script)) = rest.split_once("<script") {
        outside.push_str(before);
        rest = script.split_once("</script>").unwrap().1;
    }
    outside.push_str(rest);
    let outside = outside.replace("http://www.w3.org/2000/svg", "");
    for outward in ["http:", "https:", "//", "url(", "@import", "<link", "<img", "<iframe"] {
        assert!(!outside.contains(outward), "{outward}");
    }
}

#[tokio::test]
async fn hostile_texts_stay_texts() {
    let scratch = tempfile::tempdir().unwrap();
    let session = SessionContext::new();
    let hostile = "</script><script>alert(1)</script>";
    let text = format!(
        r#"
title: "{hostile}"
subtitle: "<img src=x onerror=alert(1)>"
figures:
  - {{label: "{hostile}", note: "{hostile}", sql: select 1}}
charts:
  a:
    title: "{hostile}"
    note: "{hostile}"
    kind: grouped_bar
    x: x
    y: y
    series: s
    x_title: "{hostile}"
    y_title: "{hostile}"
    sql: select '{hostile}' as x, '<b>' || s as s, 1 as y from (values ('one'), ('two')) as t(s)
tables:
  b: {{title: "{hostile}", sql: "select '{hostile}' as \"<i>\""}}
"#
    );
    let page = report(scratch.path(), &text, &session, &[]).await;
    assert!(!page.contains("<script>alert"), "a text became a script");
    assert!(!page.contains("<img"), "a text became an element");
    let elements = page.matches("<script").count();
    assert_eq!(page.matches("</script>").count(), elements);
    let plot = plot(&page, "a");
    let shown = "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;";
    assert_eq!(plot["data"][0]["x"][0], shown, "plotly gets text without tags");
    assert_eq!(plot["data"][0]["name"], "&lt;b&gt;one");
    assert_eq!(plot["layout"]["xaxis"]["title"]["text"], shown);
    let svg = std::fs::read_to_string(scratch.path().join("charts/a.svg")).unwrap();
    pictures::assert_well_formed(&svg);
    assert!(!svg.contains("<script"));
}

#[tokio::test]
async fn no_rows_are_told() {
    let scratch = tempfile::tempdir().unwrap();
    let session = SessionContext::new();
    let text = r"
title: T
figures: [{label: Nothing, sql: select 1 as a where false}]
charts:
  a: {title: A, kind: line, x: x, y: y, sql: 'select 1 as x, 2 as y where false'}
  b: {title: B, kind: heatmap, x: x, y: x, value: v, sql: 'select 1 as x, cast(null as int) as v'}
  c: {title: C, kind: scatter, x: x, y: y, sql: 'select 1 as x, cast(null as double) as y'}
tables:
  d: {title: D, sql: select 1 as a where false}
";
    let page = report(scratch.path(), text, &session, &[]).await;
    assert_eq!(page.matches("No rows: the query gave nothing to draw.").count(), 3);
    assert_eq!(page.matches("No rows: the query gave nothing to show.").count(), 1);
    assert!(page.contains(">no rows</dd>"));
    assert!(!page.contains("id=\"charts\""), "there is nothing to draw, and so no script");
    let svg = std::fs::read_to_string(scratch.path().join("charts/a.svg")).unwrap();
    assert!(svg.contains("No rows"));
    assert_eq!(std::fs::read_to_string(scratch.path().join("data/a.csv")).unwrap(), "x,y\n");
}
