//! SQL texts: what can be told of them without running them, and where an error lies in them.

use super::errors::{message, task_error};
use super::nearest;
use datafusion::common::{DFSchema, DataFusionError, Diagnostic, SchemaError};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser::{DFParser, Statement as DfStatement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Statement, Value as SqlValue, VisitMut, visit_expressions_mut,
};
#[cfg(feature = "spark")]
use datafusion::sql::sqlparser::ast::{ObjectNamePart, visit_relations};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};
use indexmap::IndexMap;
use orchestrator::attempt::TaskError;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// What is wrong with a text, where (a range of its bytes), and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    fn new(range: Range<usize>, message: impl Into<String>) -> Fault {
        Fault { range, message: message.into(), help: None }
    }
}

/// Whether the text is one query in valid SQL.
pub(crate) fn check_query(sql: &str) -> Result<(), Fault> {
    let statements =
        Parser::parse_sql(&GenericDialect {}, sql).map_err(|error| fault(sql, &error))?;
    let whole = 0..sql.trim_end().len();
    match &statements[..] {
        [Statement::Query(_)] => Ok(()),
        [] => Err(Fault::new(whole, "no SQL here; write one SELECT")),
        [_] => Err(Fault::new(whole, "this is not a SELECT")),
        more => Err(Fault::new(whole, format!("{} statements here; write one SELECT", more.len()))),
    }
}

/// Whether the text is one expression in valid SQL.
pub(crate) fn check_expression(sql: &str) -> Result<(), Fault> {
    let parse = || {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql)?;
        parser.parse_expr()?;
        parser.expect_token(&Token::EOF).map(|_| ())
    };
    parse().map_err(|error| fault(sql, &error))
}

/// The parameters that a text uses, without their `$`, each with its first place.
pub(crate) fn parameters(sql: &str) -> IndexMap<String, Range<usize>> {
    let mut found = IndexMap::new();
    for (token, range) in tokens(sql) {
        if let Token::Placeholder(name) = token
            && let Some(name) = name.strip_prefix('$')
        {
            found.entry(name.to_owned()).or_insert(range);
        }
    }
    found
}

fn tokens(sql: &str) -> impl Iterator<Item = (Token, Range<usize>)> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    tokens.unwrap_or_default().into_iter().map(|token| {
        let (start, end) = (offset(sql, token.span.start), offset(sql, token.span.end));
        (token.token, start..end.max(start))
    })
}

fn fault(sql: &str, error: &ParserError) -> Fault {
    let (message, at) = located(error);
    let start = match at {
        Some(at) => offset(sql, at),
        // The parser knows no place for the end.
        None if message.ends_with("found: EOF") => sql.trim_end().len(),
        None => 0,
    };
    Fault::new(start..word_end(sql, start), message)
}

/// The tables that a query names, with their places, without those that it defines itself and
/// without what the engine tells of its tables (`information_schema`).
pub(crate) fn tables_of(sql: &str) -> Vec<(String, Option<Range<usize>>)> {
    let parsed = DFParser::parse_sql(sql).ok().and_then(|mut statements| statements.pop_front());
    let resolved = parsed.and_then(|statement| resolve_table_references(&statement, true).ok());
    let named = resolved.into_iter().flat_map(|(tables, _)| tables);
    // A function that gives rows, such as `generate_series`, is no table.
    let called = called(sql);
    named
        .filter(|table| table.schema() != Some("information_schema"))
        .map(|table| match table.schema() {
            None | Some("public") => table.table().to_owned(),
            Some(_) => table.to_string(),
        })
        .filter(|name| !called.contains(&name.to_lowercase()))
        .map(|name| (name.clone(), word(sql, &name)))
        .collect()
}

/// The words, in small letters, that a bracket follows.
fn called(sql: &str) -> HashSet<String> {
    let words = tokens(sql).map(|(token, _)| token);
    let words: Vec<Token> = words.filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let pairs = words.windows(2).filter_map(|pair| match pair {
        [Token::Word(word), Token::LParen] => Some(word.value.to_lowercase()),
        _ => None,
    });
    pairs.collect()
}

