//! Texts that are already apart, as values of a type: read as the fields of a file are.

use super::column::Column;
use crate::engine::columns::ColumnType;
use arrow::array::{Array, ArrayRef, StringArray};
use arrow::buffer::Buffer;
use arrow::error::ArrowError;

/// The values, for a type other than text; null where a text is null, empty, or none of the type.
pub(crate) fn typed(texts: &StringArray, kind: ColumnType) -> Result<ArrayRef, ArrowError> {
    let mut column = Column::new(kind, texts.len());
    for text in texts {
        if !text.is_some_and(|text| column.push_text(text.as_bytes())) {
            column.push_null();
        }
    }
    let no_text = Buffer::from_vec(Vec::<u8>::new());
    column.finish(&no_text, &no_text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::display::array_value_to_string;

    #[test]
    fn values_of_each_type() {
        let check = |kind: &str, texts: &[&str], expect: &[&str]| {
            let texts: StringArray = texts.iter().map(|text| Some(*text)).collect();
            let kind: ColumnType = kind.parse().unwrap();
            let array = typed(&texts, kind).unwrap();
            assert_eq!(*array.data_type(), kind.data_type());
            let values = (0..array.len()).map(|row| match array.is_null(row) {
                true => "null".to_owned(),
                false => array_value_to_string(&array, row).unwrap(),
            });
            assert_eq!(values.collect::<Vec<_>>(), expect);
        };
        check("integer", &["7", "-12", "x", "", "7.5"], &["7", "-12", "null", "null", "null"]);
        check("number", &["7", "0.5", "nan", "1e999"], &["7.0", "0.5", "null", "null"]);
        check("boolean", &["true", "0", "maybe"], &["true", "false", "null"]);
        check("date", &["2026-11-24", "2026-13-01"], &["2026-11-24", "null"]);
        check("decimal(5,2)", &["12.34", "12345"], &["12.34", "null"]);
        check(
            "timestamp",
            &["2026-11-24T01:02:03Z", "2026-11-24 01:02:03", "soon"],
            &["2026-11-24T01:02:03Z", "2026-11-24T01:02:03Z", "null"],
        );
    }
}
