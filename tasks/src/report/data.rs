//! The result of a query as columns that can be drawn: numbers, times or text, with gaps.

use super::format::{self, Format, Grain, Numbers};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// All rows of a result, column by column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) columns: Vec<(String, Column)>,
    pub(super) rows: usize,
}

/// A null, and a number that is none, is `None`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Column {
    /// `integral`: the type of the column has no fractions.
    Number {
        values: Vec<Option<f64>>,
        integral: bool,
    },
    /// Microseconds since 1970 in UTC.
    Time {
        values: Vec<Option<i64>>,
        grain: Grain,
    },
    Text(Vec<Option<String>>),
}

impl Frame {
    pub(super) fn new(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Self, ArrowError> {
        let whole = concat_batches(schema, batches)?;
        let columns = schema.fields().iter().zip(whole.columns()).map(|(field, array)| {
            let column = Column::new(array)?;
            Ok((field.name().clone(), column))
        });
        Ok(Frame { columns: columns.collect::<Result<_, ArrowError>>()?, rows: whole.num_rows() })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, column)| column)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl Column {
    fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        let data_type = match array.data_type() {
            DataType::Dictionary(_, values) => values.as_ref(),
            data_type => data_type,
        };
        let column = match data_type {
            numeric if numeric.is_numeric() => {
                let numbers = cast(array, &DataType::Float64)?;
                let values = numbers.as_primitive::<Float64Type>().iter();
                let values = values.map(|value| value.filter(|value| value.is_finite())).collect();
                let no_fractions = |scale: i8| scale <= 0;
                let integral = numeric.is_integer()
                    || matches!(numeric, DataType::Decimal128(_, scale) if no_fractions(*scale));
                Column::Number { values, integral }
            }
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => {
                let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
                let values: Vec<Option<i64>> =
                    micros.as_primitive::<TimestampMicrosecondType>().iter().collect();
                let grain = Grain::of(values.iter().flatten().copied());
                Column::Time { values, grain }
            }
            _ => {
                let text = cast(array, &DataType::Utf8)?;
                let texts = text.as_string::<i32>().iter();
                Column::Text(texts.map(|text| text.map(str::to_owned)).collect())
            }
        };
        Ok(column)
    }

    pub(super) fn describe(&self) -> &'static str {
        match self {
            Column::Number { .. } => "numbers",
            Column::Time { .. } => "times",
            Column::Text(_) => "text",
        }
    }

    /// The format that is asked for, or the one that suits the numbers.
    pub(super) fn numbers(&self, format: Option<Format>, currency: &str) -> Numbers {
        let suits = match self {
            Column::Number { integral: true, .. } => Format::Integer,
            _ => Format::Decimal,
        };
        Numbers::new(format.unwrap_or(suits), currency)
    }

    /// A value as text; nothing for a null.
    pub(super) fn text(&self, row: usize, numbers: &Numbers) -> String {
        let text = match self {
            Column::Number { values, .. } => values[row].map(|value| numbers.exact(value)),
            Column::Time { values, grain } => values[row].map(|at| format::time(at, *grain)),
            Column::Text(values) => values[row].clone(),
        };
        text.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::DAY;
    use super::*;
    use arrow::array::{BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array};
    use arrow::array::{StringDictionaryBuilder, TimestampSecondArray};
    use arrow::datatypes::Int32Type;
    use std::sync::Arc;

    fn check(array: impl Array + 'static, expect: &Column) {
        let array: ArrayRef = Arc::new(array);
        let batch = RecordBatch::try_from_iter([("c", array)]).unwrap();
        let frame = Frame::new(&batch.schema(), &[batch.clone(), batch]).unwrap();
        assert_eq!(frame.rows, 4);
        let doubled = match expect.clone() {
            Column::Number { values, integral } => {
                Column::Number { values: [values.clone(), values].concat(), integral }
            }
            Column::Time { values, grain } => {
                Column::Time { values: [values.clone(), values].concat(), grain }
            }
            Column::Text(values) => Column::Text([values.clone(), values].concat()),
        };
        assert_eq!(frame.get("c"), Some(&doubled));
    }

    #[test]
    fn columns() {
        let number = |values: [Option<f64>; 2], integral| {
            let values = values.to_vec();
            Column::Number { values, integral }
        };
        check(Int64Array::from(vec![Some(3), None]), &number([Some(3.0), None], true));
        check(Float64Array::from(vec![f64::NAN, 0.5]), &number([None, Some(0.5)], false));
        let money = Decimal128Array::from(vec![1234, 5]).with_precision_and_scale(10, 2).unwrap();
        check(money, &number([Some(12.34), Some(0.05)], false));
        let days = Column::Time { values: vec![Some(DAY), None], grain: Grain::Day };
        check(Date32Array::from(vec![Some(1), None]), &days);
        let times =
            Column::Time { values: vec![Some(1_000_000), Some(DAY)], grain: Grain::Instant };
        check(TimestampSecondArray::from(vec![1, 86_400]), &times);
        let words = Column::Text(vec![Some("true".into()), None]);
        check(BooleanArray::from(vec![Some(true), None]), &words);
        let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
        dictionary.append_value("a");
        dictionary.append_null();
        check(dictionary.finish(), &Column::Text(vec![Some("a".into()), None]));
    }
}
