//! A set of keys, kept exactly: the rows of the key columns in Arrow's row encoding.

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use std::hash::BuildHasher;

/// Makes keys of the rows of a batch.
pub(super) struct KeyEncoder {
    columns: Vec<usize>,
    converter: RowConverter,
    hasher: hashbrown::DefaultHashBuilder,
    /// The size of every key, if all keys have the same.
    width: Option<usize>,
}

/// The keys of a batch, row by row, and their hashes.
pub(super) struct Keys {
    pub(super) rows: Rows,
    pub(super) hashes: Vec<u64>,
}

impl KeyEncoder {
    pub(super) fn new(schema: &arrow::datatypes::Schema, columns: Vec<usize>) -> Result<Self> {
        let fields: Vec<_> = columns.iter().map(|column| schema.field(*column)).collect();
        let sort = fields.iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(sort.collect())?;
        // A fixed-width value takes one byte more, which says whether it is null.
        let width = |field: &&arrow::datatypes::Field| match field.data_type() {
            arrow::datatypes::DataType::Boolean => Some(2),
            kind => kind.primitive_width().map(|width| width + 1),
        };
        let width = fields.iter().map(width).sum();
        Ok(KeyEncoder { columns, converter, hasher: Default::default(), width })
    }

    /// This encoder with the hashes of a table, which may be another one's.
    pub(super) fn hashing_as(mut self, table: &KeyTable) -> Self {
        self.hasher = table.hasher.clone();
        self
    }

    pub(super) fn encode(&self, batch: &RecordBatch) -> Result<Keys> {
        let columns: Vec<_> =
            self.columns.iter().map(|column| batch.column(*column).clone()).collect();
        let rows = self.converter.convert_columns(&columns)?;
        let hashes = rows.iter().map(|row| hash(&self.hasher, row.data())).collect();
        Ok(Keys { rows, hashes })
    }

    /// An empty table for keys of this encoder.
    pub(super) fn table(&self, memory: MemoryReservation) -> KeyTable {
        KeyTable {
            slots: Vec::new(),
            segments: Vec::new(),
            count: 0,
            width: self.width,
            hasher: self.hasher.clone(),
            memory,
        }
    }
}

#[inline(always)]
fn hash(hasher: &hashbrown::DefaultHashBuilder, key: &[u8]) -> u64 {
    // The slot comes from the low bits and the tag from the high ones: spread the hash over all.
    let product = u128::from(hasher.hash_one(key)) * 0x9E37_79B9_7F4A_7C15;
    product as u64 ^ (product >> 64) as u64
}

/// Keys in the order in which they were added, found through an open-addressing table with
/// linear probing. A slot holds 24 bits of the key's hash and 40 bits of its number plus one, so
/// that a key is looked at only when it is very probably the one.
pub(super) struct KeyTable {
    slots: Vec<u64>,
    segments: Vec<Segment>,
    count: usize,
    width: Option<usize>,
    hasher: hashbrown::DefaultHashBuilder,
    memory: MemoryReservation,
}

/// As many keys lie in a segment, so that keys need not move when their number grows.
const SEGMENT_KEYS: usize = 1 << 15;

#[derive(Default)]
struct Segment {
    bytes: Vec<u8>,
    /// Where each key ends, unless all have the same width.
    ends: Vec<usize>,
}

const NUMBER_BITS: u32 = 40;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;
/// At most 7 of 10 slots are taken.
const LOAD: (usize, usize) = (7, 10);
/// So many slots are loaded before they are used: their cache misses then overlap.
const AHEAD: usize = 32;

impl KeyTable {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Makes room for more keys, if there is memory.
    pub(super) fn reserve(&mut self, keys: usize) -> Result<()> {
        let needed = (self.count + keys) * LOAD.1 / LOAD.0 + 1;
        if needed <= self.slots.len() {
            return Ok(());
        }
        let slots = needed.next_power_of_two().max(1 << 10);
        self.claim(self.bytes() + (slots - self.slots.len()) * size_of::<u64>())?;
        // The old slots are not needed to fill the new ones, and go before those come.
        self.slots = Vec::new();
        self.slots = vec![0; slots];
        self.refill();
        Ok(())
    }

