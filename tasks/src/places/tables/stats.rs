//! A file's statistics for the table's log, from its Parquet footer.
//!
//! Readers skip files by these, so they are exact or absent. Absent are: decimals (readers take
//! them through a 64-bit float, and then miss rows of more than 15 digits), columns of floats with
//! a NaN (greater than all in SQL, and ignored by Parquet's bounds), texts that the footer cuts
//! off, and values that JSON can't tell.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use jiff::Timestamp;
use jiff::civil::Date;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Statistics in the form of Delta's `Add.stats`. `schema` is the table's; columns that the file
/// lacks are left out. `floats`: what the footer doesn't tell.
pub(crate) fn delta_stats(
    metadata: &ParquetMetaData,
    schema: &Schema,
    floats: &HashMap<String, FloatBounds>,
) -> String {
    let (mut min_values, mut max_values, mut null_count) = (Map::new(), Map::new(), Map::new());
    let descriptor = metadata.file_metadata().schema_descr();
    for index in 0..descriptor.num_columns() {
        let name = descriptor.column(index).name().to_owned();
        let Ok(field) = schema.field_with_name(&name) else { continue };
        if let Some(floats) = floats.get(&name) {
            null_count.insert(name.clone(), json!(floats.nulls));
            if let Some((min, max)) = floats.bounds() {
                min_values.insert(name.clone(), json!(min));
                max_values.insert(name, json!(max));
            }
            continue;
        }
        let groups: Option<Vec<Group>> = metadata
            .row_groups()
            .iter()
            .map(|group| {
                let statistics = group.column(index).statistics()?;
                let nulls = statistics.null_count_opt()?;
                Some(Group { statistics, nulls, rows: group.num_rows() as u64 })
            })
            .collect();
        let Some(groups) = groups else { continue };
        let nulls: u64 = groups.iter().map(|group| group.nulls).sum();
        null_count.insert(name.clone(), json!(nulls));
        if let Some((min, max)) = bounds(&groups, field.data_type()) {
            min_values.insert(name.clone(), min);
            max_values.insert(name, max);
        }
    }
    json!({
        "numRecords": metadata.file_metadata().num_rows(),
        "minValues": min_values,
        "maxValues": max_values,
        "nullCount": null_count,
    })
    .to_string()
}

/// What a file's column of floats holds, so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FloatBounds {
    nulls: u64,
    has_nan: bool,
    bounds: Option<(f64, f64)>,
}

impl FloatBounds {
    pub(crate) fn take(&mut self, column: &ArrayRef) {
        self.nulls += column.null_count() as u64;
        let bounds = match column.data_type() {
            DataType::Float32 => {
                let values = column.as_primitive::<Float32Type>();
                // In this order of floats a NaN is the greatest, or with its sign set the least.
                min(values).zip(max(values)).map(|(min, max)| (f64::from(min), f64::from(max)))
            }
            DataType::Float64 => {
                let values = column.as_primitive::<Float64Type>();
                min(values).zip(max(values))
            }
            _ => None,
        };
        let Some((min, max)) = bounds else { return };
        self.has_nan |= min.is_nan() || max.is_nan();
        let (least, greatest) = self.bounds.unwrap_or((min, max));
        self.bounds = Some((least.min(min), greatest.max(max)));
    }

    fn bounds(&self) -> Option<(f64, f64)> {
        let finite = |(min, max): &(f64, f64)| min.is_finite() && max.is_finite();
        self.bounds.filter(|bounds| !self.has_nan && finite(bounds))
    }
}

/// One column in one row group.
struct Group<'a> {
    statistics: &'a Statistics,
    nulls: u64,
    rows: u64,
}

/// The least and the greatest value of a column, if all row groups tell them exactly.
fn bounds(groups: &[Group], data_type: &DataType) -> Option<(Value, Value)> {
    let mut least: Option<Bound> = None;
    let mut greatest: Option<Bound> = None;
    for group in groups.iter().filter(|group| group.nulls < group.rows) {
        let (min, max) = group.bounds()?;
        if least.as_ref().is_none_or(|bound| min.cmp(bound) == Ordering::Less) {
            least = Some(min);
        }
        if greatest.as_ref().is_none_or(|bound| max.cmp(bound) == Ordering::Greater) {
            greatest = Some(max);
        }
    }
    Some((least?.json(data_type)?, greatest?.json(data_type)?))
}

