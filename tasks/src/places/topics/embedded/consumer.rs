//! Reading segments.

use super::blocking;
use super::topic::Topic;
use crate::places::topics::segment::{self, Header, offsets};
use crate::places::topics::{Batch, Consumer};
use async_trait::async_trait;
use orchestrator::attempt::TaskError;
use orchestrator::event::Offsets;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a consumer that has read all looks for the next segment.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct SegmentConsumer {
    topic: Topic,
    /// The name of the next segment.
    next: u64,
    /// The next record of each partition.
    position: Offsets,
}

impl SegmentConsumer {
    pub(super) fn open(topic: Topic, start: &Offsets) -> Result<Self, TaskError> {
        if let Some(partition) = start.keys().find(|&&p| p as usize >= topic.partitions()) {
            return Err(TaskError::permanent(format!(
                "the topic has no partition {partition}; it has {}",
                topic.partitions()
            )));
        }
        let mut position = offsets(&vec![0; topic.partitions()]);
        position.extend(start);
        let next = first_segment(&topic, &position)?;
        Ok(SegmentConsumer { topic, next, position })
    }
}

/// The last segment that begins at or before the position in every partition. Bases grow from
/// segment to segment, so it is found by halving.
fn first_segment(topic: &Topic, position: &Offsets) -> Result<u64, TaskError> {
    let segments = topic.segments()?;
    let (mut low, mut high) = (0, segments.len());
    while low < high {
        let middle = low.midpoint(high);
        let header = topic.header(segments[middle])?;
        let begins_before = header.spans.iter().zip(position.values()).all(|(s, &at)| s.base <= at);
        if begins_before { low = middle + 1 } else { high = middle }
    }
    Ok(low.checked_sub(1).map_or(0, |at| segments[at]))
}

/// A segment's header and the batches that have not been given out yet.
fn read(
    topic: &Topic,
    base: u64,
    position: &Offsets,
) -> Result<Option<(Header, Vec<Batch>)>, TaskError> {
    let Some((header, records)) = segment::read(&topic.segment(base))? else { return Ok(None) };
    // Its writer may not have got to make the name durable: nobody may act on records that a
    // power cut could still take back.
    segment::sync_dir(&topic.segments_dir())?;
    let origin = Arc::new(header.origin.clone());
    let spans = (0..).zip(&header.spans).filter(|(_, span)| span.count > 0);
    let batches = spans.zip(records).map(|((partition, span), records)| {
        let batch = Batch::new(partition, span.base, origin.clone(), records);
        batch.starting_at(position[&partition])
    });
    let batches = batches.filter(|batch| !batch.is_empty()).collect();
    Ok(Some((header, batches)))
}

#[async_trait]
impl Consumer for SegmentConsumer {
    async fn poll(&mut self, wait: Duration) -> Result<Vec<Batch>, TaskError> {
        let deadline = Instant::now() + wait;
        loop {
            let (topic, base, position) = (self.topic.clone(), self.next, self.position.clone());
            if let Some((header, batches)) = blocking(move || read(&topic, base, &position)).await?
            {
                let ends = header.ends();
                self.next = ends.iter().sum();
                for (partition, end) in (0..).zip(ends) {
                    let at = self.position.entry(partition).or_insert(end);
                    *at = end.max(*at);
                }
                if !batches.is_empty() {
                    return Ok(batches);
                }
                continue;
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            tokio::time::sleep(LOOK_EVERY.min(deadline - now)).await;
        }
    }

    fn position(&self) -> &Offsets {
        &self.position
    }
}
