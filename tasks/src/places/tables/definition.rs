//! What a table declares: its columns, partitions and key, and how they may change.

use super::commit::Publication;
use super::failure::failed;
use super::log::CHECKPOINT_INTERVAL;
use super::partition::quoted;
use super::schema::type_name;
use arrow::datatypes::{Schema, SchemaRef};
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::{Action, Metadata, Protocol, StructType, new_metadata};
use orchestrator::attempt::TaskError;
use orchestrator::kind::Write;
use serde_json::{Value, json};
use std::sync::Arc;

/// Set on tables whose every file is sorted by this key, with no key twice in the table.
const KEY: &str = "tidemill.key";

/// Tables with features that we don't write are left alone.
pub(crate) fn gate_protocol(protocol: &Protocol) -> Result<(), TaskError> {
    if protocol.min_writer_version() > 2 || protocol.min_reader_version() > 1 {
        return Err(TaskError::permanent(format!(
            "another program has given it Delta features that tidemill reads but does not write \
             (protocol {} and {}, not 1 and 2); write to another table, or remove this one first",
            protocol.min_reader_version(),
            protocol.min_writer_version()
        )));
    }
    Ok(())
}

/// Rules on columns that another program gave the table, and that nobody here would check.
fn gate_rules(schema: &Schema) -> Result<(), TaskError> {
    for field in schema.fields() {
        if !field.is_nullable() || field.metadata().keys().any(|key| key.starts_with("delta.")) {
            return Err(TaskError::permanent(format!(
                "another program has set a rule on its column `{}` (not null, an invariant or a \
                 generated value) that tidemill does not check; write to another table, or remove \
                 this one first",
                field.name()
            )));
        }
    }
    Ok(())
}

/// The actions that make a table.
pub(crate) fn creation(
    schema: &Schema,
    publication: &Publication,
) -> Result<[Action; 2], TaskError> {
    let protocol: Protocol =
        serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 2}))
            .map_err(|error| failed("can't make a table's protocol", &error))?;
    let schema = kernel_schema(schema)?;
    let interval = ("delta.checkpointInterval".to_owned(), CHECKPOINT_INTERVAL.to_string());
    let key = key_of(publication).map(|key| (KEY.to_owned(), key));
    let configuration = [Some(interval), key].into_iter().flatten();
    let metadata = new_metadata(&schema, &publication.partition_by, configuration)
        .map_err(|error| failed("can't make a table's metadata", &error))?;
    Ok([Action::Protocol(protocol), Action::Metadata(metadata)])
}

/// The key that the table is kept by after the publication.
fn key_of(publication: &Publication) -> Option<String> {
    (publication.write == Write::Merge).then(|| publication.key.join(","))
}

/// Whether the table is already kept by the publication's key.
pub(crate) fn is_kept_by_key(metadata: &Metadata, publication: &Publication) -> bool {
    key_of(publication).is_some_and(|key| metadata.configuration().get(KEY) == Some(&key))
}

pub(crate) fn kernel_schema(schema: &Schema) -> Result<StructType, TaskError> {
    schema.try_into_kernel().map_err(|error| failed("can't declare its columns", &error))
}

/// The columns that a table declares.
pub(crate) fn declared(metadata: &Metadata) -> Result<SchemaRef, TaskError> {
    let doing = "can't read the columns it declares";
    declared_columns(&metadata.parse_schema().map_err(|error| failed(doing, &error))?)
}

pub(crate) fn declared_columns(schema: &StructType) -> Result<SchemaRef, TaskError> {
    let doing = "can't read the columns it declares";
    let schema: Schema = schema.try_into_arrow().map_err(|error| failed(doing, &error))?;
    Ok(Arc::new(schema))
}

/// Whether each file is sorted by a key, and each key there once.
pub(crate) fn is_kept_by_some_key(metadata: &Metadata) -> bool {
    metadata.configuration().contains_key(KEY)
}

