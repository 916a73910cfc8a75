//! Columns while their values are read.

use super::values;
use crate::engine::columns::ColumnType;
use arrow::array::{
    ArrayRef, BooleanArray, ByteView, Date32Array, Decimal128Array, Float64Array, Int64Array,
    StringViewArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use std::sync::Arc;

/// The values of one column, as far as they are read.
pub(super) struct Column {
    pub(super) values: Values,
    /// Which values are not null; `None` while none is.
    valid: Option<Vec<bool>>,
}

pub(super) enum Values {
    /// Views into the text of the chunk, or into unescaped text.
    String(Vec<u128>),
    Integer(Vec<i64>),
    Number(Vec<f64>),
    Boolean(Vec<bool>),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
}

/// How an index into the two buffers of text values is written in a view.
const CHUNK: u32 = 0;
const UNESCAPED: u32 = 1;
/// Values of at most this size lie within their view.
const INLINE: usize = 12;

impl Column {
    pub(super) fn new(kind: ColumnType, capacity: usize) -> Self {
        let values = match kind {
            ColumnType::String => Values::String(Vec::with_capacity(capacity)),
            ColumnType::Integer => Values::Integer(Vec::with_capacity(capacity)),
            ColumnType::Number => Values::Number(Vec::with_capacity(capacity)),
            ColumnType::Boolean => Values::Boolean(Vec::with_capacity(capacity)),
            ColumnType::Timestamp => Values::Timestamp(Vec::with_capacity(capacity)),
            ColumnType::Date => Values::Date(Vec::with_capacity(capacity)),
            ColumnType::Decimal { precision, scale } => {
                Values::Decimal { values: Vec::with_capacity(capacity), precision, scale }
            }
        };
        Column { values, valid: None }
    }

    /// Counts the value that was just added as one.
    #[inline(always)]
    pub(super) fn valid(&mut self) {
        if let Some(valid) = &mut self.valid {
            valid.push(true);
        }
    }

    pub(super) fn push_null(&mut self) {
        let rows = self.len();
        self.valid.get_or_insert_with(|| vec![true; rows]).push(false);
        match &mut self.values {
            Values::String(values) => values.push(0),
            Values::Integer(values) | Values::Timestamp(values) => values.push(0),
            Values::Number(values) => values.push(0.0),
            Values::Boolean(values) => values.push(false),
            Values::Date(values) => values.push(0),
            Values::Decimal { values, .. } => values.push(0),
        }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::String(values) => values.len(),
            Values::Integer(values) | Values::Timestamp(values) => values.len(),
            Values::Number(values) => values.len(),
            Values::Boolean(values) => values.len(),
            Values::Date(values) => values.len(),
            Values::Decimal { values, .. } => values.len(),
        }
    }

    /// Forgets all values but the first ones.
    pub(super) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::String(values) => values.truncate(rows),
            Values::Integer(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::Number(values) => values.truncate(rows),
            Values::Boolean(values) => values.truncate(rows),
            Values::Date(values) => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
        }
        if let Some(valid) = &mut self.valid {
            valid.truncate(rows);
        }
    }

    /// Reads the whole text of a field that is not a string. False: it is no value of the type.
    pub(super) fn push_text(&mut self, text: &[u8]) -> bool {
        fn add<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
            value.map(|value| values.push(value)).is_some()
        }
        if text.is_empty() {
            self.push_null();
            return true;
        }
        let added = match &mut self.values {
            Values::String(_) => false,
            Values::Integer(values) => add(values, values::integer(text)),
            Values::Number(values) => add(values, values::number(text)),
            Values::Boolean(values) => add(values, values::boolean(text)),
            Values::Timestamp(values) => add(values, values::timestamp(text)),
            Values::Date(values) => add(values, values::date(text)),
            Values::Decimal { values, precision, scale } => {
                add(values, values::decimal(text, *precision, *scale))
            }
        };
        if added {
            self.valid();
        }
        added
    }

    /// The column as an array. `chunk` is the text that the strings were read from, `unescaped`
    /// that of the values that held doubled quotes.
    pub(super) fn finish(self, chunk: &Buffer, unescaped: &Buffer) -> Result<ArrayRef, ArrowError> {
        let nulls = self.valid.map(NullBuffer::from);
        Ok(match self.values {
            Values::String(views) => {
                // Short values lie in their views: the text need not be kept for them.
                let long = views.iter().any(|view| (*view as u32) as usize > INLINE);
                let buffers = if long { vec![chunk.clone(), unescaped.clone()] } else { vec![] };
                Arc::new(StringViewArray::try_new(views.into(), buffers, nulls)?)
            }
            Values::Integer(values) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            Values::Number(values) => Arc::new(Float64Array::try_new(values.into(), nulls)?),
            Values::Boolean(values) => {
                // As many nulls as values: each value was pushed with its validity.
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            Values::Timestamp(values) => Arc::new(
                TimestampMicrosecondArray::try_new(values.into(), nulls)?.with_timezone("UTC"),
            ),
            Values::Date(values) => Arc::new(Date32Array::try_new(values.into(), nulls)?),
            Values::Decimal { values, precision, scale } => {
                let kind = DataType::Decimal128(precision, scale.cast_signed());
                Arc::new(Decimal128Array::try_new(values.into(), nulls)?.with_data_type(kind))
            }
        })
    }
}

/// The view of a text value that begins at `start` of the chunk.
#[inline(always)]
pub(super) fn view(value: &[u8], start: usize) -> u128 {
    view_in(value, CHUNK, start)
}

/// Unescapes a value with doubled quotes, and gives its view.
pub(super) fn unescape(value: &[u8], unescaped: &mut Vec<u8>) -> u128 {
    let start = unescaped.len();
    let mut rest = value;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        unescaped.extend_from_slice(&rest[..=quote]);
        rest = rest.get(quote + 2..).unwrap_or_default();
    }
    unescaped.extend_from_slice(rest);
    view_in(&unescaped[start..], UNESCAPED, start)
}

/// Keeps a value with those that were unescaped, and gives its view.
pub(super) fn append(value: &[u8], unescaped: &mut Vec<u8>) -> u128 {
    let start = unescaped.len();
    unescaped.extend_from_slice(value);
    view_in(value, UNESCAPED, start)
}

#[inline(always)]
fn view_in(value: &[u8], buffer: u32, start: usize) -> u128 {
    if value.len() <= INLINE {
        let mut bytes = [0; 16];
        bytes[0] = value.len() as u8;
        bytes[4..4 + value.len()].copy_from_slice(value);
        return u128::from_le_bytes(bytes);
    }
    // A chunk is smaller than 4 GiB, as the reader sees to.
    ByteView::new(value.len() as u32, &value[..4])
        .with_buffer_index(buffer)
        .with_offset(start as u32)
        .as_u128()
}
