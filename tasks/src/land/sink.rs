//! Where landed rows go: a table or a directory that takes them roll by roll.

use super::plain_files::{LOG, Piece, PlainFiles};
use super::roll::Roll;
use crate::places::{Places, Publication, StageOptions, Staged, Tables, publish_table};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use orchestrator::attempt::{Attempt, Progress, TaskError};
use orchestrator::event::{Offsets, Published};
use orchestrator::failpoint;
use orchestrator::kind::Write;
use std::sync::Arc;

/// One output of a landing.
pub(super) struct Sink {
    /// The output's name.
    output: String,
    /// The table that takes the rows; for plain files, their log.
    tables: Tables,
    table: String,
    files: Option<PlainFiles>,
    partition_by: Vec<String>,
    publication: Publication,
    /// The last roll that is in.
    last: Roll,
    /// The size of that one.
    last_bytes: u64,
    /// The newest version that this sink made.
    version: Option<i64>,
    schema: Option<SchemaRef>,
    progress: Option<Arc<Progress>>,
    mode: Mode,
}

enum Mode {
    /// Rolls are staged, and committed together at the end.
    Together(Vec<Staged>),
    /// Each roll is a commit, which also carries the offsets it has reached, by reader.
    Each { reader: Option<String> },
    /// An earlier attempt has finished this output.
    Done(Published),
}

impl Sink {
    /// Looks for what earlier attempts have done. `reader`: a name for the task that goes on, run
    /// after run, where the last one has ended. `files`: if rows don't go to a table.
    pub(super) async fn open(
        attempt: &Attempt,
        places: &Places,
        output: &str,
        reader: Option<String>,
        files: Option<PlainFiles>,
    ) -> Result<Self, TaskError> {
        let planned = &attempt.outputs[output].planned;
        let (tables, table) = match &files {
            Some(files) => (files.log().clone(), LOG.to_owned()),
            None => (places.tables().clone(), planned.dataset.name().to_owned()),
        };
        let mut sink = Sink {
            output: output.to_owned(),
            partition_by: planned.partition_by.clone(),
            publication: Publication::of(attempt, output, None),
            last: Roll::default(),
            last_bytes: 0,
            version: None,
            schema: None,
            progress: None,
            mode: Mode::Each { reader },
            tables,
            table,
            files,
        };
        if let Some(published) = &attempt.outputs[output].published {
            sink.mode = Mode::Done(published.clone());
            return Ok(sink);
        }
        if let Some(files) = &sink.files {
            files.recover().await?;
        }
        if planned.write == Write::Append {
            let newest = sink.tables.latest(&sink.table).await?;
            sink.publication.base = attempt.intend(output, newest).await?;
            sink.find_commits().await?;
            if let (Some(version), None) = (newest, &sink.files) {
                sink.schema = Some(sink.tables.read(&sink.table, version).await?.schema);
            }
        } else {
            sink.find_staged().await?;
        }
        Ok(sink)
    }

    /// Counts what is written from now on.
    pub(super) fn count(&mut self, progress: &Arc<Progress>) {
        self.progress = Some(progress.clone());
    }

    /// The rolls that follow one another without a gap from the first on; what lies behind a gap
    /// is not to be trusted.
    async fn find_staged(&mut self) -> Result<(), TaskError> {
        let mut rolls = Vec::new();
        for staged in self.tables.staged(&self.table, &self.publication.id).await? {
            let roll = staged.prefix.as_deref().and_then(|prefix| prefix.parse::<Roll>().ok());
            let Some(roll) = roll else { continue };
            let follows = self.last.next(staged.rows, self.last_bytes, roll.ends.clone()) == roll;
            if !follows {
                break;
            }
            self.last = roll;
            self.last_bytes = staged.bytes;
            self.schema = Some(staged.schema.clone());
            rolls.push(staged);
        }
        self.mode = Mode::Together(rolls);
        Ok(())
    }