pub(crate) struct Evolved {
    pub(crate) schema: SchemaRef,
    /// Set if the table's declaration changes.
    pub(crate) metadata: Option<Metadata>,
}

/// What the table declares after the commit. Overwriting may change everything; other writes may
/// add columns, which are null in the older rows.
pub(crate) fn evolve(
    metadata: &Metadata,
    publication: &Publication,
    new: &SchemaRef,
) -> Result<Evolved, TaskError> {
    let old = declared(metadata)?;
    let old_partitions = metadata.partition_columns();
    let old_key = metadata.configuration().get(KEY);
    let same_partitions = *old_partitions == publication.partition_by;
    let schema = if publication.write == Write::Overwrite {
        new.clone()
    } else {
        if !same_partitions {
            return Err(TaskError::permanent(format!(
                "it is partitioned by {}, and the new rows by {}; only `write: overwrite` can \
                 change that",
                quoted(old_partitions),
                quoted(&publication.partition_by)
            )));
        }
        if let Some(key) = old_key
            && publication.write != Write::Merge
        {
            return Err(TaskError::permanent(format!(
                "it has one row for each `{key}`; use `write: merge` with that key, or replace \
                 the table with `write: overwrite`"
            )));
        }
        gate_rules(&old)?;
        fit(&old, new)?
    };
    let key = key_of(publication);
    if same_partitions && same_columns(&old, &schema) && old_key == key.as_ref() {
        return Ok(Evolved { schema, metadata: None });
    }
    // There is no other way to change all of these than through the action's JSON.
    let columns = serde_json::to_string(&kernel_schema(&schema)?)
        .map_err(|error| failed("can't declare its columns", &error))?;
    let changed = serde_json::to_value(metadata).and_then(|mut value| {
        value["schemaString"] = columns.into();
        value["partitionColumns"] = Value::from(publication.partition_by.clone());
        match key {
            Some(key) => value["configuration"][KEY] = key.into(),
            None => {
                value["configuration"].as_object_mut().map(|map| map.shift_remove(KEY));
            }
        }
        serde_json::from_value(value)
    });
    let changed = changed.map_err(|error| failed("can't change what it declares", &error))?;
    Ok(Evolved { schema, metadata: Some(changed) })
}

fn same_columns(a: &Schema, b: &Schema) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields().iter().zip(b.fields()).all(|(a, b)| {
            a.name() == b.name()
                && a.data_type() == b.data_type()
                && a.is_nullable() == b.is_nullable()
        })
}

/// The table's columns with those that only the new rows have, or why they don't fit.
fn fit(old: &Schema, new: &Schema) -> Result<SchemaRef, TaskError> {
    let mut problems = Vec::new();
    for field in old.fields() {
        let name = field.name();
        match new.field_with_name(name) {
            Ok(found) if found.data_type() == field.data_type() => {}
            Ok(found) => problems.push(format!(
                "column `{name}` is {} in the new rows and {} in the table; cast it",
                type_name(found.data_type()),
                type_name(field.data_type())
            )),
            Err(_) => problems.push(format!(
                "the new rows lack the column `{name}`; add it, if need be as `cast(null as {}) \
                 as {name}`",
                type_name(field.data_type())
            )),
        }
    }
    let mut fields: Vec<_> = old.fields().iter().cloned().collect();
    for field in new.fields() {
        if old.field_with_name(field.name()).is_ok() {
            continue;
        }
        let twin = old.fields().iter().find(|old| old.name().eq_ignore_ascii_case(field.name()));
        if let Some(twin) = twin {
            problems.push(format!(
                "column `{}` is `{}` in the table; write it the same",
                field.name(),
                twin.name()
            ));
        }
        fields.push(field.clone());
    }
    if problems.is_empty() {
        Ok(Arc::new(Schema::new(fields)))
    } else {
        problems.push("or replace the table with `write: overwrite`".into());
        Err(TaskError::permanent(problems.join("; ")))
    }
}