    /// Puts the numbers of all keys into empty slots.
    fn refill(&mut self) {
        let mask = self.slots.len() - 1;
        let mut hashes = [0; AHEAD];
        for first in (0..self.count).step_by(AHEAD) {
            let block = AHEAD.min(self.count - first);
            let mut loaded = 0;
            for (i, hash_of) in hashes[..block].iter_mut().enumerate() {
                *hash_of = hash(&self.hasher, self.key(first + i));
                loaded |= self.slots[*hash_of as usize & mask];
            }
            std::hint::black_box(loaded);
            for (i, hash) in hashes[..block].iter().enumerate() {
                let mut slot = *hash as usize & mask;
                while self.slots[slot] != 0 {
                    slot = (slot + 1) & mask;
                }
                self.slots[slot] = slot_value(*hash, first + i);
            }
        }
    }

    /// Adds the keys of the rows that are kept, and keeps no longer those whose key was known.
    pub(super) fn keep_new(&mut self, keys: &Keys, keep: &mut [bool]) -> Result<()> {
        self.each(keys, keep, |_, new| new)
    }

    /// Adds the keys of the rows that are kept; `visit` gets the number of each key, and whether
    /// it is new, and says whether the row is kept.
    pub(super) fn each(
        &mut self,
        keys: &Keys,
        keep: &mut [bool],
        mut visit: impl FnMut(usize, bool) -> bool,
    ) -> Result<()> {
        self.reserve(keys.hashes.len())?;
        let mask = self.slots.len() - 1;
        for first in (0..keys.hashes.len()).step_by(AHEAD) {
            let block = first..keys.hashes.len().min(first + AHEAD);
            let loaded = keys.hashes[block.clone()]
                .iter()
                .fold(0, |loaded, hash| loaded | self.slots[*hash as usize & mask]);
            std::hint::black_box(loaded);
            for row in block {
                if keep[row] {
                    let (number, new) = self.add(keys.hashes[row], keys.rows.row(row).data());
                    keep[row] = visit(number, new);
                }
            }
        }
        self.claim(self.bytes())
    }

    /// The number of the key, and whether it was added just now. There must be room.
    #[inline(always)]
    fn add(&mut self, hash: u64, key: &[u8]) -> (usize, bool) {
        match self.probe(hash, key) {
            Ok(number) => (number, false),
            Err(slot) => {
                self.slots[slot] = slot_value(hash, self.count);
                self.push(key);
                (self.count - 1, true)
            }
        }
    }

    /// The number of the key, if it is known.
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        self.probe(hash, key).ok()
    }

    /// The number of the key, or the slot where it belongs.
    #[inline(always)]
    fn probe(&self, hash: u64, key: &[u8]) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let value = self.slots[slot];
            if value == 0 {
                return Err(slot);
            }
            let number = (value & NUMBER) as usize - 1;
            if value >> NUMBER_BITS == hash >> NUMBER_BITS && self.key(number) == key {
                return Ok(number);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn push(&mut self, key: &[u8]) {
        if self.count.is_multiple_of(SEGMENT_KEYS) {
            let bytes = Vec::with_capacity(self.width.unwrap_or(0) * SEGMENT_KEYS);
            self.segments.push(Segment { bytes, ends: Vec::new() });
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.bytes.extend_from_slice(key);
            if self.width.is_none() {
                segment.ends.push(segment.bytes.len());
            }
        }
        self.count += 1;
    }

    fn key(&self, number: usize) -> &[u8] {
        let (segment, i) = (&self.segments[number / SEGMENT_KEYS], number % SEGMENT_KEYS);
        match self.width {
            Some(width) => &segment.bytes[i * width..(i + 1) * width],
            None => {
                let start = if i == 0 { 0 } else { segment.ends[i - 1] };
                &segment.bytes[start..segment.ends[i]]
            }
        }
    }

    /// The memory that the table takes.
    pub(super) fn bytes(&self) -> usize {
        let keys: usize = match self.width {
            Some(width) => self.segments.len() * SEGMENT_KEYS * width,
            None => self
                .segments
                .iter()
                .map(|segment| {
                    segment.bytes.capacity() + segment.ends.capacity() * size_of::<usize>()
                })
                .sum(),
        };
        self.slots.capacity() * size_of::<u64>() + keys
    }

    fn claim(&self, bytes: usize) -> Result<()> {
        self.memory.try_resize(bytes).map_err(|error| {
            let cause = match error.find_root() {
                DataFusionError::ResourcesExhausted(cause) => cause.clone(),
                other => other.to_string(),
            };
            DataFusionError::ResourcesExhausted(format!(
                "the keys of `dedupe` would take {} MiB after {} of them: {cause}",
                bytes >> 20,
                self.count
            ))
        })
    }
}

