//! Messages as rows.

use super::columns::Layout;
use super::dead_letters::DeadLetter;
use crate::engine::ColumnType;
use crate::engine::scan::texts::typed;
use crate::places::topics::{Batch, Content, Format};
use crate::stream::cut::csv_record_fields;
use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch};
use arrow::array::{StringArray, StringBuilder, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use memchr::{memchr, memchr_iter};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The rows of a batch, and the messages that are none.
pub(super) struct Decoded {
    pub(super) rows: RecordBatch,
    /// In the order of the batch.
    pub(super) dead: Vec<DeadLetter>,
}

/// Takes a batch apart. Every message becomes a row or a dead letter.
pub(super) fn decode(batch: &Batch, layout: &Layout, format: Option<Format>) -> Decoded {
    let Content { format: sent_as, columns } = &batch.origin.content;
    let mut rows = Rows::new(layout, batch.len());
    match format.unwrap_or(*sent_as) {
        Format::Csv => match Places::of(columns, layout) {
            Ok(places) => rows.csv(batch, &places),
            Err(reason) => (0..batch.len()).for_each(|index| rows.reject(index, reason.clone())),
        },
        Format::Json => rows.json(batch),
    }
    rows.finish(batch)
}

/// Where the fields of a CSV message go.
struct Places {
    /// The column of each field.
    of_fields: Vec<usize>,
    /// Columns that no field goes to.
    missing: Vec<usize>,
}

impl Places {
    fn of(sent: &[String], layout: &Layout) -> Result<Self, String> {
        let count = layout.columns.len();
        if sent.is_empty() {
            return Ok(Places { of_fields: (0..count).collect(), missing: Vec::new() });
        }
        let place = |name: &String| layout.columns.get_index_of(name).ok_or_else(|| unknown(name));
        let of_fields = sent.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let missing = (0..count).filter(|column| !of_fields.contains(column)).collect();
        Ok(Places { of_fields, missing })
    }
}

fn unknown(name: &str) -> String {
    format!("the table has no column `{name}`")
}

struct Rows<'a> {
    layout: &'a Layout,
    texts: Vec<StringBuilder>,
    /// The message of each row, by its index in the batch.
    indices: Vec<usize>,
    dead: Vec<DeadLetter>,
}

impl<'a> Rows<'a> {
    fn new(layout: &'a Layout, rows: usize) -> Self {
        let builder = |_| StringBuilder::with_capacity(rows, rows * 8);
        Rows {
            layout,
            texts: (0..layout.columns.len()).map(builder).collect(),
            indices: Vec::with_capacity(rows),
            dead: Vec::new(),
        }
    }

    fn reject(&mut self, index: usize, reason: String) {
        self.dead.push(DeadLetter { index, reason });
    }

    fn csv(&mut self, batch: &Batch, places: &Places) {
        let expected = places.of_fields.len();
        let mut ends = Vec::with_capacity(expected);
        for (index, message) in batch.values().iter().enumerate() {
            let message = message.unwrap_or_default();
            let Ok(text) = std::str::from_utf8(message) else {
                self.reject(index, "it is not UTF-8".into());
                continue;
            };
            if memchr(b'"', message).is_some() {
                self.quoted(index, text, places);
                continue;
            }
            ends.clear();
            ends.extend(memchr_iter(b',', message));
            ends.push(message.len());
            if ends.len() != expected {
                self.reject(index, wrong_count(ends.len(), expected));
                continue;
            }
            let mut start = 0;
            for (&column, &end) in places.of_fields.iter().zip(&ends) {
                append(&mut self.texts[column], &text[start..end]);
                start = end + 1;
            }
            self.complete(index, places);
        }
    }

    fn quoted(&mut self, index: usize, text: &str, places: &Places) {
        let expected = places.of_fields.len();
        match csv_record_fields(text) {
            None => self.reject(index, "its quotes do not fit together".into()),
            Some(fields) if fields.len() != expected => {
                self.reject(index, wrong_count(fields.len(), expected));
            }
            Some(fields) => {
                for (&column, field) in places.of_fields.iter().zip(&fields) {
                    append(&mut self.texts[column], field);
                }
                self.complete(index, places);
            }
        }
    }

