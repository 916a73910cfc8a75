//! Partition columns: their values stand in the table's log, once for each file.

use super::schema::type_name;
use super::stage::safe_name;
use arrow::array::{Array, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use orchestrator::attempt::TaskError;
use std::collections::HashMap;
use std::sync::Arc;

/// The values of the partition columns, in their order, as Delta's log writes them.
pub(crate) type PartitionKey = Vec<Option<String>>;

#[derive(Clone, Debug)]
pub(crate) struct PartitionColumns {
    names: Vec<String>,
    /// Their places in the table's schema.
    indices: Vec<usize>,
    /// The places of all other columns.
    others: Vec<usize>,
}

impl PartitionColumns {
    /// `schema` is the table's.
    pub(crate) fn new(schema: &Schema, names: &[String]) -> Result<Self, TaskError> {
        let mut indices = Vec::with_capacity(names.len());
        for name in names {
            let Some((index, field)) = schema.column_with_name(name) else {
                return Err(TaskError::permanent(format!(
                    "`partition_by` names the column `{name}`, which the rows lack; they have {}",
                    quoted(schema.fields().iter().map(|field| field.name()))
                )));
            };
            let data_type = field.data_type();
            if !partitions_by(data_type) {
                return Err(TaskError::permanent(format!(
                    "`partition_by` names the column `{name}` of the type {}; partitions are told \
                     apart by varchar, date, boolean or integers",
                    type_name(data_type)
                )));
            }
            if indices.contains(&index) {
                return Err(TaskError::permanent(format!(
                    "`partition_by` names the column `{name}` twice"
                )));
            }
            indices.push(index);
        }
        let others = (0..schema.fields().len()).filter(|index| !indices.contains(index)).collect();
        let columns = PartitionColumns { names: names.to_vec(), indices, others };
        if columns.others.is_empty() {
            return Err(TaskError::permanent(
                "`partition_by` names every column; at least one must be left for the files",
            ));
        }
        Ok(columns)
    }

    /// A schema of all columns without these.
    pub(crate) fn without(&self, schema: &Schema) -> SchemaRef {
        let fields = self.others.iter().map(|index| schema.fields()[*index].clone());
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The batch's rows by partition, without the partition columns.
    pub(crate) fn split(
        &self,
        batch: &RecordBatch,
    ) -> Result<Vec<(PartitionKey, RecordBatch)>, TaskError> {
        let malformed = |error: arrow::error::ArrowError| {
            TaskError::permanent(format!("can't partition rows: {error}"))
        };
        let rest = batch.project(&self.others).map_err(malformed)?;
        if self.names.is_empty() {
            return Ok(vec![(Vec::new(), rest)]);
        }
        let texts = self.texts(batch)?;
        let value = |column: &StringArray, row: usize| {
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let mut groups: Vec<(PartitionKey, Vec<u32>)> = Vec::new();
        let mut index_of: HashMap<PartitionKey, usize> = HashMap::new();
        let mut current: Option<usize> = None;
        for row in 0..batch.num_rows() {
            // Rows of one partition often follow each other: then nothing is looked up.
            let same = current.is_some_and(|group| {
                let key: &PartitionKey = &groups[group].0;
                key.iter().zip(&texts).all(|(known, column)| match known {
                    Some(known) => column.is_valid(row) && column.value(row) == known,
                    None => column.is_null(row),
                })
            });
            if !same {
                let key: PartitionKey = texts.iter().map(|column| value(column, row)).collect();
                let group = *index_of.entry(key.clone()).or_insert_with(|| {
                    groups.push((key, Vec::new()));
                    groups.len() - 1
                });
                current = Some(group);
            }
            if let Some(group) = current {
                groups[group].1.push(row as u32);
            }
        }
        let rows_of = |(key, rows): (PartitionKey, Vec<u32>)| {
            let taken = if rows.len() == rest.num_rows() {
                rest.clone()
            } else {
                take_record_batch(&rest, &UInt32Array::from(rows)).map_err(malformed)?
            };
            Ok((key, taken))
        };
        groups.into_iter().map(rows_of).collect()
    }

    /// The partition columns' values as the log writes them.
    fn texts(&self, batch: &RecordBatch) -> Result<Vec<StringArray>, TaskError> {
        let mut texts = Vec::with_capacity(self.indices.len());
        for (index, name) in self.indices.iter().zip(&self.names) {
            let text = cast(batch.column(*index), &DataType::Utf8).map_err(|error| {
                TaskError::permanent(format!("can't partition by column `{name}`: {error}"))
            })?;
            let text: StringArray = text.as_string::<i32>().clone();
            if text.iter().any(|value| value == Some("")) {
                return Err(TaskError::permanent(format!(
                    "column `{name}` partitions the table and holds an empty text, which a table \
                     can't tell from null; replace it, for example by `nullif({name}, '')`"
                )));
            }
            texts.push(text);
        }
        Ok(texts)
    }

    /// As in Delta's `partitionValues`.
    pub(crate) fn values(&self, key: &PartitionKey) -> HashMap<String, Option<String>> {
        self.names.iter().cloned().zip(key.iter().cloned()).collect()
    }

    /// One directory for each column. Nobody reads values back from them.
    pub(crate) fn directories(&self, key: &PartitionKey) -> Vec<String> {
        let directory = |(name, value): (&String, &Option<String>)| {
            let value = value.as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__");
            format!("{}={}", safe_name(name), safe_name(value))
        };
        self.names.iter().zip(key).map(directory).collect()
    }
}

fn partitions_by(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::Date32
            | DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
    )
}

/// `a`, `b`, `c` in backticks.
pub(crate) fn quoted<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