#[inline(always)]
fn slot_value(hash: u64, number: usize) -> u64 {
    hash & !NUMBER | (number as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use datafusion::execution::memory_pool::{
        GreedyMemoryPool, MemoryConsumer, MemoryPool, UnboundedMemoryPool,
    };
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::sync::Arc;

    fn batch(rows: &[(Option<i64>, Option<String>)]) -> RecordBatch {
        let ids: Int64Array = rows.iter().map(|row| row.0).collect();
        let names: StringArray = rows.iter().map(|row| row.1.as_deref()).collect();
        let columns = [("id", Arc::new(ids) as ArrayRef), ("name", Arc::new(names))];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
            .unwrap()
    }

    fn reservation(pool: Arc<dyn MemoryPool>) -> MemoryReservation {
        MemoryConsumer::new("test").register(&pool)
    }

    proptest! {
        /// The table keeps exactly the rows that a set of all keys calls new, for keys of one
        /// width and of many, in batches of any size, with rows that are not kept anyway.
        #[test]
        fn keeps_what_is_new(
            rows in proptest::collection::vec(
                (proptest::option::of(0i64..40), proptest::option::of("[ab]{0,2}"), any::<bool>()),
                0..400,
            ),
            size in 1usize..100,
            columns in prop_oneof![Just(vec![0]), Just(vec![1]), Just(vec![1, 0])],
        ) {
            let schema = batch(&[]).schema();
            let encoder = KeyEncoder::new(&schema, columns.clone()).unwrap();
            let mut table = encoder.table(reservation(Arc::new(UnboundedMemoryPool::default())));
            let mut known = HashSet::new();
            for part in rows.chunks(size) {
                let values: Vec<_> = part.iter().map(|row| (row.0, row.1.clone())).collect();
                let mut keep: Vec<_> = part.iter().map(|row| row.2).collect();
                table.keep_new(&encoder.encode(&batch(&values)).unwrap(), &mut keep).unwrap();
                for (row, kept) in part.iter().zip(keep) {
                    let id = columns.contains(&0).then_some(row.0);
                    let name = columns.contains(&1).then(|| row.1.clone());
                    let expected = row.2 && known.insert((id, name));
                    prop_assert_eq!(kept, expected);
                }
            }
            prop_assert_eq!(table.len(), known.len());
        }
    }

    #[test]
    fn grows_through_many_segments() {
        let encoder = KeyEncoder::new(&batch(&[]).schema(), vec![0]).unwrap();
        let mut table = encoder.table(reservation(Arc::new(UnboundedMemoryPool::default())));
        let rows: Vec<_> = (0..100_000).map(|id| (Some(id * 1_000_003), None)).collect();
        let keys = encoder.encode(&batch(&rows)).unwrap();
        for expect in [true, false] {
            let mut keep = vec![true; rows.len()];
            table.keep_new(&keys, &mut keep).unwrap();
            assert!(keep.iter().all(|kept| *kept == expect));
        }
        assert_eq!(table.len(), rows.len());
        assert_eq!(table.find(keys.hashes[77_777], keys.rows.row(77_777).data()), Some(77_777));
    }

    #[test]
    fn memory_is_accounted() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let encoder = KeyEncoder::new(&batch(&[]).schema(), vec![0]).unwrap();
        let mut table = encoder.table(reservation(pool.clone()));
        let rows: Vec<_> = (0..200_000).map(|id| (Some(id), None)).collect();
        let keys = encoder.encode(&batch(&rows)).unwrap();
        let error = table.keep_new(&keys, &mut vec![true; rows.len()]).unwrap_err().to_string();
        assert!(error.contains("the keys of `dedupe` would take"), "{error}");
        drop(table);
        assert_eq!(pool.reserved(), 0);
    }
}
