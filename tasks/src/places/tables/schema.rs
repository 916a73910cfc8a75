//! What a table's columns may be, and how a batch's columns become them.

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use orchestrator::attempt::TaskError;
use std::collections::HashSet;
use std::sync::Arc;

/// How columns are kept in a table.
///
/// Only types that every reader of Delta gives back as they were: what Delta would narrow silently
/// (nanoseconds, unsigned integers) or what would raise the table's protocol (timestamps without a
/// zone) is converted here, or refused.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    /// As the table declares the columns. All may be null: a table whose first rows had none must
    /// still take rows that have.
    pub(crate) table: SchemaRef,
    /// As the columns are handed to the Parquet writer, which takes views and dictionaries as
    /// they are.
    pub(crate) written: SchemaRef,
}

impl Storage {
    /// The gate: every column has a name and a type that can be kept, or all problems are told.
    pub(crate) fn of(schema: &Schema) -> Result<Storage, TaskError> {
        let mut problems = Vec::new();
        let mut names = HashSet::new();
        let (mut table, mut written) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            let name = field.name();
            if let Some(problem) = name_problem(name) {
                problems.push(problem);
            } else if !names.insert(name.to_lowercase()) {
                problems.push(format!(
                    "there are two columns `{name}` (case does not count); rename one with `as`"
                ));
            }
            match kept(field.data_type()) {
                Ok((declared, handed)) => {
                    table.push(Field::new(name, declared, true));
                    written.push(Field::new(name, handed, true));
                }
                Err(help) => problems.push(format!(
                    "column `{name}` is of the type {}, which a table can't keep; {help}",
                    type_name(field.data_type())
                )),
            }
        }
        if schema.fields().is_empty() {
            problems.push("a table needs at least one column".into());
        }
        if problems.is_empty() {
            let (table, written) = (Schema::new(table), Schema::new(written));
            Ok(Storage { table: Arc::new(table), written: Arc::new(written) })
        } else {
            Err(TaskError::permanent(problems.join("; ")))
        }
    }

    /// The batch's columns in the types of `written`.
    pub(crate) fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, TaskError> {
        if batch.num_columns() != self.written.fields().len() {
            return Err(TaskError::permanent(format!(
                "a batch has {} columns where {} were announced",
                batch.num_columns(),
                self.written.fields().len()
            )));
        }
        // Not `safe`: a value that does not fit is an error, never a null.
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, column) in self.written.fields().iter().zip(batch.columns()) {
            if field.data_type() == column.data_type() {
                columns.push(column.clone());
                continue;
            }
            let cast = cast_with_options(column, field.data_type(), &strict).map_err(|error| {
                TaskError::permanent(format!(
                    "column `{}` can't be kept as {}: {error}",
                    field.name(),
                    type_name(field.data_type())
                ))
            })?;
            columns.push(cast);
        }
        RecordBatch::try_new(self.written.clone(), columns)
            .map_err(|error| TaskError::permanent(format!("a batch is malformed: {error}")))
    }
}

fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a column has no name; give it one with `as`".into());
    }
    // Delta keeps these out of column names; Parquet and Spark read some of them as syntax.
    let bad = |c: char| " ,;{}()\n\t=".contains(c) || c.is_control();
    name.contains(bad).then(|| {
        format!(
            "column `{}` needs a name without spaces, brackets, `,`, `;` and `=`; give it one with \
             `as`",
            name.escape_debug()
        )
    })
}

/// The type that a table declares, and the one that is handed to the Parquet writer; or what to
/// do about one that can't be kept.
fn kept(data_type: &DataType) -> Result<(DataType, DataType), &'static str> {
    let same = |kept: DataType| Ok((kept.clone(), kept));
    match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32 => same(data_type.clone()),
        DataType::Decimal128(precision, scale) if *scale >= 0 && *scale as u8 <= *precision => {
            same(data_type.clone())
        }
        DataType::UInt8 => same(DataType::Int16),
        DataType::UInt16 => same(DataType::Int32),
        DataType::UInt32 | DataType::UInt64 => same(DataType::Int64),
        DataType::Float16 => same(DataType::Float32),
        DataType::Date64 => same(DataType::Date32),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            kept(&DataType::Decimal128(*precision, *scale))
        }
        DataType::Timestamp(..) => same(timestamp()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Ok((DataType::Utf8, data_type.clone()))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Ok((DataType::Binary, data_type.clone()))
        }
        DataType::FixedSizeBinary(_) => same(DataType::Binary),
        DataType::Dictionary(_, value) if **value == DataType::Utf8 => {
            Ok((DataType::Utf8, data_type.clone()))
        }
        DataType::Dictionary(_, value) => kept(value),
        DataType::RunEndEncoded(_, value) => kept(value.data_type()),
        DataType::Null => Err("say which type it has, such as `cast(null as varchar)`"),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::FixedSizeList(..)
        | DataType::Struct(_)
        | DataType::Map(..)
        | DataType::Union(..) => {
            Err("select its parts as columns of their own, or turn it into text")
        }
        _ => Err("cast it, for example to bigint, double, varchar or timestamp"),
    }
}

/// The one type of timestamps in tables: microseconds, UTC.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The name of a type as SQL says it, such as `bigint` or `decimal(10,2)`.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "tinyint".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "varchar".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Dictionary(_, value) => type_name(value),
        other => format!("`{other}`"),
    }
}

/// Columns as `name: type`, as an event tells them.
pub(crate) fn columns(schema: &Schema) -> Vec<(String, String)> {
    let column = |field: &Arc<Field>| (field.name().clone(), type_name(field.data_type()));
    schema.fields().iter().map(column).collect()
}
