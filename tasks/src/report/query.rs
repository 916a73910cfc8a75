//! The SQL of a dashboard: where it is written, and what can be said of it without running it.

use super::yaml::listed;
use crate::engine::{nearest, sql};
use datafusion::sql::parser::DFParser;
use datafusion::sql::resolve::resolve_table_references;
use orchestrator::kind::FilePlace;
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
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) inputs: &'a [&'a str],
    pub(super) parameters: &'a [&'a str],
}

/// What is wrong with a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// Bytes of the statement.
    pub(super) range: Range<usize>,
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

    /// Checks that this is one query, and that it names nothing but known inputs and parameters.
    pub(super) fn check(&self, known: &Known<'_>) -> Vec<Fault> {
        if let Err(sql::Fault { range, message }) = sql::check_query(&self.sql) {
            return vec![Fault { message, help: None, range }];
        }
        let tables = DFParser::parse_sql(&self.sql)
            .ok()
            .and_then(|mut statements| statements.pop_front())
            .and_then(|statement| resolve_table_references(&statement, true).ok());
        let tables = tables.into_iter().flat_map(|(tables, _)| tables);
        let mut faults: Vec<Fault> = tables
            .map(|table| table.to_string())
            .filter(|table| !known.inputs.contains(&table.as_str()) && !self.calls(table))
            .map(|table| self.unknown_table(&table, known.inputs))
            .collect();
        for (name, range) in sql::parameters(&self.sql) {
            if !known.parameters.contains(&name.as_str()) {
                let near = nearest(&name, known.parameters.iter().copied());
                let help = match near {
                    Some(near) => format!("did you mean `${near}`?"),
                    None => "give it under `parameters` of the task".into(),
                };
                let message = format!("there is no parameter `{name}`");
                faults.push(Fault { message, help: Some(help), range });
            }
        }
        faults
    }

    /// Whether the name is that of a function that gives rows, such as `generate_series`.
    fn calls(&self, name: &str) -> bool {
        let after = word(&self.sql, name).map(|range| self.sql[range.end..].trim_start());
        after.is_some_and(|after| after.starts_with('('))
    }

    fn unknown_table(&self, table: &str, inputs: &[&str]) -> Fault {
        let help = match nearest(table, inputs.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if inputs.is_empty() => "give the task `inputs`".into(),
            None => format!("the inputs of the task are {}", listed(inputs)),
        };
        Fault {
            message: format!("there is no input `{table}`"),
            help: Some(help),
            range: word(&self.sql, table).unwrap_or(0..self.sql.trim_end().len()),
        }
    }
}

/// Where the word stands by itself, whatever its case.
fn word(sql: &str, word: &str) -> Option<Range<usize>> {
    let (lower, word) = (sql.to_ascii_lowercase(), word.to_ascii_lowercase());
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    lower
        .match_indices(&word)
        .map(|(at, found)| at..at + found.len())
        .find(|range| {
            !lower[..range.start].ends_with(is_part) && !lower[range.end..].starts_with(is_part)
        })
        .filter(|range| range.end <= sql.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expect: &str) {
        let query = Query { sql: sql.into(), at: String::new(), file: None, range: 0..0 };
        let known = Known { inputs: &["daily", "orders"], parameters: &["night"] };
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
        check("select * from dialy", "[dialy] there is no input `dialy` (did you mean `daily`?)");
        check(
            "select *\nfrom x",
            "[x] there is no input `x` (the inputs of the task are `daily` and `orders`)",
        );
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
