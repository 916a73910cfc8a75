//! The condition of `write: replace_where`: which partitions are replaced.

use super::partition::quoted;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema};
use datafusion::common::DFSchema;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;
use orchestrator::attempt::{TaskError, chain};
use std::collections::HashMap;
use std::sync::Arc;

/// A condition over partition columns only, so that it holds for all rows of a file or for none.
pub(crate) struct Condition {
    text: String,
    schema: Arc<Schema>,
    check: Arc<dyn PhysicalExpr>,
}

impl Condition {
    /// `schema` is the table's.
    pub(crate) fn parse(
        text: &str,
        schema: &Schema,
        partition_by: &[String],
    ) -> Result<Condition, TaskError> {
        if partition_by.is_empty() {
            return Err(TaskError::permanent(format!(
                "`replace_where: {text}` replaces partitions, and the table has none; give the \
                 dataset a `partition_by`"
            )));
        }
        let fields: Vec<Field> = partition_by
            .iter()
            .filter_map(|name| schema.field_with_name(name).ok().cloned())
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let wrong = |error: &datafusion::error::DataFusionError| {
            TaskError::permanent(format!(
                "`replace_where: {text}` is not a condition on the partition columns {}: {}",
                quoted(partition_by),
                chain(error).lines().next().unwrap_or_default()
            ))
        };
        let columns = DFSchema::try_from(schema.as_ref().clone()).map_err(|error| wrong(&error))?;
        let context = SessionContext::new();
        let expression = context.parse_sql_expr(text, &columns).map_err(|error| wrong(&error))?;
        let check =
            context.create_physical_expr(expression, &columns).map_err(|error| wrong(&error))?;
        let result = check.data_type(&schema).map_err(|error| wrong(&error))?;
        if result != arrow::datatypes::DataType::Boolean {
            return Err(TaskError::permanent(format!(
                "`replace_where: {text}` is not a condition: it gives {}, not true or false",
                super::schema::type_name(&result)
            )));
        }
        Ok(Condition { text: text.to_owned(), schema, check })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// For each file's partition values, whether its rows meet the condition. Null is no.
    pub(crate) fn holds(
        &self,
        files: &[HashMap<String, Option<String>>],
    ) -> Result<Vec<bool>, TaskError> {
        let failed = |error: String| {
            TaskError::permanent(format!("can't evaluate `replace_where: {}`: {error}", self.text))
        };
        let mut columns: Vec<ArrayRef> = Vec::new();
        for field in self.schema.fields() {
            let texts: StringArray = files
                .iter()
                .map(|values| values.get(field.name()).and_then(|value| value.as_deref()))
                .collect();
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            let column = cast_with_options(&texts, field.data_type(), &strict);
            columns.push(column.map_err(|error| failed(error.to_string()))?);
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(files.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &rows)
            .map_err(|error| failed(error.to_string()))?;
        let result = self
            .check
            .evaluate(&batch)
            .and_then(|value| value.into_array(files.len()))
            .map_err(|error| failed(chain(&error)))?;
        let result = result.as_boolean();
        Ok((0..files.len()).map(|row| result.is_valid(row) && result.value(row)).collect())
    }
}