    async fn find_commits(&mut self) -> Result<(), TaskError> {
        let prefix = format!("{}/", self.publication.id);
        let last = self.tables.find_last(&self.table, &prefix, self.publication.base).await?;
        let Some((id, published)) = last else { return Ok(()) };
        let Some(Ok(roll)) = id.strip_prefix(&prefix).map(str::parse::<Roll>) else {
            return Ok(());
        };
        self.last = roll;
        if self.files.is_none() {
            self.last_bytes = published.bytes;
        }
        self.version = published.version;
        Ok(())
    }

    /// Rows that are in.
    pub(super) fn rows(&self) -> u64 {
        match &self.mode {
            Mode::Done(published) => published.rows,
            _ => self.last.rows,
        }
    }

    pub(super) fn rolls(&self) -> u64 {
        self.last.number
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.mode, Mode::Done(_))
    }

    /// The columns that all further rolls must have too.
    pub(super) fn fixed_schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref().filter(|_| matches!(self.mode, Mode::Together(_)))
    }

    /// The columns of what is in, or of the table that is appended to.
    pub(super) fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// Whether the offsets reached are worth a commit without rows.
    pub(super) fn keeps_position(&self) -> bool {
        matches!(&self.mode, Mode::Each { reader: Some(_) })
    }

    /// The offsets before which all is in: of this run's rolls, and of earlier runs' where the
    /// table remembers them. Those are claimed: this sink's commits are refused once another run
    /// has moved them.
    pub(super) async fn claim(&mut self, partitions: &Offsets) -> Result<Offsets, TaskError> {
        let mut position = self.last.ends.clone();
        if let Mode::Each { reader: Some(reader) } = &self.mode {
            for &partition in partitions.keys() {
                let app = app(reader, partition);
                let end = self.tables.position(&self.table, &app).await?;
                self.publication.expected.push((app, end));
                if let Some(end) = end {
                    let at = position.entry(partition).or_default();
                    *at = (*at).max(end.cast_unsigned());
                }
            }
        }
        Ok(position)
    }

    /// Takes the next roll: rows up to `ends`. Blocks while it encodes.
    pub(super) async fn write(
        &mut self,
        schema: &SchemaRef,
        pieces: &[Piece],
        ends: &Offsets,
    ) -> Result<(), TaskError> {
        if self.is_done() {
            return Ok(());
        }
        let Some(files) = &self.files else {
            let batches: Vec<RecordBatch> = pieces.iter().map(|piece| piece.rows.clone()).collect();
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            let roll = self.last.next(rows as u64, self.last_bytes, ends.clone());
            let (bytes, schema) = self.take(&roll, schema, &batches).await?;
            (self.last, self.last_bytes, self.schema) = (roll, bytes, Some(schema));
            return Ok(());
        };
        let staged = files.stage(&self.publication.run, schema, pieces).await?;
        let rows = staged.iter().map(|file| file.rows).sum();
        // Unlike a table's, the size is known in time for the roll's name.
        let bytes = staged.iter().map(|file| file.bytes).sum();
        let roll = self.last.next(rows, bytes, ends.clone());
        let log = PlainFiles::log_rows(&staged)?;
        let committed = self.take(&roll, &log.schema(), &[log]).await;
        let Some(files) = &self.files else { return Ok(()) };
        committed.map_err(|error| files.of_log(error))?;
        files.place(&staged).await?;
        if let Some(progress) = &self.progress {
            progress.add_rows_out(rows);
            progress.add_bytes_out(bytes);
        }
        self.last = roll;
        self.schema = Some(schema.clone());
        Ok(())
    }

    /// Writes a roll into the table, or the log. Gives its size, and its columns as they are kept.
    async fn take(
        &mut self,
        roll: &Roll,
        schema: &SchemaRef,
        batches: &[RecordBatch],
    ) -> Result<(u64, SchemaRef), TaskError> {
        let id = match &self.mode {
            Mode::Each { .. } => format!("{}/{roll}", self.publication.id),
            _ => self.publication.id.clone(),
        };
        let together = matches!(self.mode, Mode::Together(_));
        let options = StageOptions {
            partition_by: self.partition_by.clone(),
            file_prefix: together.then(|| roll.to_string()),
            progress: self.progress.clone().filter(|_| self.files.is_none()),
            ..StageOptions::default()
        };
        let mut writer = self.tables.stage_writer(&self.table, &id, schema, &options)?;
        for batch in batches {
            writer.write(batch).await?;
        }
        let staged = writer.finish().await?;
        failpoint::hit("land.roll_staged");
        let (bytes, staged_schema) = (staged.bytes, staged.schema.clone());
        match &mut self.mode {
            Mode::Together(rolls) => rolls.push(staged),
            Mode::Each { reader } => {
                let mut publication = Publication { id, ..self.publication.clone() };
                if let Some(reader) = reader {
                    let position = |(partition, end): (&u32, &u64)| {
                        (app(reader, *partition), end.cast_signed())
                    };
                    publication.positions = roll.ends.iter().map(position).collect();
                }
                let published =
                    self.tables.publish(&self.table, &publication, vec![staged]).await?;
                failpoint::hit("land.roll_committed");
                for (reader, at) in &mut self.publication.expected {
                    let reached = publication.positions.iter().find(|(app, _)| app == reader);
                    *at = reached.map(|(_, end)| *end).or(*at);
                }
                self.version = published.version;
            }
            Mode::Done(_) => {}
        }
        Ok((bytes, staged_schema))
    }

    /// Completes the output. `schema`: the columns for a table without any row; `None` if they are
    /// not known. Without rows there are no plain files either.
    pub(super) async fn finish(
        mut self,
        attempt: &Attempt,
        places: &Places,
        schema: Option<&SchemaRef>,
    ) -> Result<Published, TaskError> {
        if self.last.number == 0 && !self.is_done() && self.files.is_none() {
            let kept = match (&self.mode, self.tables.latest(&self.table).await?) {
                (Mode::Each { .. }, Some(_)) => None,
                (_, Some(version)) => Some(self.tables.read(&self.table, version).await?.schema),
                (_, None) => Some(schema.cloned().ok_or_else(|| self.without_columns())?),
            };
            if let Some(kept) = kept {
                self.write(schema.unwrap_or(&kept), &[], &Offsets::new()).await?;
            }
        }
        let published = match self.mode {
            Mode::Done(published) => return Ok(published),
            Mode::Together(rolls) => {
                return publish_table(attempt, places, &self.output, async { Ok(rolls) }).await;
            }
            Mode::Each { .. } => Published {
                version: match (&self.files, self.version) {
                    // The log has versions, but what is in the directory has none.
                    (Some(files), _) => {
                        files.clean(&self.publication.run).await?;
                        None
                    }
                    (None, Some(version)) => Some(version),
                    (None, None) => self.tables.latest(&self.table).await?,
                },
                rows: self.last.rows,
                bytes: self.last.bytes_before + self.last_bytes,
                schema: self.schema.map(|schema| described(&schema)).unwrap_or_default(),
            },
        };
        attempt.published(&self.output, published.clone()).await?;
        Ok(published)
    }

    fn without_columns(&self) -> TaskError {
        TaskError::permanent(format!(
            "the topic has no messages, and so the columns of `table:{}` are not known; declare \
             them in `columns`",
            self.table
        ))
    }
}

fn app(reader: &str, partition: u32) -> String {
    format!("{reader}/{partition}")
}

fn described(schema: &SchemaRef) -> Vec<(String, String)> {
    let column = |field: &arrow::datatypes::FieldRef| {
        (field.name().clone(), crate::places::tables::type_name(field.data_type()))
    };
    schema.fields().iter().map(column).collect()
}