/// The tables that a query names and that are none of `inputs`.
pub(crate) fn unknown_tables(sql: &str, inputs: &[&str]) -> Vec<Fault> {
    let unknown = tables_of(sql).into_iter().filter(|(table, _)| !inputs.contains(&table.as_str()));
    let fault = |(table, range): (String, Option<Range<usize>>)| {
        let (message, mut help) = no_table(&table, inputs);
        if let Some(input) = inputs.iter().find(|input| input.eq_ignore_ascii_case(&table)) {
            help = Some(format!(
                "write it as \"{input}\": SQL takes a name without quotes for small letters"
            ));
        }
        Fault { range: range.unwrap_or(0..sql.trim_end().len()), message, help }
    };
    unknown.map(fault).collect()
}

/// A message as a fragment of a sentence; words of SQL stay in capitals.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// A parser's message, and the place that it ends with.
fn located(error: &ParserError) -> (String, Option<Location>) {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the SQL is nested too deeply",
    };
    let place = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location::new(line.parse().ok()?, column.trim().parse().ok()?)))
    });
    match place {
        Some((message, at)) => (lower_first(message), Some(at)),
        None => (lower_first(text), None),
    }
}

/// An error whose place another engine tells: a line and a column, which count from 1.
#[cfg(feature = "spark")]
pub(crate) fn placed(path: &str, sql: &str, at: Option<(u64, u64)>, message: &str) -> String {
    let range = at.map(|(line, column)| {
        let start = offset(sql, Location::new(line, column));
        start..word_end(sql, start)
    });
    render(path, sql, range, message)
}

/// The tables that a query reads, in small letters; names that it defines itself are among them.
#[cfg(feature = "spark")]
pub(crate) fn relations(sql: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    let statements = Parser::parse_sql(&GenericDialect {}, sql).unwrap_or_default();
    let _ = visit_relations(&statements, |name| {
        if let Some(ObjectNamePart::Identifier(name)) = name.0.last() {
            found.insert(name.value.to_lowercase());
        }
        ControlFlow::<()>::Continue(())
    });
    found
}

/// The texts in single quotes and the parameters of a query, as ranges of its bytes.
#[cfg(feature = "spark")]
pub(crate) fn texts_and_parameters(sql: &str) -> Vec<Range<usize>> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    let wanted = |token: &Token| {
        matches!(token, Token::SingleQuotedString(_))
            || matches!(token, Token::Placeholder(name) if name.starts_with('$'))
    };
    let tokens = tokens.unwrap_or_default().into_iter().filter(|token| wanted(&token.token));
    tokens.map(|token| offset(sql, token.span.start)..offset(sql, token.span.end)).collect()
}

/// The byte at a line and column, which count from 1 in characters.
fn offset(sql: &str, at: Location) -> usize {
    let line = usize::try_from(at.line).unwrap_or(1).max(1) - 1;
    let column = usize::try_from(at.column).unwrap_or(1).max(1) - 1;
    let start: usize = sql.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = &sql[start..];
    start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
}

/// The end of the word at `start`, or of the one character.
fn word_end(sql: &str, start: usize) -> usize {
    let rest = &sql[start..];
    let word = |c: char| c.is_alphanumeric() || c == '_';
    match rest.find(|c: char| !word(c)) {
        Some(0) => start + rest.chars().next().map_or(0, char::len_utf8),
        Some(length) => start + length,
        None => sql.len(),
    }
}

/// Plans one query. Parameters are bound to `$name`, never pasted into the text.
pub(crate) async fn plan(
    ctx: &SessionContext,
    path: &str,
    sql: &str,
    parameters: &IndexMap<String, Value>,
) -> Result<DataFrame, TaskError> {
    check_query(sql).map_err(|fault| {
        TaskError::permanent(render(path, sql, Some(fault.range), &fault.message))
    })?;
    plan_any(ctx, path, sql, parameters).await
}

