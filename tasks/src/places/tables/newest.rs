//! Of rows with one key, the newest: for rows that come sorted by the key.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use std::sync::Arc;

/// Lets one row of each key through. Which one: the greatest in the order columns (null is least),
/// and on a tie the one that came last.
pub(crate) struct Newest {
    key: Vec<usize>,
    order: Vec<usize>,
    keys: RowConverter,
    orders: RowConverter,
    /// The best row so far of a key that may go on in the next batch.
    held: Option<RecordBatch>,
}

impl Newest {
    /// `key` and `order` are columns of `schema`, by their place.
    pub(crate) fn new(
        schema: &Schema,
        key: Vec<usize>,
        order: Vec<usize>,
    ) -> Result<Newest, ArrowError> {
        let converter = |columns: &[usize]| {
            let field = |column: &usize| SortField::new(schema.field(*column).data_type().clone());
            RowConverter::new(columns.iter().map(field).collect())
        };
        let (keys, orders) = (converter(&key)?, converter(&order)?);
        Ok(Newest { key, order, keys, orders, held: None })
    }

    /// Takes the next rows; gives those that can't be replaced any more.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
        let batch = match self.held.take() {
            Some(held) => concat_batches(&batch.schema(), [&held, batch])?,
            None => batch.clone(),
        };
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let columns = |places: &[usize]| -> Vec<_> {
            places.iter().map(|place| batch.column(*place).clone()).collect()
        };
        let keys = self.keys.convert_columns(&columns(&self.key))?;
        let orders = match self.order.is_empty() {
            true => None,
            false => Some(self.orders.convert_columns(&columns(&self.order))?),
        };
        let mut best = 0;
        let mut chosen = Vec::new();
        for row in 1..batch.num_rows() {
            if keys.row(row) != keys.row(row - 1) {
                chosen.push(best as u32);
                best = row;
            } else if orders.as_ref().is_none_or(|orders| orders.row(row) >= orders.row(best)) {
                best = row;
            }
        }
        self.held = Some(alone(&batch, best as u32)?);
        if chosen.is_empty() {
            return Ok(None);
        }
        // Mostly nothing is left out; then nothing has to be copied.
        let whole = chosen.iter().enumerate().all(|(place, row)| place == *row as usize);
        if whole {
            return Ok(Some(batch.slice(0, chosen.len())));
        }
        take_record_batch(&batch, &UInt32Array::from(chosen)).map(Some)
    }

    /// The last row, when no more come.
    pub(crate) fn finish(&mut self) -> Option<RecordBatch> {
        self.held.take()
    }
}

/// One row that keeps no more of the batch alive than itself: views would hold on to all of its
/// texts, batch after batch.
fn alone(batch: &RecordBatch, row: u32) -> Result<RecordBatch, ArrowError> {
    let row = take_record_batch(batch, &UInt32Array::from(vec![row]))?;
    let columns = row.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => column.clone(),
    });
    RecordBatch::try_new(row.schema(), columns.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Int64Type};

    /// Pushes batches of (key, order, label) and tells which labels stay.
    fn check(batches: &[&[(i64, Option<i64>, &str)]], expect: &[&str]) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("key", DataType::Int64, false),
            Field::new("order", DataType::Int64, true),
            Field::new("label", DataType::Utf8, false),
        ]));
        let mut newest = Newest::new(&schema, vec![0], vec![1]).unwrap();
        let mut kept = Vec::new();
        let mut note = |batch: RecordBatch| {
            let labels = batch.column(2).as_string::<i32>();
            kept.extend(labels.iter().map(|label| label.unwrap().to_owned()));
            assert!(batch.column(0).as_primitive::<Int64Type>().null_count() == 0);
        };
        for rows in batches {
            let batch = RecordBatch::try_new(
                schema.clone(),
                vec![
                    Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
                    Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
                    Arc::new(rows.iter().map(|row| Some(row.2)).collect::<StringArray>()),
                ],
            );
            newest.push(&batch.unwrap()).unwrap().into_iter().for_each(&mut note);
        }
        newest.finish().into_iter().for_each(&mut note);
        assert_eq!(kept, expect);
    }

    #[test]
    fn one_row_of_each_key() {
        check(&[], &[]);
        check(&[&[]], &[]);
        check(&[&[(1, Some(1), "a"), (2, Some(1), "b"), (3, Some(1), "c")]], &["a", "b", "c"]);
        check(&[&[(1, Some(2), "new"), (1, Some(1), "old"), (2, None, "b")]], &["new", "b"]);
        // The later of two equals, and a null below all.
        check(&[&[(1, Some(1), "a"), (1, Some(1), "b"), (1, None, "c")]], &["b"]);
    }

    #[test]
    fn keys_across_batches() {
        check(
            &[
                &[(1, Some(5), "a")],
                &[(1, Some(4), "b")],
                &[(1, Some(6), "c"), (2, Some(1), "d")],
                &[],
                &[(2, Some(0), "e"), (3, Some(0), "f")],
            ],
            &["c", "d", "f"],
        );
    }
}
