//! Records as they go into a topic, and as they come out of it.

use super::{Origin, partition_of};
use arrow::array::{AsArray, BinaryArray, BinaryBuilder, RecordBatch};
use arrow::array::{TimestampMillisecondArray, TimestampMillisecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Columns of records at rest: `key` (may be null), `value` and `timestamp` (milliseconds, UTC).
pub(super) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, false),
        Field::new("timestamp", timestamp_type(), false),
    ]))
});

fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Records on their way into a topic: those of one transaction.
#[derive(Debug)]
pub struct Records {
    partitions: Vec<Partition>,
    rows: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Partition {
    keys: BinaryBuilder,
    values: BinaryBuilder,
    timestamps: TimestampMillisecondBuilder,
}

impl Partition {
    fn new() -> Self {
        Partition {
            keys: BinaryBuilder::new(),
            values: BinaryBuilder::new(),
            timestamps: TimestampMillisecondBuilder::new().with_data_type(timestamp_type()),
        }
    }

    fn push(&mut self, key: Option<&[u8]>, value: &[u8], timestamp_ms: i64) {
        self.keys.append_option(key);
        self.values.append_value(value);
        self.timestamps.append_value(timestamp_ms);
    }

    fn finish(mut self) -> RecordBatch {
        RecordBatch::try_new(
            SCHEMA.clone(),
            vec![
                Arc::new(self.keys.finish()),
                Arc::new(self.values.finish()),
                Arc::new(self.timestamps.finish()),
            ],
        )
        .expect("three columns of one length")
    }
}

impl Records {
    /// For a topic with so many partitions.
    pub fn new(partitions: u32) -> Self {
        let partitions = (0..partitions).map(|_| Partition::new()).collect();
        Records { partitions, rows: 0, bytes: 0 }
    }

    /// Adds a record to the partition of its key; without a key, to each partition in turn.
    /// `timestamp_ms`: milliseconds since 1970.
    pub fn push(&mut self, key: Option<&[u8]>, value: &[u8], timestamp_ms: i64) {
        let count = self.partitions.len();
        let partition = match key {
            _ if count == 1 => 0,
            Some(key) => partition_of(key, count as u32) as usize,
            None => self.rows % count,
        };
        self.partitions[partition].push(key, value, timestamp_ms);
        self.rows += 1;
        self.bytes += value.len() + key.map_or(0, <[u8]>::len);
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The records of each partition, in its order.
    pub(super) fn into_batches(self) -> Vec<RecordBatch> {
        self.partitions.into_iter().map(Partition::finish).collect()
    }
}

/// Makes batches of records that come one by one, each partition in its order.
#[derive(Default)]
pub(super) struct Gathered(BTreeMap<u32, Growing>);

struct Growing {
    first: u64,
    next: u64,
    origin: Arc<Origin>,
    records: Partition,
}

impl Growing {
    fn finish(self, partition: u32) -> Batch {
        Batch::new(partition, self.first, self.origin, self.records.finish())
    }
}

impl Gathered {
    /// Adds the record at an offset of a partition. Gives out the batch before it where that has
    /// come to its end: at a gap, or where another origin begins.
    pub(super) fn push(
        &mut self,
        (partition, offset): (u32, u64),
        origin: Arc<Origin>,
        (key, value): (Option<&[u8]>, &[u8]),
        timestamp_ms: i64,
    ) -> Option<Batch> {
        let goes_on =
            |growing: &Growing| growing.next == offset && Arc::ptr_eq(&growing.origin, &origin);
        let done = match self.0.get(&partition) {
            Some(growing) if !goes_on(growing) => self.0.remove(&partition),
            _ => None,
        };
        let growing = self.0.entry(partition).or_insert_with(|| Growing {
            first: offset,
            next: offset,
            origin,
            records: Partition::new(),
        });
        growing.records.push(key, value, timestamp_ms);
        growing.next = offset + 1;
        done.map(|growing| growing.finish(partition))
    }

    /// What is left.
    pub(super) fn finish(self) -> impl Iterator<Item = Batch> {
        self.0.into_iter().map(|(partition, growing)| growing.finish(partition))
    }
}

/// Records out of one partition, of one origin and with offsets without a gap.
#[derive(Clone, Debug)]
pub struct Batch {
    pub partition: u32,
    /// The offset of the first record; the next ones follow one by one.
    pub first_offset: u64,
    pub origin: Arc<Origin>,
    records: RecordBatch,
}

impl Batch {
    /// `records` has the columns of [`SCHEMA`].
    pub(super) fn new(
        partition: u32,
        first_offset: u64,
        origin: Arc<Origin>,
        records: RecordBatch,
    ) -> Self {
        debug_assert_eq!(records.schema_ref(), &*SCHEMA);
        Batch { partition, first_offset, origin, records }
    }

    pub fn len(&self) -> usize {
        self.records.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The offset behind the last record.
    pub fn end_offset(&self) -> u64 {
        self.first_offset + self.len() as u64
    }

    pub fn keys(&self) -> &BinaryArray {
        self.records.column(0).as_binary()
    }

    pub fn values(&self) -> &BinaryArray {
        self.records.column(1).as_binary()
    }

    /// Milliseconds since 1970.
    pub fn timestamps(&self) -> &TimestampMillisecondArray {
        self.records.column(2).as_primitive::<TimestampMillisecondType>()
    }

    /// The records from `offset` on, which lies in the batch or before it.
    #[must_use]
    pub fn starting_at(&self, offset: u64) -> Batch {
        let skip = (offset.saturating_sub(self.first_offset) as usize).min(self.len());
        self.slice(skip, self.len() - skip)
    }

    /// `len` records from the one at `start`, counted from the batch's first.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Batch {
        Batch {
            partition: self.partition,
            first_offset: self.first_offset + start as u64,
            origin: self.origin.clone(),
            records: self.records.slice(start, len),
        }
    }

    /// Bytes of the values.
    pub fn value_bytes(&self) -> usize {
        let offsets = self.values().value_offsets();
        (offsets[offsets.len() - 1] - offsets[0]) as usize
    }
}