/// Plans a query, or another statement that changes nothing, such as `show tables`.
pub(crate) async fn plan_any(
    ctx: &SessionContext,
    path: &str,
    sql: &str,
    parameters: &IndexMap<String, Value>,
) -> Result<DataFrame, TaskError> {
    let options =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let state = ctx.state();
    let dialect = state.config().options().sql_parser.dialect;
    let planned = async {
        let mut statement = state.sql_to_statement(sql, &dialect)?;
        if let DfStatement::Statement(statement) = &mut statement {
            bind(statement.as_mut(), parameters);
        }
        let plan = state.statement_to_plan(statement).await?;
        options.verify_plan(&plan)?;
        ctx.execute_logical_plan(plan).await
    };
    planned.await.map_err(|error| located_error(path, sql, &error, &tables(ctx)))
}

/// An expression over some columns, with parameters bound.
pub(crate) fn expression(
    ctx: &SessionContext,
    sql: &str,
    columns: &DFSchema,
    parameters: &IndexMap<String, Value>,
) -> datafusion::common::Result<Expr> {
    let state = ctx.state();
    let dialect = state.config().options().sql_parser.dialect;
    let mut expression = state.sql_to_expr_with_alias(sql, &dialect)?;
    bind(&mut expression.expr, parameters);
    state.create_logical_expr_from_sql_expr(expression, columns)
}

/// An expression that can be computed. It is simplified first, as those of queries are: some
/// functions, such as `coalesce`, are only another way to write others.
pub(crate) fn physical(
    ctx: &SessionContext,
    expression: Expr,
    columns: &DFSchema,
) -> datafusion::common::Result<Arc<dyn PhysicalExpr>> {
    let state = ctx.state();
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(columns.clone()))
        .with_config_options(state.config_options().clone())
        .build();
    let simplifier = ExprSimplifier::new(context);
    let expression = simplifier.simplify(simplifier.coerce(expression, columns)?)?;
    ctx.create_physical_expr(expression, columns)
}

/// Puts values in the places of parameters, as literals in the syntax tree: a text can't become
/// anything but a text. (DataFusion's own binding, after planning, leaves columns that are made
/// of a parameter without their type.)
pub(crate) fn bind(sql: &mut impl VisitMut, parameters: &IndexMap<String, Value>) {
    let _ = visit_expressions_mut(sql, |expression| {
        if let SqlExpr::Value(value) = expression
            && let SqlValue::Placeholder(name) = &value.value
            && let Some(parameter) = name.strip_prefix('$').and_then(|name| parameters.get(name))
        {
            value.value = literal(parameter);
        }
        ControlFlow::<()>::Continue(())
    });
}

fn literal(value: &Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Bool(value) => SqlValue::Boolean(*value),
        Value::Number(number) => SqlValue::Number(number.to_string(), false),
        Value::String(text) => SqlValue::SingleQuotedString(text.clone()),
        Value::Array(_) | Value::Object(_) => SqlValue::SingleQuotedString(value.to_string()),
    }
}

fn tables(ctx: &SessionContext) -> Vec<String> {
    let names = |catalog: &str| {
        let catalog = ctx.catalog(catalog)?;
        let schema = catalog.schema(&catalog.schema_names().into_iter().next()?)?;
        Some(schema.table_names())
    };
    let names: Vec<_> = ctx.catalog_names().iter().filter_map(|name| names(name)).collect();
    names.concat()
}

/// An error of a query, with its line, its column and the line itself where they are known:
/// `path` names the file, or the option, that holds the text.
pub fn sql_error(path: &str, sql: &str, error: &DataFusionError) -> TaskError {
    located_error(path, sql, error, &[])
}

pub(crate) fn located_error(
    path: &str,
    sql: &str,
    error: &DataFusionError,
    tables: &[String],
) -> TaskError {
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    match explained(sql, error, &tables) {
        Some((range, message, help)) => {
            TaskError::permanent(render(path, sql, range, &joined(message, help)))
        }
        None => task_error(path, error),
    }
}

/// What is wrong and what to do about it, in one line.
fn joined(message: String, help: Option<String>) -> String {
    match help {
        Some(help) => format!("{message}; {help}"),
        None => message,
    }
}

