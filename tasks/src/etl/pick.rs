//! A few of the rows of a batch.

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use datafusion::common::Result;
use std::sync::Arc;

/// A few of the rows, without the memory of the others: a filter makes room for all of them, and
/// string views refer to the texts of all.
pub(super) fn pick(rows: &RecordBatch, picked: &[u32]) -> Result<RecordBatch> {
    let few = take_record_batch(rows, &UInt32Array::from_iter_values(picked.iter().copied()))?;
    let columns = few.columns().iter().map(|column| match column.as_string_view_opt() {
        Some(strings) => Arc::new(strings.gc()) as ArrayRef,
        None => column.clone(),
    });
    Ok(RecordBatch::try_new(few.schema(), columns.collect())?)
}
