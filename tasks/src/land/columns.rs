//! Which columns the landed table has.

use crate::engine::{ColumnType, Columns};
use crate::places::topics::Content;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use indexmap::IndexMap;
use orchestrator::attempt::TaskError;
use orchestrator::schema::did_you_mean;
use std::sync::Arc;

/// The columns that say where a message came from.
pub(super) const METADATA: [&str; 3] = ["topic_partition", "topic_offset", "topic_timestamp"];

/// What a landed table consists of: the messages' columns, constants, and metadata, in this order.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) columns: Columns,
    pub(super) constants: Arc<IndexMap<String, String>>,
    pub(super) metadata: bool,
    pub(super) schema: SchemaRef,
}

impl Layout {
    /// `declared`: the types of some columns, or all columns if the producer names none.
    /// `existing`: the columns of what has been landed already.
    pub(super) fn new(
        content: Option<&Content>,
        existing: Option<&SchemaRef>,
        declared: &Columns,
        constants: &Arc<IndexMap<String, String>>,
        metadata: bool,
    ) -> Result<Option<Self>, TaskError> {
        let is_extra =
            |name: &str| constants.contains_key(name) || (metadata && METADATA.contains(&name));
        let mut names: Vec<&str> = Vec::new();
        if let Some(existing) = existing {
            let kept = existing.fields().iter().map(|field| field.name().as_str());
            names.extend(kept.filter(|name| !is_extra(name)));
        }
        let sent = content.map(|content| &content.columns[..]).unwrap_or_default();
        if let Some(twice) = sent.iter().find(|name| is_extra(name)) {
            return Err(TaskError::permanent(format!(
                "the messages have a column `{twice}`, and so can't get another one of that name"
            )));
        }
        let new = sent.iter().map(String::as_str).filter(|name| !names.contains(name));
        names.extend(new.collect::<Vec<_>>());
        if names.is_empty() {
            names.extend(declared.keys().map(String::as_str));
        }
        if names.is_empty() {
            return match content {
                None => Ok(None),
                Some(_) => Err(TaskError::permanent(
                    "the messages do not say what their columns are; declare all of them, in \
                     order, in `columns`",
                )),
            };
        }
        if let Some(name) = declared.keys().find(|name| !names.contains(&name.as_str())) {
            let near = did_you_mean(name, names.iter().copied());
            let hint = near.unwrap_or_else(|| format!("there are `{}`", names.join("`, `")));
            return Err(TaskError::permanent(format!(
                "`columns` declares `{name}`, which the messages do not have; {hint}"
            )));
        }
        let kind = |name: &str| declared.get(name).copied().unwrap_or(ColumnType::String);
        let columns: Columns = names.iter().map(|&name| (name.to_owned(), kind(name))).collect();
        let schema = Arc::new(schema(&columns, constants, metadata));
        Ok(Some(Layout { columns, constants: constants.clone(), metadata, schema }))
    }
}

fn schema(columns: &Columns, constants: &IndexMap<String, String>, metadata: bool) -> Schema {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let mut fields: Vec<Field> =
        columns.iter().map(|(name, kind)| field(name, data_type(*kind))).collect();
    fields.extend(constants.keys().map(|name| field(name, DataType::Utf8)));
    if metadata {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let types = [DataType::Int32, DataType::Int64, timestamp];
        fields.extend(METADATA.iter().zip(types).map(|(name, kind)| field(name, kind)));
    }
    Schema::new(fields)
}

/// Text is built as offsets and bytes, not as views.
pub(super) fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::String => DataType::Utf8,
        other => other.data_type(),
    }
}
