//! The types that a pipeline may declare for the columns of a text file.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The declared columns of an input, in the order in which a query sees them.
pub type Columns = IndexMap<String, ColumnType>;

/// The type of a column, as it is written in a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Any text in UTF-8.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A finite floating-point number of 64 bits.
    Number,
    /// `true` or `false`, in any case, or `1` or `0`.
    Boolean,
    /// A moment, kept in UTC to the microsecond; text without an offset is taken as UTC.
    Timestamp,
    /// A day, as `2026-11-24`.
    Date,
    /// An exact decimal number.
    Decimal { precision: u8, scale: u8 },
}

/// The most digits that a decimal may have.
const MAX_PRECISION: u8 = 38;

impl ColumnType {
    /// What the column is in Arrow.
    pub fn data_type(self) -> DataType {
        match self {
            ColumnType::String => DataType::Utf8View,
            ColumnType::Integer => DataType::Int64,
            ColumnType::Number => DataType::Float64,
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::Timestamp => {
                DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
            }
            ColumnType::Date => DataType::Date32,
            // The scale is at most the precision, which is at most 38.
            ColumnType::Decimal { precision, scale } => {
                DataType::Decimal128(precision, scale.cast_signed())
            }
        }
    }
}

/// The Arrow schema of some columns; all of them may hold nulls.
pub(crate) fn arrow_schema(columns: &Columns) -> SchemaRef {
    let field = |(name, kind): (&String, &ColumnType)| Field::new(name, kind.data_type(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::String => f.write_str("string"),
            ColumnType::Integer => f.write_str("integer"),
            ColumnType::Number => f.write_str("number"),
            ColumnType::Boolean => f.write_str("boolean"),
            ColumnType::Timestamp => f.write_str("timestamp"),
            ColumnType::Date => f.write_str("date"),
            ColumnType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
        }
    }
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "string" => ColumnType::String,
            "integer" => ColumnType::Integer,
            "number" => ColumnType::Number,
            "boolean" => ColumnType::Boolean,
            "timestamp" => ColumnType::Timestamp,
            "date" => ColumnType::Date,
            _ => decimal(text).ok_or_else(|| {
                format!(
                    "`{text}` is not a column type; there are string, integer, number, boolean, \
                     timestamp, date and decimal(precision,scale) with a precision of at most \
                     {MAX_PRECISION}"
                )
            })?,
        })
    }
}

fn decimal(text: &str) -> Option<ColumnType> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    ((1..=MAX_PRECISION).contains(&precision) && scale <= precision)
        .then_some(ColumnType::Decimal { precision, scale })
}

impl Serialize for ColumnType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for ColumnType {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "string, integer, number, boolean, timestamp, date or decimal(p,s)",
            "pattern": "^(string|integer|number|boolean|timestamp|date|decimal\\( *[0-9]+ *, *[0-9]+ *\\))$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_written_alike() {
        for text in ["string", "integer", "number", "boolean", "timestamp", "date", "decimal(12,2)"]
        {
            assert_eq!(text.parse::<ColumnType>().unwrap().to_string(), text);
        }
        assert_eq!(
            "decimal( 38 , 0 )".parse(),
            Ok(ColumnType::Decimal { precision: 38, scale: 0 })
        );
        for text in ["int", "decimal(39,0)", "decimal(0,0)", "decimal(4,5)", "decimal(4)", ""] {
            let error = text.parse::<ColumnType>().unwrap_err();
            assert!(error.contains("is not a column type"), "{text}: {error}");
        }
    }
}
