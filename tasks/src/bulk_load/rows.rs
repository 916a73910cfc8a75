//! Rows of the input as keys and cells.

use super::{OnMissingKey, Options};
use crate::engine::sql::expression;
use crate::places::kv::ROW_KEY;
use crate::places::tables::failed;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use arrow::util::display::array_value_to_string;
use datafusion::common::{Column, DataFusionError};
use datafusion::functions::expr_fn::{concat, length, lpad, strpos};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, cast, lit, not, when};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use orchestrator::attempt::TaskError;
use orchestrator::schema::did_you_mean;
use std::sync::Arc;

/// The rows of a table in the form of a load.
pub(super) struct Rows<'a> {
    input: DataFrame,
    options: &'a Options,
}

/// What the input has.
pub(super) struct Checked {
    /// To be loaded.
    pub(super) rows: u64,
    pub(super) skipped: u64,
}

impl<'a> Rows<'a> {
    pub(super) async fn new(
        session: &SessionContext,
        input: &str,
        options: &'a Options,
    ) -> Result<Self, TaskError> {
        let mut input = session.table(input).await.map_err(|error| told(&error))?;
        if let Some(condition) = &options.condition {
            let wrong = |error: DataFusionError| {
                TaskError::permanent(format!("`where: {condition}`: {}", error.strip_backtrace()))
            };
            let rows = expression(session, condition, input.schema(), &options.parameters);
            input = rows.and_then(|rows| input.filter(rows)).map_err(wrong)?;
        }
        let schema = input.schema();
        let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let named = options.families.values().flatten().chain(&options.row_key);
        let problems: Vec<String> = named
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| {
                let hint = did_you_mean(name, known.iter().copied());
                let hint = hint.unwrap_or_else(|| format!("there are `{}`", known.join("`, `")));
                format!("the input has no column `{name}`; {hint}")
            })
            .collect();
        if problems.is_empty() {
            Ok(Rows { input, options })
        } else {
            Err(TaskError::permanent(problems.join("; ")))
        }
    }

    /// Looks at the keys of all rows before anything is loaded.
    pub(super) async fn check(&self) -> Result<Checked, TaskError> {
        let missing = self.missing();
        let mut checks = vec![(missing.clone(), "lack a part of their row key".to_owned())];
        // A missing key is told as that alone.
        let present = |bad: Expr| not(missing.clone()).and(bad);
        checks.extend(self.bad_keys().into_iter().map(|(bad, message)| (present(bad), message)));
        let mut counts = vec![count(lit(1))];
        for (at, (condition, _)) in checks.iter().enumerate() {
            let one = when(condition.clone(), lit(1_i64)).otherwise(lit(0_i64));
            counts.push(sum(one.map_err(|error| told(&error))?).alias(format!("check_{at}")));
        }
        let counted = self.input.clone().aggregate(Vec::new(), counts);
        let counted = counted.map_err(|error| told(&error))?.collect().await;
        let counted = counted.map_err(|error| told(&error))?;
        let found = |column: usize| {
            let counts =
                counted.iter().map(|batch| batch.column(column).as_primitive::<Int64Type>());
            counts.flat_map(|counts| counts.iter().flatten()).sum::<i64>().cast_unsigned()
        };
        let rows = found(0);
        let skips = self.options.on_missing_key == OnMissingKey::Skip;
        for (at, (condition, message)) in checks.into_iter().enumerate() {
            let bad = found(at + 1);
            if bad > 0 && !(at == 0 && skips) {
                let example = self.example(condition).await?;
                let remedy = match at {
                    0 => "; to leave such rows out, say `on_missing_key: skip`",
                    _ => "",
                };
                return Err(TaskError::permanent(format!(
                    "{bad} of {rows} rows {message}; for example {example}{remedy}"
                )));
            }
        }
        let skipped = found(1);
        Ok(Checked { rows: rows - skipped, skipped })
    }

    /// Keys that would look like others, or sort where they don't belong.
    fn bad_keys(&self) -> Vec<(Expr, String)> {
        let Options { row_key, separator, pad, .. } = self.options;
        let mut bad = Vec::new();
        if row_key.len() > 1 {
            let holds = |name: &String| strpos(text(name), lit(separator.as_str())).gt(lit(0));
            if let Some(any) = row_key.iter().map(holds).reduce(Expr::or) {
                let message = format!(
                    "have the separator `{separator}` in a column of their row key, so that \
                     different keys could look the same; choose another `separator`"
                );
                bad.push((any, message));
            }
        }
        for (name, width) in pad {
            let too_long = length(text(name)).gt(lit(i64::from(*width)));
            let negative = strpos(text(name), lit("-")).gt(lit(0));
            let message = format!("have a `{name}` that can't be padded to {width} digits");
            bad.push((too_long.or(negative), message));
        }
        bad
    }

    async fn example(&self, condition: Expr) -> Result<String, TaskError> {
        let mut names: Vec<&String> = self.options.row_key.iter().collect();
        let others = self.options.families.values().flatten();
        names.extend(others.filter(|name| !self.options.row_key.contains(name)).take(3));
        let shown: Vec<Expr> = names.iter().map(|name| column(name)).collect();
        let row = self.input.clone().filter(condition).and_then(|rows| rows.select(shown));
        let row = row.and_then(|rows| rows.limit(0, Some(1))).map_err(|error| told(&error))?;
        let batches = row.collect().await.map_err(|error| told(&error))?;
        let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else {
            return Ok("none any more".into());
        };
        let values = names.iter().zip(batch.columns()).map(|(name, values)| {
            let value = array_value_to_string(values, 0).unwrap_or_default();
            let value = if values.is_null(0) { "null".to_owned() } else { format!("`{value}`") };
            format!("{name} {value}")
        });
        Ok(values.collect::<Vec<_>>().join(", "))
    }

    /// Never null itself.
    fn missing(&self) -> Expr {
        let missing = |name: &String| column(name).is_null().or(text(name).eq(lit("")));
        self.options.row_key.iter().map(missing).reduce(Expr::or).unwrap_or_else(|| lit(true))
    }

    fn key(&self) -> Expr {
        let Options { row_key, separator, pad, .. } = self.options;
        let part = |name: &String| match pad.get(name) {
            Some(width) => lpad(vec![text(name), lit(i64::from(*width)), lit("0")]),
            None => text(name),
        };
        let mut parts = Vec::new();
        for name in row_key {
            if !parts.is_empty() {
                parts.push(lit(separator.as_str()));
            }
            parts.push(part(name));
        }
        let key = if parts.len() == 1 { parts.remove(0) } else { concat(parts) };
        cast(key, DataType::Utf8).alias(ROW_KEY)
    }

    async fn select(&self, columns: Vec<Expr>) -> Result<Arc<dyn ExecutionPlan>, TaskError> {
        let present = self.input.clone().filter(not(self.missing()));
        let rows = present.and_then(|rows| rows.select(columns)).map_err(|error| told(&error))?;
        rows.create_physical_plan().await.map_err(|error| told(&error))
    }

    pub(super) async fn keys(&self) -> Result<Arc<dyn ExecutionPlan>, TaskError> {
        self.select(vec![self.key()]).await
    }

    pub(super) async fn plan(&self) -> Result<Arc<dyn ExecutionPlan>, TaskError> {
        let mut columns = vec![self.key()];
        for (family, names) in &self.options.families {
            columns.extend(names.iter().map(|name| column(name).alias(format!("{family}:{name}"))));
        }
        self.select(columns).await
    }
}

/// The column of exactly this name.
fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn text(name: &str) -> Expr {
    cast(column(name), DataType::Utf8)
}

fn told(error: &datafusion::error::DataFusionError) -> TaskError {
    failed("can't read the rows", error)
}