    fn complete(&mut self, index: usize, places: &Places) {
        places.missing.iter().for_each(|&column| self.texts[column].append_null());
        self.indices.push(index);
    }

    fn json(&mut self, batch: &Batch) {
        for (index, message) in batch.values().iter().enumerate() {
            let message = message.unwrap_or_default();
            let object: Map<String, Value> = match serde_json::from_slice(message) {
                Ok(object) => object,
                Err(_) if std::str::from_utf8(message).is_err() => {
                    self.reject(index, "it is not UTF-8".into());
                    continue;
                }
                Err(error) => {
                    self.reject(index, format!("it is not a JSON object: {error}"));
                    continue;
                }
            };
            let columns = &self.layout.columns;
            if let Some(name) = object.keys().find(|name| !columns.contains_key(*name)) {
                let reason = unknown(name);
                self.reject(index, reason);
                continue;
            }
            for (column, text) in columns.keys().zip(&mut self.texts) {
                match object.get(column) {
                    None | Some(Value::Null) => text.append_null(),
                    Some(Value::String(value)) => append(text, value),
                    Some(other) => text.append_value(other.to_string()),
                }
            }
            self.indices.push(index);
        }
    }

    /// Gives columns their types; a row with a value that is not of its type is a dead letter.
    fn finish(mut self, batch: &Batch) -> Decoded {
        let count = self.indices.len();
        let mut good = vec![true; count];
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.layout.schema.fields().len());
        let texts: Vec<StringArray> = self.texts.iter_mut().map(StringBuilder::finish).collect();
        for ((name, kind), text) in self.layout.columns.iter().zip(texts) {
            if *kind == ColumnType::String {
                columns.push(Arc::new(text));
                continue;
            }
            let typed = typed(&text, *kind).expect("as many values as texts");
            for row in (0..count).filter(|&row| typed.is_null(row) && text.is_valid(row)) {
                if std::mem::replace(&mut good[row], false) {
                    let reason =
                        format!("`{name}` is not of the type {kind}: `{}`", text.value(row));
                    self.dead.push(DeadLetter { index: self.indices[row], reason });
                }
            }
            columns.push(typed);
        }
        for value in self.layout.constants.values() {
            columns
                .push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, count))));
        }
        if self.layout.metadata {
            columns.extend(metadata(batch, &self.indices));
        }
        let mut rows = RecordBatch::try_new(self.layout.schema.clone(), columns)
            .expect("columns of one length, as declared");
        if good.contains(&false) {
            rows = filter_record_batch(&rows, &BooleanArray::from(good))
                .expect("a filter as long as the rows");
            self.dead.sort_by_key(|letter| letter.index);
        }
        Decoded { rows, dead: self.dead }
    }
}

/// Nothing between two commas is null, quoted or not, as in other readers of CSV here.
fn append(builder: &mut StringBuilder, text: &str) {
    if text.is_empty() { builder.append_null() } else { builder.append_value(text) }
}

fn wrong_count(found: usize, expected: usize) -> String {
    let fields = if found == 1 { "field" } else { "fields" };
    format!("it has {found} {fields} instead of {expected}")
}

fn metadata(batch: &Batch, indices: &[usize]) -> [ArrayRef; 3] {
    let offset = |&index: &usize| (batch.first_offset + index as u64).cast_signed();
    let micros = |&index: &usize| batch.timestamps().value(index) * 1000;
    let partitions = std::iter::repeat_n(batch.partition.cast_signed(), indices.len());
    let timestamps = TimestampMicrosecondArray::from_iter_values(indices.iter().map(micros));
    [
        Arc::new(Int32Array::from_iter_values(partitions)),
        Arc::new(Int64Array::from_iter_values(indices.iter().map(offset))),
        Arc::new(timestamps.with_timezone("UTC")),
    ]
}
