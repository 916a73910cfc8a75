//! A file's statistics for the table's log, from its Parquet footer.
//!
//! Readers skip files by these, so they are exact or absent. Absent are: decimals (readers take
//! them through a 64-bit float, and then miss rows of more than 15 digits), columns of floats with
//! a NaN (which the footer's bounds ignore), texts that the footer cuts off, and values that JSON
//! can't tell.

use arrow::datatypes::{DataType, Schema};
use jiff::Timestamp;
use jiff::civil::Date;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;

/// Statistics in the form of Delta's `Add.stats`. `schema` is the table's; columns that the file
/// lacks are left out. `unordered` are the columns that hold a NaN.
pub(crate) fn delta_stats(
    metadata: &ParquetMetaData,
    schema: &Schema,
    unordered: &[String],
) -> String {
    let (mut min_values, mut max_values, mut null_count) = (Map::new(), Map::new(), Map::new());
    let descriptor = metadata.file_metadata().schema_descr();
    for index in 0..descriptor.num_columns() {
        let name = descriptor.column(index).name().to_owned();
        let Ok(field) = schema.field_with_name(&name) else { continue };
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
        if !unordered.contains(&name)
            && let Some((min, max)) = bounds(&groups, field.data_type())
        {
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
            Statistics::Float(s) => {
                (Bound::Float((*s.min_opt()?).into()), Bound::Float((*s.max_opt()?).into()))
            }
            Statistics::Double(s) => (Bound::Float(*s.min_opt()?), Bound::Float(*s.max_opt()?)),
            Statistics::ByteArray(s) => (text(s.min_opt()?.data())?, text(s.max_opt()?.data())?),
            _ => return None,
        })
    }
}

#[derive(Debug)]
enum Bound {
    Int(i64),
    Float(f64),
    Text(String),
}

impl Bound {
    fn cmp(&self, other: &Bound) -> Ordering {
        match (self, other) {
            (Bound::Int(a), Bound::Int(b)) => a.cmp(b),
            (Bound::Float(a), Bound::Float(b)) => a.total_cmp(b),
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
            (Bound::Float(value), DataType::Float32 | DataType::Float64) => {
                value.is_finite().then(|| json!(value))
            }
            (Bound::Text(text), DataType::Utf8) => Some(json!(text)),
            _ => None,
        }
    }
}
