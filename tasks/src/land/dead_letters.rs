//! Messages that can't be landed, as rows of a table.

use crate::places::topics::Batch;
use arrow::array::{Array, BinaryBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder};
use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use indexmap::IndexMap;
use std::sync::Arc;

/// The columns of a dead-letter table: constants come last. `payload` is the message as text; if
/// it is none, `payload_bytes` has its bytes instead.
pub(super) fn schema(constants: &IndexMap<String, String>) -> SchemaRef {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let mut fields = vec![
        field("reason", DataType::Utf8),
        field("topic", DataType::Utf8),
        field("partition", DataType::Int32),
        field("offset", DataType::Int64),
        field("timestamp", timestamp),
        field("run", DataType::Utf8),
        field("key", DataType::Utf8),
        field("payload", DataType::Utf8),
        field("payload_bytes", DataType::Binary),
    ];
    fields.extend(constants.keys().map(|name| field(name, DataType::Utf8)));
    Arc::new(Schema::new(fields))
}

/// A message of a batch that can't be landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeadLetter {
    /// Its index in the batch.
    pub(super) index: usize,
    pub(super) reason: String,
}

/// The dead letters of one batch as rows.
pub(super) fn rows(
    topic: &str,
    batch: &Batch,
    letters: &[DeadLetter],
    constants: &IndexMap<String, String>,
) -> RecordBatch {
    let mut reasons = StringBuilder::new();
    let (mut topics, mut partitions) = (StringBuilder::new(), Int32Builder::new());
    let (mut offsets, mut runs) = (Int64Builder::new(), StringBuilder::new());
    let mut timestamps = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let (mut keys, mut payloads) = (StringBuilder::new(), StringBuilder::new());
    let mut payload_bytes = BinaryBuilder::new();
    for DeadLetter { index, reason } in letters {
        reasons.append_value(reason);
        topics.append_value(topic);
        partitions.append_value(batch.partition.cast_signed());
        offsets.append_value((batch.first_offset + *index as u64).cast_signed());
        timestamps.append_value(batch.timestamps().value(*index) * 1000);
        runs.append_value(&batch.origin.run);
        let key = (!batch.keys().is_null(*index)).then(|| batch.keys().value(*index));
        keys.append_option(key.map(String::from_utf8_lossy));
        let payload = batch.values().value(*index);
        match std::str::from_utf8(payload) {
            Ok(text) => {
                payloads.append_value(text);
                payload_bytes.append_null();
            }
            Err(_) => {
                payloads.append_null();
                payload_bytes.append_value(payload);
            }
        }
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(reasons.finish()),
        Arc::new(topics.finish()),
        Arc::new(partitions.finish()),
        Arc::new(offsets.finish()),
        Arc::new(timestamps.finish()),
        Arc::new(runs.finish()),
        Arc::new(keys.finish()),
        Arc::new(payloads.finish()),
        Arc::new(payload_bytes.finish()),
    ];
    let constant = |value: &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, letters.len())))
    };
    columns.extend(constants.values().map(constant));
    RecordBatch::try_new(schema(constants), columns).expect("columns of one length, as declared")
}
