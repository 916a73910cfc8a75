//! The work of one attempt: read, decode, write roll by roll.

use super::columns::Layout;
use super::dead_letters;
use super::decode::{Decoded, decode};
use super::plain_files::{Piece, PlainFiles};
use super::sink::Sink;
use super::{DEAD_LETTERS, INPUT, Options};
use crate::places::Places;
use crate::places::topics::{Batch, Bounds, Consumer, Content, Topics};
use arrow::datatypes::SchemaRef;
use indexmap::IndexMap;
use orchestrator::attempt::{Attempt, Outcome, Stream, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::event::Offsets;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long to wait for messages before looking at the clock and the writer again.
const WAIT: Duration = Duration::from_millis(500);
/// How often to ask how much there is to land.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn run(attempt: &Attempt, places: &Places) -> Result<Outcome, TaskError> {
    let options: Options = attempt.options()?;
    let every = options.roll.every().map_err(TaskError::permanent)?;
    let input = &attempt.inputs[INPUT];
    let topic = input.dataset.name();
    attempt.pin(INPUT, None).await?;
    let bounds = async || {
        places.topics().bounds(topic).await?.ok_or_else(|| {
            TaskError::permanent(format!(
                "there is no `{}`: nothing has been written to it yet",
                input.dataset
            ))
        })
    };
    let partitions = bounds().await?.end;
    // Where all runs read the same messages, a table goes on where the last run has ended.
    let reader = input.stream.is_none().then(|| input.dataset.to_string());
    let Sinks { mut rows, mut dead } = Sinks::open(attempt, places, &options, reader).await?;
    let position = rows.claim(&partitions).await?;
    let dead_from = match &mut dead {
        Some(dead) => dead.claim(&partitions).await?,
        None => Offsets::new(),
    };
    // Only now, so that the end lies behind whatever another run has landed meanwhile.
    let range = Range::of(input.stream.clone(), &bounds().await?);
    let mut start = range.start.clone();
    for (partition, end) in position {
        let at = start.entry(partition).or_default();
        *at = end.max(*at);
    }
    range.check(&start, &input.dataset.to_string())?;
    if rows.rows() > 0 {
        tracing::info!("goes on behind {} landed rows", rows.rows());
    }
    let add = Arc::new(options.add.clone());
    let fixed = rows.fixed_schema();
    let layout = Layout::new(None, fixed, &options.columns, &add, options.metadata)?;
    let mut landing = Landing {
        attempt,
        topics: places.topics(),
        topic: topic.to_owned(),
        every,
        add,
        layout: layout.filter(|_| fixed.is_some()).map(Arc::new),
        start: start.clone(),
        committed: start.clone(),
        reached: start.clone(),
        dead_from,
        others: 0,
        roll: Roll::default(),
        sinks: Some(Box::new(Sinks { rows, dead })),
        thread: None,
        range,
        options,
    };
    if !landing.is_done() {
        let mut consumer = places.topics().consumer(topic, &start).await?;
        let read = landing.read(&mut *consumer).await;
        // A roll that is on its way is not left behind: the next attempt must find it whole.
        let written = landing.settle().await;
        read.and(written)?;
        landing.write_last().await?;
    }
    landing.finish(places).await
}

/// From where to where messages are landed.
struct Range {
    start: Offsets,
    /// Known from the beginning, or when the writer has succeeded.
    end: Option<Offsets>,
    stream: Option<watch::Receiver<Stream>>,
}

impl Range {
    fn of(stream: Option<watch::Receiver<Stream>>, bounds: &Bounds) -> Self {
        match stream {
            Some(stream) => {
                let Stream { start, end } = stream.borrow().clone();
                Range { start, end, stream: Some(stream) }
            }
            None => {
                let Bounds { start, end } = bounds.clone();
                Range { start, end: Some(end), stream: None }
            }
        }
    }

