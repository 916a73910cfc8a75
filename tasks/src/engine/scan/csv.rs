//! Reading CSV (RFC 4180) into columns, strictly.
//!
//! A record that does not fit goes aside as a whole, with a reason: it has too few or too many
//! fields, a quote is not closed, or a field is no value of its column's type. Empty fields are
//! nulls; `""` is an empty string. A quote within a field that does not begin with one is part
//! of the value. Blank lines are skipped.

use super::Layout;
use super::chunks::closing_quote;
use super::column::{Column, Values, unescape, view};
use super::malformed::{Malformed, printable};
use super::values::{ends, field_end, integer_at, number_at, timestamp_at};
use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use bytes::Bytes;

/// The records of a chunk: those that fit, as columns, and the others.
pub(crate) struct Parsed {
    pub(crate) batch: RecordBatch,
    pub(crate) malformed: Malformed,
}

/// Where a field of the file goes.
type Target = Option<usize>;

/// Reads whole records; `text` ends with a newline. `fields` says which column each field is.
pub(crate) fn parse(text: Bytes, fields: &[usize], layout: &Layout) -> Result<Parsed, ArrowError> {
    let targets: Vec<Target> =
        fields.iter().map(|column| layout.reads[*column].then_some(*column)).collect();
    let capacity = text.len() / (8 * fields.len() + 1) + 8;
    let columns = layout
        .kinds
        .iter()
        .zip(&layout.reads)
        .map(|(kind, read)| Column::new(*kind, if *read { capacity } else { 0 }))
        .collect();
    let mut reader = Reader {
        text: &text,
        utf8: std::str::from_utf8(&text).is_ok(),
        columns,
        unescaped: Vec::new(),
    };
    let (mut position, mut rows) = (0, 0);
    let mut malformed = Malformed::default();
    while position < text.len() {
        if let Some(after) = reader.blank(position) {
            position = after;
            continue;
        }
        match reader.record(position, &targets) {
            Ok(after) => {
                position = after;
                rows += 1;
            }
            Err(field) => {
                reader.columns.iter_mut().for_each(|column| column.truncate(rows));
                let record = reader.skip(position);
                let reason = record.reason(fields, field, layout);
                malformed.push(reason, printable(&text[position..record.end]));
                position = record.after;
            }
        }
    }
    let Reader { columns, unescaped, .. } = reader;
    let batch = finish(columns, rows, text, unescaped, layout)?;
    Ok(Parsed { batch, malformed })
}

pub(super) fn finish(
    columns: Vec<Column>,
    rows: usize,
    text: Bytes,
    unescaped: Vec<u8>,
    layout: &Layout,
) -> Result<RecordBatch, ArrowError> {
    let (chunk, unescaped) = (Buffer::from(text), Buffer::from_vec(unescaped));
    let mut columns: Vec<Option<Column>> = columns.into_iter().map(Some).collect();
    let arrays = layout
        .projection
        .iter()
        .filter_map(|column| columns[*column].take())
        .map(|column| column.finish(&chunk, &unescaped))
        .collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(layout.projected.clone(), arrays, &options)
}

struct Reader<'a> {
    /// Ends with a newline, at which every loop over bytes stops.
    text: &'a [u8],
    utf8: bool,
    columns: Vec<Column>,
    unescaped: Vec<u8>,
}

/// A record that was passed over.
struct Skipped {
    /// Where it ends, and where the next one begins.
    end: usize,
    after: usize,
    fields: usize,
    unclosed: bool,
}

impl Skipped {
    /// Why the record does not fit; `field` is the first that could not be read. Fields in the
    /// wrong number come first, because then no value can be told to be of a column.
    fn reason(&self, fields: &[usize], field: usize, layout: &Layout) -> std::sync::Arc<str> {
        if self.unclosed {
            "unclosed_quote".into()
        } else if self.fields < fields.len() {
            "too_few_fields".into()
        } else if self.fields > fields.len() {
            "too_many_fields".into()
        } else {
            layout.reasons[fields[field]].clone()
        }
    }
}

