//! Keeping the smallest row of each key, for rows that come in no known order.
//!
//! A first pass over the keys finds those that occur more than once. In the second pass rows
//! with other keys go on at once, and the rows of repeated keys are held until all are known;
//! of each key the smallest row, by all its columns in turn, is then kept. That is the same row
//! however the rows were ordered and however many threads there were.

use super::keys::{KeyEncoder, KeyTable};
use super::pick::pick;
use super::route::{Rule, judge};
use crate::engine::scan::execution;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use futures::StreamExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The key occurs more than once.
const REPEATED: u8 = 1;
/// The second pass has met the key.
const MET: u8 = 2;

/// All keys of some rows.
pub(super) struct Occurrences {
    table: KeyTable,
    marks: Vec<u8>,
}

/// The first pass: finds the keys of the rows that break no rule.
pub(super) async fn count_keys(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    rules: Vec<Rule>,
    encoder: KeyEncoder,
    memory: MemoryReservation,
) -> Result<Occurrences> {
    let occurrences = Occurrences { table: encoder.table(memory), marks: Vec::new() };
    let shared = Arc::new((rules, encoder, Mutex::new(occurrences)));
    // A thread can't be aborted; it stops when this future is dropped.
    let stop = CancellationToken::new();
    let _stop_when_dropped = stop.clone().drop_guard();
    let mut threads: JoinSet<Result<()>> = JoinSet::new();
    for mut rows in execute_stream_partitioned(plan, context)? {
        let (shared, stop) = (shared.clone(), stop.clone());
        let (handle, span) = (tokio::runtime::Handle::current(), tracing::Span::current());
        threads.spawn_blocking(move || {
            let _entered = span.enter();
            handle.block_on(async {
                let (rules, encoder, occurrences) = &*shared;
                loop {
                    let batch = tokio::select! {
                        biased;
                        () = stop.cancelled() => return Ok(()),
                        batch = rows.next() => batch,
                    };
                    let Some(batch) = batch.transpose()? else { return Ok(()) };
                    let mut keep = judge(rules, &batch)?.kept();
                    let keys = encoder.encode(&batch)?;
                    let mut occurrences =
                        occurrences.lock().unwrap_or_else(PoisonError::into_inner);
                    let Occurrences { table, marks } = &mut *occurrences;
                    table.each(&keys, &mut keep, |number, new| {
                        if new {
                            marks.push(0);
                        } else {
                            marks[number] = REPEATED;
                        }
                        true
                    })?;
                }
            })
        });
    }
    while let Some(joined) = threads.join_next().await {
        joined.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
    }
    let shared = Arc::into_inner(shared).ok_or_else(|| execution("a thread did not end"))?;
    Ok(shared.2.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The rows of the second pass whose keys occur more than once.
pub(super) struct Held {
    encoder: KeyEncoder,
    table: KeyTable,
    marks: Vec<AtomicU8>,
    schema: SchemaRef,
    rows: Mutex<Vec<RecordBatch>>,
    memory: MemoryReservation,
}

impl Held {
    pub(super) fn new(
        occurrences: Occurrences,
        encoder: KeyEncoder,
        schema: SchemaRef,
        memory: MemoryReservation,
    ) -> Self {
        let Occurrences { table, marks } = occurrences;
        let encoder = encoder.hashing_as(&table);
        let marks = marks.into_iter().map(AtomicU8::new).collect();
        Held { encoder, table, marks, schema, rows: Mutex::default(), memory }
    }

    /// Holds the kept rows of repeated keys, and keeps them no longer. Gives which rows it holds.
    pub(super) fn hold(&self, rows: &RecordBatch, keep: &mut [bool]) -> Result<Vec<bool>> {
        let keys = self.encoder.encode(rows)?;
        let mut held = vec![false; keep.len()];
        for (row, keep) in keep.iter_mut().enumerate().filter(|(_, keep)| **keep) {
            let number = self.table.find(keys.hashes[row], keys.rows.row(row).data());
            let mark = number.map(|number| self.marks[number].fetch_or(MET, Ordering::Relaxed));
            match mark {
                Some(mark) if mark & REPEATED != 0 => {
                    held[row] = true;
                    *keep = false;
                }
                Some(0) => {}
                // A new key, or one that was to come once and comes again.
                _ => {
                    return Err(execution(
                        "the query gives other rows each time it runs, so that `dedupe` can't \
                         find the smallest row of a key; make the query's result definite, or \
                         use `keep: any`",
                    ));
                }
            }
        }
        let picked: Vec<u32> =
            (0..).zip(&held).filter(|(_, held)| **held).map(|(i, _)| i).collect();
        if !picked.is_empty() {
            let batch = pick(rows, &picked)?;
            self.memory.try_grow(batch.get_array_memory_size())?;
            self.rows.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        }
        Ok(held)
    }

    /// Of the held rows the smallest of each key, and all the others.
    pub(super) fn release(&self) -> Result<Option<(RecordBatch, RecordBatch)>> {
        let batches =
            std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        if batches.is_empty() {
            return Ok(None);
        }
        let rows = concat_batches(&self.schema, &batches)?;
        drop(batches);
        let keys = self.encoder.encode(&rows)?;
        let fields = self.schema.fields().iter();
        let sort = fields.map(|field| SortField::new(field.data_type().clone())).collect();
        let whole = RowConverter::new(sort)?.convert_columns(rows.columns())?;
        self.memory.try_grow(rows.get_array_memory_size() + keys.rows.size() + whole.size())?;
        let count = u32::try_from(rows.num_rows())
            .map_err(|_| execution("more than 4 billion rows have a key that is repeated"))?;
        let mut order: Vec<u32> = (0..count).collect();
        order.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            (keys.rows.row(a), whole.row(a)).cmp(&(keys.rows.row(b), whole.row(b)))
        });
        let (mut smallest, mut others) = (Vec::new(), Vec::new());
        let mut last = None;
        for row in order {
            let key = keys.rows.row(row as usize);
            if last.replace(key) == Some(key) {
                others.push(row);
            } else {
                smallest.push(row);
            }
        }
        let take = |rows_of| take_record_batch(&rows, &UInt32Array::from(rows_of));
        let taken = (take(smallest)?, take(others)?);
        self.memory.free();
        Ok(Some(taken))
    }
}