    /// A topic that has been made anew begins at 0 again.
    fn check(&self, start: &Offsets, topic: &str) -> Result<(), TaskError> {
        let (Some(end), None) = (&self.end, &self.stream) else { return Ok(()) };
        for (partition, at) in start {
            let end = end.get(partition).copied().unwrap_or(0);
            if *at > end {
                return Err(TaskError::permanent(format!(
                    "partition {partition} of `{topic}` has been landed up to offset {at}, but it \
                     ends at {end}: it is another topic of the same name; land it into another \
                     dataset, or overwrite this one"
                )));
            }
        }
        Ok(())
    }

    fn is_drained(&mut self, position: &Offsets) -> bool {
        if self.end.is_none()
            && let Some(stream) = &mut self.stream
        {
            self.end = stream.borrow_and_update().end.clone();
        }
        let reached = |(partition, end): (&u32, &u64)| position.get(partition) >= Some(end);
        self.end.as_ref().is_some_and(|end| end.iter().all(reached))
    }

    /// Returns when the writer has something new to say; never, if there is nothing to wait for.
    async fn changed(&mut self) {
        if let (None, Some(stream)) = (&self.end, &mut self.stream)
            && stream.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

struct Landing<'a> {
    attempt: &'a Attempt,
    topics: &'a dyn Topics,
    topic: String,
    options: Options,
    every: Duration,
    add: Arc<IndexMap<String, String>>,
    range: Range,
    /// Known with the first message, or from what an earlier attempt has landed.
    layout: Option<Arc<Layout>>,
    start: Offsets,
    /// Offsets that the last roll has reached, and that reading has.
    committed: Offsets,
    reached: Offsets,
    /// Dead letters before these offsets are in already: they are written before the rows.
    dead_from: Offsets,
    /// Messages of other runs.
    others: u64,
    /// The roll that is being filled.
    roll: Roll,
    /// Where rows go, while no thread writes to them.
    sinks: Option<Box<Sinks>>,
    thread: Option<JoinHandle<Written>>,
}

#[derive(Default)]
struct Roll {
    began: Option<Instant>,
    messages: u64,
    bytes: u64,
    rows: Vec<Piece>,
    dead: Vec<Piece>,
}

/// What a thread gives back that has written a roll.
type Written = (Box<Sinks>, Result<(), TaskError>);

struct Sinks {
    rows: Sink,
    dead: Option<Sink>,
}

impl Landing<'_> {
    fn is_done(&self) -> bool {
        self.sinks.as_ref().is_some_and(|sinks| sinks.rows.is_done())
    }

