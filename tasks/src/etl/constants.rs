//! Columns of a query that are the same in every row, such as `$night as night`.
//!
//! A malformed record has no values of its own for the query's columns. But where a column is a
//! constant, the record has it too: a table of rejected rows that is partitioned by the night
//! can then keep the night's malformed records with the night.

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use std::sync::Arc;

/// The value of each column of a plan that is certainly a constant.
pub(super) fn constants(plan: &Arc<dyn ExecutionPlan>) -> Vec<Option<ScalarValue>> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let input = constants(projection.input());
        return projection.expr().iter().map(|column| constant(&column.expr, &input)).collect();
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let input = constants(filter.input());
        return match filter.projection() {
            Some(columns) => columns.iter().map(|column| input[*column].clone()).collect(),
            None => input,
        };
    }
    if let Some(union) = plan.downcast_ref::<UnionExec>() {
        let mut inputs = union.inputs().iter().map(constants);
        let first = inputs.next().unwrap_or_default();
        return inputs.fold(first, |all, input| {
            let same =
                |(a, b): (Option<ScalarValue>, Option<ScalarValue>)| if a == b { a } else { None };
            all.into_iter().zip(input).map(same).collect()
        });
    }
    let moves = plan.is::<CooperativeExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<RepartitionExec>();
    match plan.children()[..] {
        [input] if moves => constants(input),
        _ => vec![None; plan.schema().fields().len()],
    }
}

fn constant(
    expression: &Arc<dyn PhysicalExpr>,
    input: &[Option<ScalarValue>],
) -> Option<ScalarValue> {
    if let Some(literal) = expression.downcast_ref::<Literal>() {
        return Some(literal.value().clone());
    }
    let column = expression.downcast_ref::<Column>()?;
    input.get(column.index())?.clone()
}

/// A column of the constant, or else of nulls.
pub(super) fn repeated(
    constant: Option<&ScalarValue>,
    kind: &DataType,
    rows: usize,
) -> Result<ArrayRef> {
    match constant {
        Some(value) if value.data_type() == *kind => value.to_array_of_size(rows),
        _ => Ok(new_null_array(kind, rows)),
    }
}
