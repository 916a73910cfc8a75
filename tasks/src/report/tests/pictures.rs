//! Each kind of chart as a picture.

use super::{read, report};
use crate::report::figure::{Figure, Positions, Shape};
use crate::report::theme::{Colour, Theme};
use datafusion::prelude::SessionContext;
use std::collections::HashMap;
use std::path::Path;

/// One chart of each kind, each over the same small table.
const KINDS: &str = "
title: All kinds
charts:
  line: {title: Line, kind: line, x: day, y: [a, b], sql: select * from t}
  area: {title: Area, kind: area, x: day, y: a, sql: select * from t}
  areas: {title: Areas, kind: area, x: day, y: [a, b], sql: select * from t}
  bar: {title: Bar, kind: bar, x: name, y: a, sql: select * from t}
  days: {title: Days, kind: bar, x: day, y: a, sql: select * from t}
  horizontal: {title: Horizontal, kind: horizontal_bar, x: name, y: a, sql: select * from t}
  stacked: {title: Stacked, kind: stacked_bar, x: name, y: [a, b], sql: select * from t}
  grouped: {title: Grouped, kind: grouped_bar, x: name, y: [a, b], muted: b, sql: select * from t}
  scatter: {title: Scatter, kind: scatter, x: a, y: b, series: name, sql: select * from t}
  heatmap: {title: Heat map, kind: heatmap, x: day, y: name, value: a, sql: select * from t}
  histogram: {title: Histogram, kind: histogram, x: b, bins: 5, sql: select * from t}
";

const TABLE: &str = "
create table t as select cast(day as date) as day, name, a, b from (values
  ('2026-11-20', 'Äpfel & Birnen', 12, 1.5),
  ('2026-11-21', 'Books', 30, 2.5),
  ('2026-11-22', 'Toys', null, 4.0),
  ('2026-11-23', 'Garden', 18, 4.5)
) as t(day, name, a, b)";

/// Pixels by colour.
fn pixels(path: &Path) -> (u32, u32, HashMap<(u8, u8, u8), usize>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let mut colours = HashMap::new();
    for pixel in bytes.chunks_exact(3) {
        *colours.entry((pixel[0], pixel[1], pixel[2])).or_insert(0) += 1;
    }
    (info.width, info.height, colours)
}

#[tokio::test]
async fn every_kind_is_drawn() {
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("TIDEMILL_REPORT_DIR").map(std::path::PathBuf::from);
    let root = kept.as_deref().unwrap_or(scratch.path()).join("kinds");
    let session = SessionContext::new();
    session.sql(TABLE).await.unwrap().collect().await.unwrap();
    report(&root, KINDS, &session, &["t"]).await;
    for chart in read(KINDS, &["t"]).charts {
        let (width, height, colours) = pixels(&root.join(format!("charts/{}.png", chart.name)));
        assert_eq!(width, 2240, "{}", chart.name);
        let all: usize = colours.values().sum();
        assert_eq!(all as u32, width * height);
        let count = |colour| colours.get(&Theme::Light.rgb(colour)).copied().unwrap_or(0);
        assert!(count(Colour::Paper) * 2 > all, "{}: most of it is paper", chart.name);
        assert!(count(Colour::Series(0)) > 250, "{}: the data is drawn", chart.name);
        assert!(count(Colour::Ink) > 250, "{}: the title is drawn", chart.name);
        let second = match chart.name.as_str() {
            "line" | "stacked" => Colour::Series(1),
            "grouped" => Colour::Edge,
            _ => Colour::Series(0),
        };
        assert!(count(second) > 250, "{}: the second series is drawn", chart.name);
        let svg = std::fs::read_to_string(root.join(format!("charts/{}.svg", chart.name))).unwrap();
        assert_well_formed(&svg);
        assert!(svg.contains("font-family=\"system-ui, "), "{}", chart.name);
        assert!(svg.contains("sans-serif\""), "{}", chart.name);
        assert!(!svg.contains("<image"), "{}: letters are letters", chart.name);
    }
    let svg = std::fs::read_to_string(root.join("charts/bar.svg")).unwrap();
    assert!(svg.contains("Äpfel &amp; Birnen") || svg.contains("Äpfel &amp;"), "{svg}");
}