    async fn read(&mut self, consumer: &mut dyn Consumer) -> Result<(), TaskError> {
        let mut looked = None;
        while !self.range.is_drained(&self.reached) {
            if looked.is_none_or(|looked: Instant| looked.elapsed() >= LOOK_EVERY) {
                looked = Some(Instant::now());
                self.tell_lag().await?;
            }
            let age = self.roll.began.map(|began| began.elapsed());
            let wait = age.map_or(WAIT, |age| WAIT.min(self.every.saturating_sub(age)));
            let batches = tokio::select! {
                () = self.attempt.cancel.cancelled() => return Err(TaskError::Cancelled),
                batches = consumer.poll(wait) => batches?,
                () = self.range.changed() => continue,
            };
            for batch in batches {
                self.take(batch).await?;
            }
            for (&partition, &at) in consumer.position() {
                let reached = self.reached.entry(partition).or_default();
                *reached = at.max(*reached);
            }
            if self.roll.began.is_some_and(|began| began.elapsed() >= self.every) {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// Tells how much there is to do, as far as it has been sent.
    async fn tell_lag(&self) -> Result<(), TaskError> {
        let end = match &self.range.end {
            Some(end) => end.clone(),
            None => self.topics.bounds(&self.topic).await?.unwrap_or_default().end,
        };
        let ahead = |(partition, end): (&u32, &u64)| {
            end.saturating_sub(self.start.get(partition).copied().unwrap_or(0))
        };
        self.attempt.progress.set_total(end.iter().map(ahead).sum());
        Ok(())
    }

    /// Puts a batch into the roll; into several, if it is full before the batch is empty.
    async fn take(&mut self, batch: Batch) -> Result<(), TaskError> {
        let end = match (&self.range.stream, &self.range.end) {
            (None, Some(end)) => end.get(&batch.partition).copied().unwrap_or(0),
            _ => u64::MAX,
        };
        let within = end.saturating_sub(batch.first_offset).min(batch.len() as u64) as usize;
        let mut rest = batch.slice(0, within);
        let progress = &self.attempt.progress;
        progress.add_done(rest.len() as u64);
        if self.range.stream.is_some() && rest.origin.run != self.attempt.run.id {
            self.others += rest.len() as u64;
            self.reached.insert(rest.partition, rest.end_offset());
            return Ok(());
        }
        while !rest.is_empty() {
            let room = self.options.roll.rows.get().saturating_sub(self.roll.messages).max(1);
            let count = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let piece = rest.slice(0, count);
            rest = rest.slice(count, rest.len() - count);
            self.decode(piece).await?;
            let roll = &self.options.roll;
            if self.roll.messages >= roll.rows.get() || self.roll.bytes >= roll.bytes.get() {
                self.write().await?;
            }
        }
        Ok(())
    }

    async fn decode(&mut self, batch: Batch) -> Result<(), TaskError> {
        let layout = self.layout(&batch.origin.content)?;
        let progress = &self.attempt.progress;
        progress.add_rows_in(batch.len() as u64);
        self.roll.began.get_or_insert_with(Instant::now);
        self.roll.messages += batch.len() as u64;
        self.roll.bytes += batch.value_bytes() as u64;
        let (partition, first_offset, end) =
            (batch.partition, batch.first_offset, batch.end_offset());
        let (topic, format) = (self.topic.clone(), self.options.message_format);
        let from = self.dead_from.get(&partition).copied().unwrap_or(0);
        let has_dead = self.attempt.outputs.contains_key(DEAD_LETTERS);
        let constants = self.add.clone();
        let work = move || {
            let Decoded { rows, mut dead } = decode(&batch, &layout, format);
            if let (Some(first), false) = (dead.first(), has_dead) {
                return Err(TaskError::permanent(format!(
                    "the message at offset {} of partition {} can't be landed: {}; give the task \
                     an output `dead_letters` to set such messages aside",
                    batch.first_offset + first.index as u64,
                    batch.partition,
                    first.reason
                )));
            }
            dead.retain(|letter| batch.first_offset + letter.index as u64 >= from);
            let letters = || dead_letters::rows(&topic, &batch, &dead, &constants);
            let letters = (!dead.is_empty()).then(letters);
            Ok((rows, letters))
        };
        let (rows, dead) = blocking(work).await?;
        let piece = |rows| Piece { partition, first_offset, last_offset: end - 1, rows };
        if rows.num_rows() > 0 {
            self.roll.rows.push(piece(rows));
        }
        self.roll.dead.extend(dead.map(piece));
        self.reached.insert(partition, end);
        Ok(())
    }

    fn layout(&mut self, content: &Content) -> Result<Arc<Layout>, TaskError> {
        if let Some(layout) = &self.layout {
            return Ok(layout.clone());
        }
        let Options { columns, metadata, .. } = &self.options;
        let existing = self.sinks.as_ref().and_then(|sinks| sinks.rows.schema());
        let layout = Layout::new(Some(content), existing, columns, &self.add, *metadata)?;
        let layout = layout.map(Arc::new).ok_or_else(|| {
            TaskError::permanent("the messages have no columns; declare them in `columns`")
        })?;
        Ok(self.layout.insert(layout).clone())
    }

    /// Waits for the roll before, then hands this one to a thread that encodes and writes it.
    async fn write(&mut self) -> Result<(), TaskError> {
        self.settle().await?;
        let roll = std::mem::take(&mut self.roll);
        let ends = self.reached.clone();
        self.committed.clone_from(&ends);
        let Some(mut sinks) = self.sinks.take() else { return Ok(()) };
        let known = self.layout.as_ref().map(|layout| layout.schema.clone());
        let Some(schema) = known.or_else(|| sinks.rows.schema().cloned()) else {
            self.sinks = Some(sinks);
            return Ok(());
        };
        let (handle, span) = (Handle::current(), tracing::Span::current());
        self.thread = Some(tokio::task::spawn_blocking(move || {
            let written = span.in_scope(|| handle.block_on(sinks.write(&schema, &roll, &ends)));
            (sinks, written)
        }));
        Ok(())
    }

    /// Waits until no roll is on its way.
    async fn settle(&mut self) -> Result<(), TaskError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let (sinks, written) = thread
            .await
            .map_err(|error| TaskError::permanent(format!("writing a roll broke off: {error}")))?;
        self.sinks = Some(sinks);
        written
    }

    /// Writes what is left; also the offsets alone, where they are all that is new and the next
    /// run wants to know them.
    async fn write_last(&mut self) -> Result<(), TaskError> {
        let keeps_position = self.sinks.as_ref().is_some_and(|sinks| sinks.rows.keeps_position());
        if self.roll.messages > 0 || (keeps_position && self.reached != self.committed) {
            self.write().await?;
        }
        self.settle().await
    }

    async fn finish(mut self, places: &Places) -> Result<Outcome, TaskError> {
        let sinks = self.sinks.take().ok_or(TaskError::Cancelled)?;
        let Options { columns, metadata, .. } = &self.options;
        let layout = match self.layout.take() {
            Some(layout) => Some(layout),
            None => Layout::new(None, None, columns, &self.add, *metadata)?.map(Arc::new),
        };
        let rolls = sinks.rows.rolls();
        let mut outcome = Outcome::default();
        let mut tell = |name: &str, count: u64| {
            outcome.values.insert(name.into(), count.into());
            outcome.report.insert(name.into(), count.into());
        };
        // In the order in which rolls are written, so that the rows are never ahead.
        if let Some(dead) = sinks.dead {
            let schema = dead_letters::schema(&self.add);
            let dead = dead.finish(self.attempt, places, Some(&schema)).await?;
            tell("dead_letters", dead.rows);
        }
        let schema = layout.as_ref().map(|layout| &layout.schema);
        tell("rows", sinks.rows.finish(self.attempt, places, schema).await?.rows);
        outcome.report.insert("rolls".into(), rolls.into());
        let offsets = self.reached.iter().map(|(p, offset)| (p.to_string(), (*offset).into()));
        outcome.report.insert("offsets".into(), Value::Object(offsets.collect()));
        if self.others > 0 {
            outcome.report.insert("messages_of_other_runs".into(), self.others.into());
        }
        Ok(outcome)
    }
}

impl Sinks {
    async fn open(
        attempt: &Attempt,
        places: &Places,
        options: &Options,
        reader: Option<String>,
    ) -> Result<Self, TaskError> {
        let output = attempt.outputs.iter().find(|(name, _)| *name != DEAD_LETTERS);
        let (port, output) =
            output.ok_or_else(|| TaskError::permanent("there is no output for rows"))?;
        let files = match output.dataset() {
            directory if directory.scheme() == Scheme::File => {
                let topic = attempt.inputs[INPUT].dataset.name();
                let format = options.format.unwrap_or_default();
                Some(PlainFiles::new(places, directory, topic, format)?)
            }
            _ => None,
        };
        let mut rows = Sink::open(attempt, places, port, reader.clone(), files).await?;
        rows.count(&attempt.progress);
        let dead = match attempt.outputs.contains_key(DEAD_LETTERS) {
            true => Some(Sink::open(attempt, places, DEAD_LETTERS, reader, None).await?),
            false => None,
        };
        Ok(Sinks { rows, dead })
    }

    /// Dead letters first: whoever goes on behind the rows' offsets has all before them.
    async fn write(
        &mut self,
        schema: &SchemaRef,
        roll: &Roll,
        ends: &Offsets,
    ) -> Result<(), TaskError> {
        if let Some(dead) = &mut self.dead
            && !roll.dead.is_empty()
        {
            dead.write(&roll.dead[0].rows.schema(), &roll.dead, ends).await?;
        }
        self.rows.write(schema, &roll.rows, ends).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TaskError> + Send + 'static,
) -> Result<T, TaskError> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|error| TaskError::permanent(format!("decoding broke off: {error}")))?
}
