//! The SQL of a dashboard: where it is written, and what can be said of it without running it.

use super::yaml::{listed, nearest};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
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

    /// Checks that this is one query, and that it reads nothing but the given inputs.
    pub(super) fn check(&self, inputs: &[&str]) -> Vec<Fault> {
        let statement = match parse(&self.sql) {
            Ok(statement) => statement,
            Err(fault) => return vec![fault],
        };
        let is_query = matches!(&statement, Statement::Statement(inner)
            if matches!(**inner, SqlStatement::Query(_)));
        if !is_query {
            let message = "this statement is not a query".to_owned();
            let help = Some("a dashboard only reads: begin with `select` or `with`".to_owned());
            return vec![Fault { message, help, range: first_word(&self.sql) }];
        }
        let Ok((tables, _)) = resolve_table_references(&statement, true) else {
            return Vec::new();
        };
        let unknown = |table: &str| Fault {
            message: format!("there is no input `{table}`"),
            help: Some(match nearest(table, inputs.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if inputs.is_empty() => "give the task `inputs`".into(),
                None => format!("the inputs of the task are {}", listed(inputs)),
            }),
            range: word(&self.sql, table).unwrap_or_else(|| first_word(&self.sql)),
        };
        tables
            .iter()
            .map(ToString::to_string)
            .filter(|table| !inputs.contains(&table.as_str()))
            .map(|table| unknown(&table))
            .collect()
    }
}

fn parse(sql: &str) -> Result<Statement, Fault> {
    let fault = |message: String, range| Fault { message, help: None, range };
    let statements = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let mut statements = match statements {
        Ok(statements) => statements,
        Err(error) => {
            let text = error.strip_backtrace();
            let (message, range) = parser_message(&text, sql);
            return Err(fault(message, range));
        }
    };
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(fault("there is no statement here".into(), 0..sql.len())),
        (Some(_), more) => {
            let message = format!("one query is needed here, not {}", more + 1);
            Err(fault(message, first_word(sql)))
        }
    }
}

/// The parser's message without its trappings, and the place that it names.
fn parser_message(text: &str, sql: &str) -> (String, Range<usize>) {
    let start = text.find("ParserError(\"").map_or(0, |at| at + "ParserError(\"".len());
    let inner = text[start..].trim_end_matches("\")");
    let inner = inner.trim_start_matches("SQL error: ");
    let Some((message, place)) = inner.rsplit_once(" at Line: ") else {
        return (lower_first(inner), first_word(sql));
    };
    let mut numbers = place.split(", Column: ").map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().unwrap_or(1)
    });
    let (line, column) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
    (lower_first(message), token_at(sql, line, column))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The bytes of the word that begins at a line and column, both counted from 1.
pub(super) fn token_at(sql: &str, line: usize, column: usize) -> Range<usize> {
    let mut start = 0;
    for text in sql.split_inclusive('\n').take(line.saturating_sub(1)) {
        start += text.len();
    }
    let text = sql[start..].lines().next().unwrap_or_default();
    let offset = text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    let rest = &text[offset..];
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let next = rest.chars().next().map_or(0, char::len_utf8);
    start + offset..start + offset + length.max(next)
}

fn first_word(sql: &str) -> Range<usize> {
    let start = sql.len() - sql.trim_start().len();
    let length = sql[start..].find(char::is_whitespace).unwrap_or(sql.len() - start);
    start..start + length
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
        let faults: Vec<String> = query
            .check(&["daily", "orders"])
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
        check("select day from daily", "");
        check("with d as (select 1 as a) select a from d -- and no more", "");
        check("select * from dialy", "[dialy] there is no input `dialy` (did you mean `daily`?)");
        check(
            "select *\nfrom products",
            "[products] there is no input `products` (the inputs of the task are `daily` and `orders`)",
        );
        check(
            "drop table daily",
            "[drop] this statement is not a query \
             (a dashboard only reads: begin with `select` or `with`)",
        );
        check("select 1; select 2", "[select] one query is needed here, not 2");
        check("select day\nfrom daily wher x = 1 +", "[x] expected: end of statement, found: x");
        check("-- nothing", "[-- nothing] there is no statement here");
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