/// Where in a query an error lies, if that is known, what it means, and what to do about it;
/// `None` if it is none of the query.
pub(crate) fn explained(
    sql: &str,
    error: &DataFusionError,
    tables: &[&str],
) -> Option<(Option<Range<usize>>, String, Option<String>)> {
    let mut inner = error;
    let mut diagnostic: Option<&Diagnostic> = None;
    loop {
        inner = match inner {
            DataFusionError::Diagnostic(found, error) => {
                diagnostic = Some(found);
                error
            }
            DataFusionError::Context(_, error) => error,
            DataFusionError::Shared(error) => error,
            DataFusionError::Collection(errors) if !errors.is_empty() => &errors[0],
            _ => break,
        };
    }
    let span = diagnostic.and_then(|diagnostic| diagnostic.span).map(|span| {
        let at = |line, column| offset(sql, Location::new(line, column));
        at(span.start.line, span.start.column)..at(span.end.line, span.end.column)
    });
    let (range, (text, help)) = match inner {
        DataFusionError::SQL(error, _) => {
            let fault = fault(sql, error);
            (Some(fault.range), (fault.message, fault.help))
        }
        DataFusionError::SchemaError(error, _) => schema_error(sql, error),
        DataFusionError::Plan(text) => match unknown_table(text) {
            Some(name) => (word(sql, name), no_table(name, tables)),
            None => (
                None,
                unknown_function(text).unwrap_or_else(|| (lower_first(&message(inner)), None)),
            ),
        },
        DataFusionError::Execution(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_) => (None, (message(inner), None)),
        _ => return None,
    };
    Some((span.or(range), text, help))
}

fn schema_error(
    sql: &str,
    error: &SchemaError,
) -> (Option<Range<usize>>, (String, Option<String>)) {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = field.name.as_str();
            let columns = valid_fields.iter().map(|field| field.name.as_str());
            (word(sql, name), missing("column", name, columns))
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column `{}` is in more than one input", field.name);
            (word(sql, &field.name), (message, Some(format!("write `input.{}`", field.name))))
        }
        SchemaError::DuplicateUnqualifiedField { name }
        | SchemaError::DuplicateQualifiedField { name, .. } => {
            let message = format!("the query has two columns `{name}`");
            (None, (message, Some("give one another name with `as`".into())))
        }
    }
}

/// `no column`, with the nearest name or else all of them.
pub(crate) fn no_column<'a>(name: &str, columns: impl Iterator<Item = &'a str>) -> String {
    let (message, help) = missing("column", name, columns);
    joined(message, help)
}

/// That a name is none of those that are known, and the nearest one or else all of them.
pub(crate) fn missing<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> (String, Option<String>) {
    let known: Vec<_> = known.collect();
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("there are `{}`", known.join("`, `"))),
    };
    (format!("no {what} `{name}`"), help)
}

/// The name in DataFusion's message of a missing table, without catalog and schema.
fn unknown_table(text: &str) -> Option<&str> {
    let name = text.strip_prefix("table '")?;
    let (name, rest) = name.split_once('\'')?;
    rest.trim_start().starts_with("not found").then(|| name.rsplit('.').next().unwrap_or(name))
}

/// DataFusion's message of a missing function in our words.
fn unknown_function(text: &str) -> Option<(String, Option<String>)> {
    let (name, rest) = text.strip_prefix("Invalid function '")?.split_once('\'')?;
    let near = rest.split_once("Did you mean '").and_then(|(_, near)| near.split('\'').next());
    let help = near.map(|near| format!("did you mean `{near}`?"));
    Some((format!("no function `{name}`"), help))
}

fn no_table(name: &str, tables: &[&str]) -> (String, Option<String>) {
    missing("input", name, tables.iter().copied())
}

/// Where the text has the name as a word of its own.
fn word(sql: &str, name: &str) -> Option<Range<usize>> {
    tokens(sql).find_map(|(token, range)| match token {
        Token::Word(word) if word.value.eq_ignore_ascii_case(name) => Some(range),
        _ => None,
    })
}

