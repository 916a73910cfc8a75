//! SQL as Spark reads it: the pipeline's own text, with its parameters bound by name.

use crate::engine::sql::{parameters, texts_and_parameters};
use crate::etl::options::EtlOptions;
use crate::etl::route::DUPLICATE;
use indexmap::IndexMap;
use serde_json::{Number, Value};
use spark_connect::{DataFrame, DataType, Expression, LiteralExpression, SparkSession};
use std::collections::HashMap;
use std::fmt::Write;

/// The view of the rows that rules and `dedupe` sort.
pub(super) const ROWS: &str = "tidemill_rows";
/// The place of a row among those of its key.
const PLACE: &str = "tidemill_place";

/// A text for Spark, and the values of what it names.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) text: String,
    pub(super) values: HashMap<String, Expression>,
}

impl Bound {
    /// `$night` becomes `:night`, with its value beside it; a backslash in a text stays one, as it
    /// is for DataFusion.
    pub(super) fn new(sql: &str, values: &IndexMap<String, Value>) -> Bound {
        let mut text = String::with_capacity(sql.len());
        let mut end = 0;
        for range in texts_and_parameters(sql) {
            text.push_str(&sql[end..range.start]);
            let part = &sql[range.clone()];
            match part.strip_prefix('$') {
                Some(name) => {
                    text.push(':');
                    text.push_str(name);
                }
                None => text.push_str(&part.replace('\\', "\\\\")),
            }
            end = range.end;
        }
        text.push_str(&sql[end..]);
        let used = parameters(sql);
        let used = values.iter().filter(|(name, _)| used.contains_key(*name));
        Bound { text, values: used.map(|(name, value)| (name.clone(), literal(value))).collect() }
    }

    pub(super) fn frame(&self, session: &SparkSession) -> spark_connect::Result<DataFrame> {
        // A semicolon at the end is for statements.
        let text = self.text.trim_end().trim_end_matches(';');
        session.sql_with_args(text, Vec::new(), self.values.clone())
    }
}

/// As the literals that DataFusion is given.
fn literal(value: &Value) -> Expression {
    let number = |number: &Number| match number.as_i64() {
        Some(number) => LiteralExpression::Long(number),
        None => LiteralExpression::Double(number.as_f64().unwrap_or(f64::NAN)),
    };
    Expression::Literal(match value {
        Value::Null => LiteralExpression::Null(DataType::Null),
        Value::Bool(value) => LiteralExpression::Boolean(*value),
        Value::Number(value) => number(value),
        Value::String(text) => LiteralExpression::String(text.clone()),
        Value::Array(_) | Value::Object(_) => LiteralExpression::String(value.to_string()),
    })
}

/// A column's name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A rule as a query with one column, on a line of its own.
pub(super) fn rule(text: &str, options: &EtlOptions) -> Bound {
    let Bound { text, values } = Bound::new(text, &options.parameters);
    Bound { text: format!("select (\n{text}\n) from {ROWS}"), values }
}

/// The rows of [`ROWS`] with a column `reason`: null for those that are valid.
///
/// `case` tries the rules in turn and stops at the first that is broken, so a later one may rely
/// on an earlier one.
pub(super) fn sorted(columns: &[String], options: &EtlOptions) -> Bound {
    let mut values = HashMap::new();
    let mut cases = String::new();
    for (index, (name, text)) in options.rules.iter().enumerate() {
        let rule = Bound::new(text, &options.parameters);
        values.extend(rule.values);
        let bound = format!("tidemill_rule_{index}");
        let _ = write!(cases, " when (\n{}\n) is not true then :{bound}", rule.text);
        values.insert(bound, Expression::Literal(LiteralExpression::String(name.clone())));
    }
    let reason = match cases.as_str() {
        "" => "cast(null as string)".to_owned(),
        cases => format!("case{cases} end"),
    };
    let judged = format!("select *, {reason} as reason from {ROWS}");
    let Some(dedupe) = &options.dedupe else { return Bound { text: judged, values } };
    let list = |names: &[String], more: &str| {
        names.iter().map(|name| quoted(name) + more).collect::<Vec<_>>().join(", ")
    };
    let (all, key) = (list(columns, ""), list(&dedupe.key, ""));
    let order = list(columns, " asc nulls first");
    let text = format!(
        "select {all}, case when reason is null and {PLACE} > 1 then '{DUPLICATE}' \
         else reason end as reason from (select *, row_number() over (partition by {key}, \
         reason is null order by {order}) as {PLACE} from ({judged}))"
    );
    Bound { text, values }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_parameters_and_texts_change() {
        let values =
            IndexMap::from([("night".to_owned(), json!("a'b")), ("other".to_owned(), json!(1))]);
        let sql = "select '$night', 'a\\b''c', \"$night\" -- $night 'x\\\nfrom ä where n = $night;";
        let bound = Bound::new(sql, &values);
        assert_eq!(
            bound.text,
            "select '$night', 'a\\\\b''c', \"$night\" -- $night 'x\\\nfrom ä where n = :night;"
        );
        let names: Vec<_> = bound.values.into_iter().collect();
        let night = Expression::Literal(LiteralExpression::String("a'b".into()));
        assert_eq!(names, [("night".to_owned(), night)]);
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("a`b"), "`a``b`");
    }
}