impl Reader<'_> {
    /// Where the next record may begin, if there is a blank line at `at`.
    #[inline(always)]
    fn blank(&self, at: usize) -> Option<usize> {
        match self.text[at] {
            b'\n' => Some(at + 1),
            b'\r' if self.text.get(at + 1) == Some(&b'\n') => Some(at + 2),
            _ => None,
        }
    }

    /// Reads a record, and gives the place behind it, or else the field that does not fit.
    #[inline(always)]
    fn record(&mut self, start: usize, targets: &[Target]) -> Result<usize, usize> {
        let mut position = start;
        for (field, target) in targets.iter().enumerate() {
            position = match target {
                Some(column) => self.field(position, *column).ok_or(field)?,
                None => self.pass(position).ok_or(field)?,
            };
            // The field ends here: at a comma, or at the end of the line.
            let last = field + 1 == targets.len();
            match self.text[position] {
                b',' if !last => position += 1,
                b'\n' if last => return Ok(position + 1),
                b'\r' if last => return Ok(position + 2),
                _ => return Err(field),
            }
        }
        Err(0)
    }

    /// Adds the field's value to the column, and gives the place where the field ends.
    #[inline(always)]
    fn field(&mut self, start: usize, column: usize) -> Option<usize> {
        let text = self.text;
        if text[start] == b'"' {
            return self.quoted(start, column);
        }
        let column = &mut self.columns[column];
        let quick = match &mut column.values {
            Values::String(views) => {
                let end = field_end(text, start);
                if end == start {
                    column.push_null();
                    return Some(end);
                }
                let value = &text[start..end];
                if !self.utf8 && std::str::from_utf8(value).is_err() {
                    return None;
                }
                views.push(view(value, start));
                Some(end)
            }
            Values::Integer(values) => integer_at(text, start).map(|(value, end)| {
                values.push(value);
                end
            }),
            Values::Number(values) => number_at(text, start).map(|(value, end)| {
                values.push(value);
                end
            }),
            Values::Timestamp(values) => timestamp_at(text, start).map(|(value, end)| {
                values.push(value);
                end
            }),
            Values::Boolean(_) | Values::Date(_) | Values::Decimal { .. } => None,
        };
        if let Some(end) = quick {
            column.valid();
            return Some(end);
        }
        let end = field_end(text, start);
        column.push_text(&text[start..end]).then_some(end)
    }

    /// Adds the value of a field that begins with a quote.
    fn quoted(&mut self, start: usize, column: usize) -> Option<usize> {
        let closing = closing_quote(self.text, start)?;
        let end = closing + 1;
        if end >= self.text.len() || !ends(self.text, end) {
            return None;
        }
        let value = &self.text[start + 1..closing];
        let column = &mut self.columns[column];
        let Values::String(views) = &mut column.values else {
            return column.push_text(value).then_some(end);
        };
        if !self.utf8 && std::str::from_utf8(value).is_err() {
            return None;
        }
        views.push(match memchr::memchr(b'"', value) {
            Some(_) => unescape(value, &mut self.unescaped),
            None => view(value, start + 1),
        });
        column.valid();
        Some(end)
    }

    /// The end of a field whose value is not wanted.
    fn pass(&self, start: usize) -> Option<usize> {
        if self.text[start] != b'"' {
            return Some(field_end(self.text, start));
        }
        let end = closing_quote(self.text, start)? + 1;
        (end < self.text.len() && ends(self.text, end)).then_some(end)
    }

    /// Passes over a record that does not fit.
    fn skip(&self, start: usize) -> Skipped {
        let (mut position, mut fields) = (start, 0);
        loop {
            fields += 1;
            if self.text[position] == b'"' {
                // What follows the closing quote is passed over as if there had been none.
                match closing_quote(self.text, position) {
                    Some(closing) => position = closing + 1,
                    None => {
                        let end = self.text.len() - 1;
                        return Skipped { end, after: end + 1, fields, unclosed: true };
                    }
                }
            }
            let end = field_end(self.text, position);
            match self.text[end] {
                b',' => position = end + 1,
                b'\n' => return Skipped { end, after: end + 1, fields, unclosed: false },
                _ => return Skipped { end, after: end + 2, fields, unclosed: false },
            }
        }
    }
}

/// The fields of the first record of some text, and where the next one begins. `None`: the
/// record does not end in this text.
pub(super) fn first_record(text: &[u8], whole: bool) -> Option<(Vec<Vec<u8>>, usize)> {
    let (mut fields, mut position) = (Vec::new(), 0);
    loop {
        let mut value = Vec::new();
        if text.get(position) == Some(&b'"') {
            let closing = closing_quote(text, position)?;
            if closing + 1 == text.len() && !whole {
                return None;
            }
            let mut unescaped = Vec::new();
            unescape(&text[position + 1..closing], &mut unescaped);
            value = unescaped;
            position = closing + 1;
        }
        let rest = &text[position..];
        let length = rest.iter().position(|byte| matches!(byte, b',' | b'\n'));
        let (length, end) = match length {
            Some(length) => (length, rest[length]),
            None if whole => (rest.len(), b'\n'),
            None => return None,
        };
        value.extend_from_slice(&rest[..length]);
        position = text.len().min(position + length + 1);
        if end == b',' {
            fields.push(value);
            continue;
        }
        if value.last() == Some(&b'\r') {
            value.pop();
        }
        fields.push(value);
        return Some((fields, position));
    }
}
