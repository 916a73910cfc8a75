//! Reading JSON lines into columns, strictly: one object a line, and each value of its column's
//! type. Keys that are missing are nulls. A line that does not fit goes aside with a reason.

use super::Layout;
use super::column::{Column, Values, append};
use super::csv::{Parsed, finish};
use super::malformed::{Malformed, printable};
use arrow::error::ArrowError;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads whole lines; `text` ends with a newline.
pub(crate) fn parse(text: Bytes, layout: &Layout) -> Result<Parsed, ArrowError> {
    let capacity = text.len() / (16 * layout.kinds.len() + 1) + 8;
    let mut row = Row {
        layout,
        columns: layout.kinds.iter().map(|kind| Column::new(*kind, capacity)).collect(),
        strings: Vec::new(),
        seen: vec![false; layout.kinds.len()],
        fault: None,
    };
    let mut rows = 0;
    let mut malformed = Malformed::default();
    for line in text.split(|byte| *byte == b'\n') {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match row.read(line) {
            Ok(()) => rows += 1,
            Err(fault) => {
                row.columns.iter_mut().for_each(|column| column.truncate(rows));
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                malformed.push(fault.reason(layout), printable(line));
            }
        }
    }
    let Row { columns, strings, .. } = row;
    let batch = finish(columns, rows, text, strings, layout)?;
    Ok(Parsed { batch, malformed })
}

/// Why a line does not fit.
#[derive(Clone, Copy)]
enum Fault {
    /// It is not one JSON object.
    Json,
    /// The value of a column is none of its type, or there are two.
    Column(usize),
    /// It has a key that is no column, where the columns were inferred.
    UnknownField,
}

impl Fault {
    fn reason(self, layout: &Layout) -> std::sync::Arc<str> {
        match self {
            Fault::Json => "malformed_json".into(),
            Fault::Column(column) => layout.reasons[column].clone(),
            Fault::UnknownField => "unknown_field".into(),
        }
    }
}

struct Row<'a> {
    layout: &'a Layout,
    columns: Vec<Column>,
    /// The bytes of the strings, which the columns' views refer to.
    strings: Vec<u8>,
    seen: Vec<bool>,
    /// The first fault of the line; it says more than the parser's error.
    fault: Option<Fault>,
}

impl Row<'_> {
    fn read(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.seen.fill(false);
        self.fault = None;
        let mut json = serde_json::Deserializer::from_slice(line);
        let read = json.deserialize_map(&mut *self).and_then(|()| json.end());
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        read.map_err(|_| Fault::Json)?;
        for (column, seen) in self.columns.iter_mut().zip(&self.seen) {
            if !seen {
                column.push_null();
            }
        }
        Ok(())
    }

    fn fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

impl<'de> Visitor<'de> for &mut Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(column) = map.next_key_seed(Key(self.layout))? {
            match column {
                Some(column) if self.seen[column] => {
                    self.fault(Fault::Column(column));
                    map.next_value::<IgnoredAny>()?;
                }
                Some(column) => {
                    self.seen[column] = true;
                    let field =
                        Field { column: &mut self.columns[column], strings: &mut self.strings };
                    if !map.next_value_seed(field)? {
                        self.fault(Fault::Column(column));
                    }
                }
                None => {
                    if self.layout.closed {
                        self.fault(Fault::UnknownField);
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The column that a key names.
struct Key<'a>(&'a Layout);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.schema.index_of(key).ok())
    }
}

/// One value on its way into its column. Gives whether it is of the column's type.
struct Field<'a> {
    column: &'a mut Column,
    strings: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Field<'_> {
    fn string(self, value: &str) -> bool {
        let Values::String(views) = &mut self.column.values else {
            return false;
        };
        views.push(append(value.as_bytes(), self.strings));
        self.column.valid();
        true
    }

    /// A nested value is kept as JSON in a column of strings.
    fn nested<E: Error>(self, value: &serde_json::Value) -> Result<bool, E> {
        Ok(self.string(&value.to_string()))
    }

    fn number(self, text: &str) -> bool {
        match &self.column.values {
            Values::Number(_) | Values::Decimal { .. } => self.column.push_text(text.as_bytes()),
            _ => false,
        }
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        self.column.push_null();
        Ok(true)
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        let Values::Boolean(values) = &mut self.column.values else { return Ok(false) };
        values.push(value);
        self.column.valid();
        Ok(true)
    }

    fn visit_i64<E>(self, value: i64) -> Result<bool, E> {
        if let Values::Integer(values) = &mut self.column.values {
            values.push(value);
            self.column.valid();
            return Ok(true);
        }
        Ok(self.number(&value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Ok(self.number(&value.to_string())),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<bool, E> {
        Ok(self.number(&value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<bool, E> {
        match &self.column.values {
            Values::Timestamp(_) | Values::Date(_) | Values::Decimal { .. }
                if !value.is_empty() =>
            {
                Ok(self.column.push_text(value.as_bytes()))
            }
            _ => Ok(self.string(value)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        let access = serde::de::value::MapAccessDeserializer::new(map);
        self.nested(&serde::Deserialize::deserialize(access)?)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<bool, A::Error> {
        let access = serde::de::value::SeqAccessDeserializer::new(seq);
        self.nested(&serde::Deserialize::deserialize(access)?)
    }
}
