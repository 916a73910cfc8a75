//! Rows of one key as one row.

use super::{FIXED, cells};
use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch, StringArray, StringBuilder};
use arrow::array::{TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{Int8Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Takes batches in the order of their keys, whose last column tells old rows (0) from new ones
/// (1); gives batches without that column, in which each key is there once.
///
/// In each place the newest cell stays; of cells of one time, one of the new rows; of several
/// such, the greatest, so that it is the same one every time.
pub(super) struct Collapse {
    /// Of what it gives.
    schema: SchemaRef,
    names: Vec<String>,
    /// The batch that came last, or what is left of it.
    held: Option<RecordBatch>,
    new_rows: u64,
    repeated: u64,
}

type Times = BTreeMap<String, i64>;

impl Collapse {
    pub(super) fn new(schema: SchemaRef) -> Self {
        let names = cells(&schema).map(str::to_owned).collect();
        Collapse { schema, names, held: None, new_rows: 0, repeated: 0 }
    }

    /// Keys among the new rows.
    pub(super) fn new_rows(&self) -> u64 {
        self.new_rows
    }

    /// New rows whose key another new row had too.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Takes a batch; gives the rows of the one before whose keys it does not go on with.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if batch.num_rows() == 0 {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        let Some(held) = self.held.take() else {
            self.held = Some(batch);
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        };
        let keys: &StringArray = held.column(0).as_string();
        let mut groups = groups(keys);
        let goes_on = batch.column(0).as_string::<i32>().value(0) == keys.value(keys.len() - 1);
        if !goes_on {
            self.held = Some(batch);
            return self.collapse(&held, &groups);
        }
        let last = groups.pop().map_or(0, |group| group.start);
        let rest = held.slice(last, held.num_rows() - last);
        self.held = Some(concat_batches(&held.schema(), [&rest, &batch])?);
        self.collapse(&held.slice(0, last), &groups)
    }

    /// What was held back.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        match self.held.take() {
            Some(held) => {
                let groups = groups(held.column(0).as_string());
                self.collapse(&held, &groups)
            }
            None => Ok(RecordBatch::new_empty(self.schema.clone())),
        }
    }

    fn collapse(
        &mut self,
        batch: &RecordBatch,
        groups: &[Range<usize>],
    ) -> Result<RecordBatch, ArrowError> {
        let source = batch.column(batch.num_columns() - 1).as_primitive::<Int8Type>();
        for group in groups {
            let new = group.clone().filter(|&row| source.value(row) == 1).count() as u64;
            self.new_rows += new.min(1);
            self.repeated += new.saturating_sub(1);
        }
        let columns = &batch.columns()[..batch.num_columns() - 1];
        if groups.len() == batch.num_rows() {
            return RecordBatch::try_new(self.schema.clone(), columns.to_vec());
        }
        let merge = Merge {
            names: &self.names,
            cells: columns[FIXED..].iter().map(|column| column.as_string()).collect(),
            times: columns[1].as_primitive(),
            older: columns[2].as_string(),
            source,
        };
        let merged = merge.all(groups);
        let starts: UInt32Array = groups.iter().map(|group| group.start as u32).collect();
        let mut columns: Vec<ArrayRef> = vec![
            take(&columns[0], &starts, None)?,
            Arc::new(TimestampMicrosecondArray::from(merged.times).with_timezone("UTC")),
            Arc::new(merged.older),
        ];
        for (cells, rows) in merge.cells.iter().zip(merged.rows) {
            columns.push(take(cells, &UInt32Array::from(rows), None)?);
        }
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

/// Where keys begin and end.
fn groups(keys: &StringArray) -> Vec<Range<usize>> {
    let mut groups = Vec::with_capacity(keys.len());
    let mut start = 0;
    for row in 1..=keys.len() {
        if row == keys.len() || keys.value(row) != keys.value(start) {
            groups.push(start..row);
            start = row;
        }
    }
    groups
}

struct Merge<'a> {
    names: &'a [String],
    cells: Vec<&'a StringArray>,
    times: &'a arrow::array::PrimitiveArray<TimestampMicrosecondType>,
    older: &'a StringArray,
    source: &'a Int8Array,
}

struct Merged {
    times: Vec<i64>,
    older: StringArray,
    /// By column, and then by group: the row that its cell comes from.
    rows: Vec<Vec<u32>>,
}

impl Merge<'_> {
    fn all(&self, groups: &[Range<usize>]) -> Merged {
        let mut times = Vec::with_capacity(groups.len());
        let mut older = StringBuilder::new();
        let mut rows = vec![Vec::with_capacity(groups.len()); self.cells.len()];
        for group in groups {
            if group.len() == 1 {
                times.push(self.times.value(group.start));
                older.append_option(self.older_text(group.start));
                rows.iter_mut().for_each(|rows| rows.push(group.start as u32));
            } else {
                self.one(group, &mut times, &mut older, &mut rows);
            }
        }
        Merged { times, older: older.finish(), rows }
    }

    fn one(
        &self,
        group: &Range<usize>,
        times: &mut Vec<i64>,
        older: &mut StringBuilder,
        rows: &mut [Vec<u32>],
    ) {
        let exceptions: Vec<Times> = group.clone().map(|row| self.exceptions(row)).collect();
        let time = |row: usize, name: &str| {
            let exception = exceptions[row - group.start].get(name);
            exception.copied().unwrap_or(self.times.value(row))
        };
        let mut chosen: Times = Times::new();
        for ((name, cells), rows) in self.names.iter().zip(&self.cells).zip(rows) {
            let candidates = group.clone().filter(|&row| cells.is_valid(row));
            let newest = candidates
                .max_by_key(|&row| (time(row, name), self.source.value(row), cells.value(row)));
            if let Some(row) = newest {
                chosen.insert(name.clone(), time(row, name));
            }
            rows.push(newest.unwrap_or(group.start) as u32);
        }
        // A row without cells has the time of its newest writer.
        let of_rows = group.clone().map(|row| self.times.value(row)).max();
        let newest = chosen.values().copied().max().or(of_rows).unwrap_or_default();
        times.push(newest);
        chosen.retain(|_, time| *time != newest);
        let text = (!chosen.is_empty()).then(|| serde_json::to_string(&chosen).ok()).flatten();
        older.append_option(text);
    }

    fn older_text(&self, row: usize) -> Option<&str> {
        self.older.is_valid(row).then(|| self.older.value(row))
    }

    fn exceptions(&self, row: usize) -> Times {
        self.older_text(row).map(parse_older).unwrap_or_default()
    }
}

