//! What is wrong with a dashboard, and where.

use super::{answers, made, read};
use crate::engine::Engine;
use crate::engine::offline::Offline;
use crate::report::dashboard;
use crate::report::query::Names;
use crate::report::render::write;
use datafusion::prelude::SessionContext;
use indexmap::IndexMap;
use orchestrator::kind::{Files, Known, Part};

/// Each problem as `line:column message (help)`, one in a line.
fn problems(text: &str, files: &[(&str, &str)]) -> String {
    problems_over(&Known::new(), text, files)
}

fn problems_over(known: &Known, text: &str, files: &[(&str, &str)]) -> String {
    let mut all = Files::from([("d.yaml".to_owned(), text.to_owned())]);
    all.extend(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    let engine = Engine::default();
    let columns = Offline::new(&engine, known);
    let names = Names { inputs: &["daily"], parameters: &IndexMap::new(), columns: &columns };
    let problems = dashboard::read("d.yaml", &all, names).err().unwrap_or_default();
    let line = |problem: &orchestrator::kind::Problem| {
        let Some(Part::File(place)) = &problem.part else { panic!("{problem:?}") };
        assert_eq!(problem.path, ["with", "dashboard"]);
        let before = &all[&place.path][..place.range.start];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        let file = if place.path == "d.yaml" { String::new() } else { format!("{} ", place.path) };
        let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{file}{line}:{column} {}{help}", problem.message)
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn check(text: &str, expect: &str) {
    assert_eq!(problems(text, &[]), expect.trim(), "{text}");
}

#[test]
fn all_at_once() {
    check(
        "titel: Sales
figures:
  - {label: Revenue, sql: selec 1, format: money}
charts:
  sales:
    title: Sales
    kind: lime
    x: day
    y: revenue
    sql: |
      select day, revenue
      from dialy
  Top 10: {kind: bar, x: a, y: [b, c], series: d, sql: select 1}
",
        "
1:1 there is no key `titel` here (did you mean `title`?)
1:1 the key `title` is missing
3:27 `figures.0.sql`: expected: an SQL statement, found: selec
3:44 `figures.0.format`: `money` is not known here (it may be `integer`, `decimal`, `percent` and `currency`)
7:11 `charts.sales.kind`: `lime` is not known here (did you mean `line`?)
12:12 `charts.sales.sql`: no input `dialy` (did you mean `daily`?)
13:3 `charts.Top 10`: this name becomes a file's name and can't be one (use lowercase letters, digits and `_`)
13:3 `charts.Top 10`: the key `title` is missing
",
    );
}

#[test]
fn keys_that_do_not_fit_the_kind() {
    check(
        "title: T
charts:
  a: {title: A, kind: bar, x: x, y: [p, q], sql: select 1}
  b: {title: B, kind: heatmap, x: x, sql: select 1}
  c: {title: C, kind: line, x: x, y: [p, q], series: s, bins: 3, sql: select 1}
  d: {title: D, kind: histogram, x: x, bins: 1, width: wide, sql: select 1}
",
        "
3:37 `charts.a.y`: a chart `bar` draws one column (choose one of them)
4:3 `charts.b`: the key `y` is missing, which a chart `heatmap` needs (name the column of its rows)
4:3 `charts.b`: the key `value` is missing, which a heatmap needs (name the column that colours the cells)
5:54 `charts.c.series`: several columns can't be split into series (keep either `series` or the list of columns)
5:63 `charts.c.bins`: a chart `line` has no `bins` (leave it out)
6:46 `charts.d.bins`: a number from 2 to 500 is needed here, not a number
6:56 `charts.d.width`: `wide` is not known here (it may be `full` and `half`)
",
    );
}

#[test]
fn other_shapes() {
    check("title: T", "1:1 there is nothing to show (add `figures`, `charts` or `tables`)");
    check("- a", "1:1 a mapping of keys to values is needed here, not a list");
    check(
        "title: 2026\ntables: {a: {title: A, sql: ''}, a: {title: B, sql: select 1}}",
        "
2:34 `tables.a`: the key `a` stands here twice (remove one of the two, or give it another name)
1:8 `title`: text is needed here, not a number (put it in quotes)
2:29 `tables.a.sql`: this is empty
",
    );
    check(
        "title: T\ncharts: {a: {title: A, kind: bar, x: x, y: y, sql: select 1}}\ntables: {a: {title: A, sql: select 1}}",
        "3:10 `tables.a`: a chart has this name too; their files would be one",
    );
}

#[test]
fn a_place_in_an_sql_file() {
    let text = "title: T\ntables: {a: {title: A, sql: sql/a.sql}}";
    let sql = "-- all\nselect *\nfrom daily\nwhere 1 = = 2";
    assert_eq!(
        problems(text, &[("sql/a.sql", sql)]),
        "sql/a.sql 4:11 `tables.a.sql`: expected: an expression, found: ="
    );
    assert_eq!(dashboard::referred("d.yaml", text), ["sql/a.sql"]);
}

/// Errors that only the data can show.
#[tokio::test]
async fn results_that_can_not_be_drawn() {
    let check = async |chart: &str, expect: &str| {
        let session = SessionContext::new();
        let dashboard = read(&format!("title: T\ncharts:\n  a: {{title: A, {chart}}}"), &["t"]);
        let answers = answers(&session, &dashboard).await;
        let scratch = tempfile::tempdir().unwrap();
        let error = write(scratch.path(), &dashboard, &answers, &made(), &|| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), format!("d.yaml: `charts.a`: {expect}"));
    };
    check(
        "kind: line, x: dya, y: n, sql: select 1 as day",
        "the query's result has no column `dya`; there are `day`",
    )
    .await;
    check(
        "kind: line, x: day, y: n, sql: \"select 1 as day, 'x' as n\"",
        "the column `n` holds text, but numbers are needed to draw it",
    )
    .await;
    check(
        "kind: bar, x: d, y: n, sql: \"select 'x' as d, column1 as n from (values (1), (2)) as t\"",
        "two rows have `d` = x; group the rows in the query, or name the column that tells them \
         apart in `series`",
    )
    .await;
    check(
        "kind: line, x: d, y: d, series: d, sql: \"select column1 as d from (values (1), (2), (3), (4), (5), (6), (7), (8)) as t\"",
        "the column `d` has 8 values, and at most 7 series can be told apart; group the rest in \
         the query",
    )
    .await;
}

/// The columns of `daily` are known, and so are those of what is asked of it.
#[test]
fn columns_that_a_query_does_not_give() {
    let daily = [("day", "Date32"), ("revenue", "Float64")];
    let daily = daily.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    let known = Known::from([("daily".to_owned(), daily.into())]);
    let text = "title: Sales
charts:
  sales:
    title: Sales
    kind: line
    x: dya
    y: [revenue, orders]
    sql: select day, revenue from daily
tables:
  days:
    title: Days
    columns: {day: Day, revenu: Revenue}
    sql: select day, sum(revenue) as revenue from daily group by 1
";
    let expect = "
6:8 `charts.sales.x`: the query's result has no column `dya` (there are `day`, `revenue`)
7:8 `charts.sales.y`: the query's result has no column `orders` (there are `day`, `revenue`)
12:14 `tables.days.columns`: the query's result has no column `revenu` (did you mean `revenue`?)
";
    assert_eq!(problems_over(&known, text, &[]), expect.trim());
}
