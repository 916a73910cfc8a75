//! The SQL of a dashboard: where it is written, and what can be said of it without running it.

use crate::engine::offline::Offline;
use crate::engine::sql::Fault;
use crate::engine::{nearest, sql};
use indexmap::IndexMap;
use orchestrator::kind::FilePlace;
use serde_json::Value;
use std::ops::Range;

/// One statement of a dashboard.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) sql: String,
    /// Where in the dashboard it belongs: `charts.sales_over_time.sql`.
    pub(super) at: String,
    /// The file that holds it; `None`: the dashboard itself.
    pub(super) file: Option<String>,
    /// The value of `sql:` in the dashboard's text.
    pub(super) range: Range<usize>,
}

/// What queries may name.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) inputs: &'a [&'a str],
    pub(super) parameters: &'a IndexMap<String, Value>,
    pub(super) columns: &'a Offline<'a>,
}

impl Query {
    /// Whether the value of `sql:` names a file rather than being the statement.
    pub(super) fn names_a_file(text: &str) -> bool {
        text.ends_with(".sql") && !text.contains(char::is_whitespace)
    }

    /// The place for people: the SQL file, or the key in the dashboard.
    pub(super) fn place(&self, dashboard: &str) -> String {
        match &self.file {
            Some(file) => file.clone(),
            None => format!("{dashboard}: {}", self.at),
        }
    }

    /// The part of the dashboard that shows the result: `charts.sales_over_time`.
    pub(super) fn part(&self) -> &str {
        self.at.trim_end_matches(".sql")
    }

    /// Where bytes of the statement stand, in the SQL file or in the dashboard's text.
    pub(super) fn locate(&self, within: Range<usize>, dashboard: (&str, &str)) -> FilePlace {
        if let Some(file) = &self.file {
            return FilePlace { path: file.clone(), range: within };
        }
        let (path, text) = dashboard;
        let range = self.inline(&within, text).unwrap_or_else(|| self.range.clone());
        FilePlace { path: path.into(), range }
    }

    /// The bytes in the dashboard's text, if its YAML shows the statement line by line.
    fn inline(&self, within: &Range<usize>, text: &str) -> Option<Range<usize>> {
        let before = self.sql.get(..within.start)?;
        let line = before.matches('\n').count();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let written = self.sql.lines().nth(line).unwrap_or_default();
        let first_line = text.get(..self.range.start)?.rfind('\n').map_or(0, |newline| newline + 1);
        let mut start = first_line;
        for _ in 0..line {
            start += text.get(start..)?.find('\n')? + 1;
        }
        let source = text.get(start..)?.lines().next()?;
        let offset = start + source.find(written)? + (within.start - line_start);
        let length = within.len().min(written.len().saturating_sub(within.start - line_start));
        Some(offset..offset + length.max(1))
    }

    /// Checks that this is one query, and that it names nothing but known inputs, parameters and
    /// columns.
    pub(super) fn check(&self, known: &Names<'_>) -> Vec<Fault> {
        if let Err(fault) = sql::check_query(&self.sql) {
            return vec![fault];
        }
        let mut faults = sql::unknown_tables(&self.sql, known.inputs);
        for (name, range) in sql::parameters(&self.sql) {
            if !known.parameters.contains_key(&name) {
                let near = nearest(&name, known.parameters.keys().map(String::as_str));
                let help = match near {
                    Some(near) => format!("did you mean `${near}`?"),
                    None => "give it under `parameters` of the task".into(),
                };
                let message = format!("there is no parameter `{name}`");
                faults.push(Fault { message, help: Some(help), range });
            }
        }
        if faults.is_empty() {
            faults.extend(known.columns.query(&self.sql, known.parameters).and_then(Result::err));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn check(sql: &str, expect: &str) {
        let query = Query { sql: sql.into(), at: String::new(), file: None, range: 0..0 };
        let parameters = IndexMap::from([("night".to_owned(), Value::from("2026-11-24"))]);
        let engine = crate::engine::Engine::default();
        let columns = Offline::new(&engine, &HashMap::new());
        let inputs = &["daily", "orders"];
        let known = Names { inputs, parameters: &parameters, columns: &columns };
        let faults: Vec<String> = query
            .check(&known)
            .into_iter()
            .map(|fault| {
                let help = fault.help.map(|help| format!(" ({help})")).unwrap_or_default();
                format!("[{}] {}{help}", &sql[fault.range], fault.message)
            })
            .collect();
        assert_eq!(faults.join("; "), expect, "{sql}");
    }

    #[test]
    fn statements() {
        check("select day from daily where day = $night", "");
        check("with d as (select 1 as a) select a from d -- and no more", "");
        check("select value from generate_series(0, 23)", "");
        check("select * from dialy", "[dialy] no input `dialy` (did you mean `daily`?)");
        check("select *\nfrom x", "[x] no input `x` (there are `daily`, `orders`)");
        check("drop table daily", "[drop table daily] this is not a SELECT");
        check("select day\nfrom daily wher x = 1 +", "[x] expected: end of statement, found: x");
        check("-- none", "[-- none] no SQL here; write one SELECT");
        check(
            "select day from daily where day = $nigth",
            "[$nigth] there is no parameter `nigth` (did you mean `$night`?)",
        );
    }

    #[test]
    fn a_place_in_the_statement_is_a_place_in_the_dashboard() {
        let text = "charts:\n  a:\n    sql: |\n      select day\n      from dialy\n  b: {}\n";
        let start = text.find("select").unwrap();
        let sql = "select day\nfrom dialy\n";
        let query =
            Query { sql: sql.into(), at: "charts.a.sql".into(), file: None, range: start..start };
        let within = sql.find("dialy").unwrap()..sql.find("dialy").unwrap() + 5;
        let place = query.locate(within.clone(), ("d.yaml", text));
        assert_eq!(&text[place.range], "dialy");

        let text = "sql: select day from dialy";
        let query = Query { sql: text[5..].into(), range: 5..text.len(), ..query };
        let within = 16..21;
        assert_eq!(&text[query.locate(within, ("d.yaml", text)).range], "dialy");
    }
}