impl Group<'_> {
    fn bounds(&self) -> Option<(Bound, Bound)> {
        if !self.statistics.min_is_exact() || !self.statistics.max_is_exact() {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok().map(Bound::Text);
        Some(match self.statistics {
            Statistics::Int32(s) => {
                (Bound::Int((*s.min_opt()?).into()), Bound::Int((*s.max_opt()?).into()))
            }
            Statistics::Int64(s) => (Bound::Int(*s.min_opt()?), Bound::Int(*s.max_opt()?)),
            Statistics::ByteArray(s) => (text(s.min_opt()?.data())?, text(s.max_opt()?.data())?),
            _ => return None,
        })
    }
}

#[derive(Debug)]
enum Bound {
    Int(i64),
    Text(String),
}

impl Bound {
    fn cmp(&self, other: &Bound) -> Ordering {
        match (self, other) {
            (Bound::Int(a), Bound::Int(b)) => a.cmp(b),
            // Byte order, which is also the order of code points.
            (Bound::Text(a), Bound::Text(b)) => a.cmp(b),
            // One column has one type.
            _ => Ordering::Equal,
        }
    }

    fn json(self, data_type: &DataType) -> Option<Value> {
        match (self, data_type) {
            (
                Bound::Int(value),
                DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64,
            ) => Some(json!(value)),
            (Bound::Int(days), DataType::Date32) => {
                let epoch = Date::constant(1970, 1, 1);
                let date = epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
                (date.year() > 0).then(|| json!(date.to_string()))
            }
            (Bound::Int(micros), DataType::Timestamp(..)) => {
                let at = Timestamp::from_microsecond(micros).ok()?;
                // Four digits for the year: other readers parse no more.
                let text = at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
                (!text.starts_with('-')).then(|| json!(text))
            }
            (Bound::Text(text), DataType::Utf8) => Some(json!(text)),
            _ => None,
        }
    }
}

/// A file's statistics as its table's log tells them.
#[derive(Debug, Default)]
pub(crate) struct FileStats {
    min_values: Map<String, Value>,
    max_values: Map<String, Value>,
    null_count: Map<String, Value>,
}

impl FileStats {
    pub(crate) fn parse(json: &str) -> Option<FileStats> {
        let mut value: Value = serde_json::from_str(json).ok()?;
        let mut part = |name: &str| match value.get_mut(name).map(Value::take) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        Some(FileStats {
            min_values: part("minValues"),
            max_values: part("maxValues"),
            null_count: part("nullCount"),
        })
    }

    pub(crate) fn nulls(&self, column: &str) -> Option<u64> {
        self.null_count.get(column)?.as_u64()
    }

    /// The least and the greatest value of a column, in its type.
    pub(crate) fn bounds(
        &self,
        column: &str,
        data_type: &DataType,
    ) -> Option<(ScalarValue, ScalarValue)> {
        let bound = |values: &Map<String, Value>| scalar(values.get(column)?, data_type);
        Some((bound(&self.min_values)?, bound(&self.max_values)?))
    }
}

fn scalar(value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Int8 => ScalarValue::Int8(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int16 => ScalarValue::Int16(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value.as_i64()?)),
        DataType::Float32 => ScalarValue::Float32(Some(value.as_f64()? as f32)),
        DataType::Float64 => ScalarValue::Float64(Some(value.as_f64()?)),
        DataType::Utf8 => ScalarValue::Utf8(Some(value.as_str()?.to_owned())),
        DataType::Utf8View => ScalarValue::Utf8View(Some(value.as_str()?.to_owned())),
        DataType::Date32 => {
            let date: Date = value.as_str()?.parse().ok()?;
            let days = date.since((jiff::Unit::Day, Date::constant(1970, 1, 1))).ok()?.get_days();
            ScalarValue::Date32(Some(days))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let at: Timestamp = value.as_str()?.parse().ok()?;
            ScalarValue::TimestampMicrosecond(Some(at.as_microsecond()), zone.clone())
        }
        _ => return None,
    })
}