/// `path:line:column: message`, and below it the line with a mark under the place.
fn render(path: &str, sql: &str, range: Option<Range<usize>>, message: &str) -> String {
    let Some(range) = range.filter(|range| range.start <= sql.len()) else {
        return format!("{path}: {message}");
    };
    let before = &sql[..range.start];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let text = sql[start..].lines().next().unwrap_or_default();
    let column = before[start..].chars().count() + 1;
    let end = range.end.min(start + text.len()).max(range.start);
    let marks = sql[range.start..end].chars().count().max(1);
    let margin = " ".repeat(line.to_string().len());
    let mut rendered = format!("{path}:{line}:{column}: {message}");
    // Tabs stay tabs, so that the mark stands under its place.
    let pad: String = before[start..].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let _ = write!(rendered, "\n{line} | {text}\n{margin} | {pad}{}", "^".repeat(marks));
    rendered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_single_and_parse() {
        assert_eq!(check_query("select 1 -- one\n;"), Ok(()));
        assert_eq!(check_query("with a as (select 1) select * from a"), Ok(()));
        let check = |sql: &str, at: usize, expect: &str| {
            let fault = check_query(sql).unwrap_err();
            assert!(fault.message.contains(expect), "{sql}: {fault:?}");
            assert_eq!(fault.range.start, at, "{sql}: {fault:?}");
        };
        check("", 0, "write one SELECT");
        check("select 1; select 2", 0, "2 statements");
        check("drop table x", 0, "not a SELECT");
        check("select a,\n  from t where ) x", 25, "expected");
        check("select 'ü' as ü fromm x", 18, "found: fromm");
        check("select 'open", 7, "unterminated string");
        assert!(check_expression("price > 0 and id is not null").is_ok());
        let fault = check_expression("price >").unwrap_err();
        assert!(fault.message.contains("expected") && fault.range.start == 7, "{fault:?}");
        assert_eq!(check_expression("a > 0, b").unwrap_err().range, 5..6);
    }

    #[test]
    fn parameters_are_found_with_their_places() {
        let sql = "select '$no', $night -- $not\nwhere x = $night and y = $hour";
        let found = parameters(sql);
        let places: Vec<_> =
            found.iter().map(|(name, range)| (name.as_str(), &sql[range.clone()])).collect();
        assert_eq!(places, [("night", "$night"), ("hour", "$hour")]);
    }

    #[tokio::test]
    async fn errors_show_the_place() {
        let ctx = super::super::Engine::default().bare_session();
        ctx.sql("create table orders as select 1 as id, 2.5 as price").await.unwrap();
        let check = async |sql: &str, expect: &str| {
            let error = plan(&ctx, "sql/a.sql", sql, &IndexMap::new()).await.unwrap_err();
            assert_eq!(error.to_string(), expect, "{sql}");
        };
        check(
            "select id,\n\tprize\nfrom orders",
            "sql/a.sql:2:2: no column `prize`; did you mean `price`?\n\
             2 | \tprize\n  | \t^^^^^",
        )
        .await;
        check(
            "select o.x from orders o",
            "sql/a.sql:1:8: no column `x`; there are `id`, `price`\n\
             1 | select o.x from orders o\n  |        ^^^",
        )
        .await;
        check(
            "select * from order",
            "sql/a.sql:1:15: no input `order`; did you mean `orders`?\n\
             1 | select * from order\n  |               ^^^^^",
        )
        .await;
        check(
            "select id\nfrom orders wher id > 0",
            "sql/a.sql:2:18: expected: end of statement, found: id\n\
             2 | from orders wher id > 0\n  |                  ^^",
        )
        .await;
        let error = plan(&ctx, "sql/a.sql", "select nothing(1)", &IndexMap::new()).await;
        assert!(error.unwrap_err().to_string().contains("sql/a.sql"));
    }

    #[tokio::test]
    async fn parameters_are_bound_not_pasted() {
        let ctx = super::super::Engine::default().bare_session();
        let values = IndexMap::from([
            ("text".to_owned(), Value::from("' or 1=1 --")),
            ("day".to_owned(), Value::from("2026-11-24")),
            ("less".to_owned(), Value::from(-2.5)),
            ("most".to_owned(), Value::from(9)),
        ]);
        let sql = "select $text as text, date '2026-11-24' = $day as same, $less + 1 as less \
                   union all select $text, false, 0 limit $most";
        let rows = plan(&ctx, "q", sql, &values).await.unwrap().collect().await.unwrap();
        let shown = arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
        assert!(shown.contains("| ' or 1=1 -- | true  | -1.5 |"), "{shown}");
    }
}