/// Times of cells, by column.
pub(super) fn parse_older(text: &str) -> Times {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::util::pretty::pretty_format_batches;

    type Line<'a> = (&'a str, i64, Option<&'a str>, Option<&'a str>, Option<&'a str>, i8);

    fn batch(lines: &[Line]) -> RecordBatch {
        let mut fields = schema(["f:a", "f:b"]).fields().to_vec();
        fields.push(Arc::new(Field::new("source", DataType::Int8, false)));
        let times = TimestampMicrosecondArray::from_iter_values(lines.iter().map(|line| line.1));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(lines.iter().map(|line| line.0))),
            Arc::new(times.with_timezone("UTC")),
            Arc::new(lines.iter().map(|line| line.2).collect::<StringArray>()),
            Arc::new(lines.iter().map(|line| line.3).collect::<StringArray>()),
            Arc::new(lines.iter().map(|line| line.4).collect::<StringArray>()),
            Arc::new(Int8Array::from_iter_values(lines.iter().map(|line| line.5))),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    /// Collapses the lines, given in batches of every size.
    fn check(lines: &[Line], expect: &[Line], counts: (u64, u64)) {
        let expect = batch(expect);
        let columns: Vec<usize> = (0..5).collect();
        let expect = pretty_format_batches(&[expect.project(&columns).unwrap()]).unwrap();
        for size in 1..=lines.len() {
            let mut collapse = Collapse::new(schema(["f:a", "f:b"]));
            let parts = lines.chunks(size).map(batch);
            let mut got: Vec<RecordBatch> = parts.map(|b| collapse.push(b).unwrap()).collect();
            got.push(collapse.finish().unwrap());
            let got = concat_batches(&schema(["f:a", "f:b"]), &got).unwrap();
            let got = pretty_format_batches(&[got]).unwrap();
            assert_eq!(got.to_string(), expect.to_string(), "in batches of {size}");
            assert_eq!((collapse.new_rows(), collapse.repeated()), counts);
        }
    }

    #[test]
    fn the_newest_cell_stays_in_each_place() {
        check(
            &[
                ("a", 5, None, Some("a1"), Some("b1"), 0),
                ("b", 5, None, Some("old"), Some("old"), 0),
                ("b", 9, None, Some("new"), None, 1),
                ("c", 9, None, Some("newer"), Some("newer"), 0),
                ("c", 5, None, Some("late"), None, 1),
                ("d", 5, None, None, Some("x"), 1),
            ],
            &[
                ("a", 5, None, Some("a1"), Some("b1"), 0),
                ("b", 9, Some(r#"{"f:b":5}"#), Some("new"), Some("old"), 0),
                ("c", 9, None, Some("newer"), Some("newer"), 0),
                ("d", 5, None, None, Some("x"), 0),
            ],
            (3, 0),
        );
    }

    #[test]
    fn an_older_interval_fills_gaps_only() {
        check(
            &[("a", 9, None, Some("9"), None, 0), ("a", 5, None, Some("5"), Some("5"), 1)],
            &[("a", 9, Some(r#"{"f:b":5}"#), Some("9"), Some("5"), 0)],
            (1, 0),
        );
        // And what it filled is older than what comes between the two.
        check(
            &[
                ("a", 9, Some(r#"{"f:b":5}"#), Some("9"), Some("5"), 0),
                ("a", 7, None, Some("7"), Some("7"), 1),
            ],
            &[("a", 9, Some(r#"{"f:b":7}"#), Some("9"), Some("7"), 0)],
            (1, 0),
        );
    }

    #[test]
    fn the_same_interval_again_replaces_its_own_cells() {
        check(
            &[("a", 5, None, Some("z"), Some("kept"), 0), ("a", 5, None, Some("b"), None, 1)],
            &[("a", 5, None, Some("b"), Some("kept"), 0)],
            (1, 0),
        );
    }

    #[test]
    fn repeated_keys_give_the_same_row_every_time() {
        let lines = [
            ("a", 5, None, Some("1"), Some("9"), 1),
            ("a", 5, None, Some("2"), Some("8"), 1),
            ("a", 5, None, Some("0"), None, 1),
        ];
        let expect = [("a", 5, None, Some("2"), Some("9"), 0)];
        check(&lines, &expect, (1, 2));
        let turned = [lines[2], lines[1], lines[0]];
        check(&turned, &expect, (1, 2));
    }
}