#[tokio::test]
async fn gaps_stay_gaps() {
    let scratch = tempfile::tempdir().unwrap();
    let session = SessionContext::new();
    session.sql(TABLE).await.unwrap().collect().await.unwrap();
    let text =
        "title: T\ncharts:\n  line: {title: L, kind: line, x: day, y: a, sql: select * from t}";
    let page = report(scratch.path(), text, &session, &["t"]).await;
    let trace = &super::plot(&page, "line")["data"][0];
    assert_eq!(trace["y"], serde_json::json!([12, 30, null, 18]));
    assert_eq!(trace["x"][0], "2026-11-20");
    assert_eq!(trace["marker"]["size"], serde_json::json!([0, 0, 0, 5]), "the last stands alone");
    let svg = std::fs::read_to_string(scratch.path().join("charts/line.svg")).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 1);
    assert_eq!(svg.matches("<circle").count(), 1);
}

#[tokio::test]
async fn bins_hold_every_row_once() {
    let session = SessionContext::new();
    let sql = "select cast(column1 as double) as v from (values (0), (1), (10), (19), (20)) as t";
    let answer = crate::report::sample::answer(&session, sql).await;
    let frame = crate::report::data::Frame::new(&answer.schema, &answer.batches).unwrap();
    let text = format!(
        "title: T\ncharts:\n  h: {{title: H, kind: histogram, x: v, bins: 2, sql: \"{sql}\"}}"
    );
    let dashboard = read(&text, &["t"]);
    let figure = Figure::new(&dashboard.charts[0], &frame, "$").unwrap();
    let bins = Shape::Bins { edges: vec![0.0, 10.0, 20.0], counts: vec![2.0, 3.0] };
    assert_eq!(figure.shape, bins);
}

#[tokio::test]
async fn series_are_aligned() {
    let session = SessionContext::new();
    let sql = "select * from (values (3, 'b', 1), (1, 'a', 2), (3, 'a', 3)) as t(x, s, y)";
    let answer = crate::report::sample::answer(&session, sql).await;
    let frame = crate::report::data::Frame::new(&answer.schema, &answer.batches).unwrap();
    let text = format!(
        "title: T\ncharts:\n  c: {{title: C, kind: line, x: x, y: y, series: s, sql: \"{sql}\"}}"
    );
    let figure = Figure::new(&read(&text, &[]).charts[0], &frame, "$").unwrap();
    let Shape::Aligned { at, series } = &figure.shape else { panic!("{figure:?}") };
    assert_eq!(at, &Positions::Numbers(vec![1.0, 3.0]));
    assert_eq!((series[0].name.as_str(), &series[0].values), ("b", &vec![None, Some(1.0)]));
    assert_eq!((series[1].name.as_str(), &series[1].values), ("a", &vec![Some(2.0), Some(3.0)]));
}

/// Fails unless tags are closed in order, attributes are quoted and `&` begins an entity.
pub(super) fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        assert_entities(&rest[..start]);
        let end = rest[start..].find('>').expect("a tag ends") + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.trim()), "closed in order");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        let quoted: Vec<&str> = tag.split('"').collect();
        assert!(quoted.len() % 2 == 1, "quotes come in pairs: {tag}");
        for value in quoted.iter().skip(1).step_by(2) {
            assert_entities(value);
        }
        let names: Vec<&str> =
            quoted.iter().step_by(2).flat_map(|part| part.split([' ', '='])).collect();
        for (i, attribute) in names.iter().enumerate().filter(|(_, name)| name.len() > 1) {
            assert!(!names[..i].contains(attribute), "{attribute} is there twice: {tag}");
        }
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

fn assert_entities(text: &str) {
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;"];
        assert!(known.iter().any(|entity| text[at..].starts_with(entity)), "{}", &text[at..]);
    }
    assert!(!text.contains('<'));
}
