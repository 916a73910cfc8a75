//! The input of a stream: text files, read record by record from any position on.

use super::cut::{csv_field, csv_fields, csv_record, line};
use super::encode::{Encoder, Input, Limit};
use crate::places::files::{FileEntry, Files};
use crate::places::topics::{Position, Records};
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use orchestrator::attempt::TaskError;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;

/// How much is read at a time; of a header, less.
const CHUNK_BYTES: u64 = 4 << 20;
const HEADER_BYTES: u64 = 64 << 10;
/// A header or record that is longer shows that this is no text file.
const LONGEST_BYTES: usize = 16 << 20;

/// The files of an input, and how far they have been sent.
pub(super) struct Source {
    store: Arc<dyn ObjectStore>,
    files: Vec<InputFile>,
    stamp: Stamp,
    input: Input,
    columns: Vec<String>,
    /// The file that is being read; all if it is behind the last.
    current: usize,
    /// Where in it the first byte of `text` lies.
    byte: u64,
    /// What has been read and not been sent.
    text: Vec<u8>,
    /// Records sent.
    sent: u64,
}

struct InputFile {
    name: String,
    path: StorePath,
    size: u64,
}

/// What tells that an input is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    files: usize,
    bytes: u64,
    /// When the newest of the files was changed, in milliseconds since 1970.
    modified_ms: i64,
}

/// What a [`Position`] of ours says in its detail.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    file: String,
    byte: u64,
    input: Stamp,
}

/// Records of one transaction, and the position behind them.
pub(super) struct Portion {
    pub(super) records: Records,
    pub(super) position: Position,
    /// Bytes of the input that they took.
    pub(super) bytes: u64,
}

impl Source {
    /// Opens the input `name` at its beginning.
    pub(super) async fn open(files: &dyn Files, name: &str) -> Result<Self, TaskError> {
        let entries = files.list(name).await?;
        if entries.is_empty() {
            return Err(TaskError::permanent(format!("there is no file or directory `{name}`")));
        }
        let store = files.store();
        let stamp = stamp(files, &*store, &entries).await?;
        let input = Input::of(entries.iter().map(|entry| entry.name.as_str()))?;
        let path = |name: &str| files.path(name);
        let files = entries
            .into_iter()
            .map(|entry| InputFile { path: path(&entry.name), name: entry.name, size: entry.size })
            .collect();
        let (columns, text) = (Vec::new(), Vec::new());
        let (current, byte, sent) = (0, 0, 0);
        let mut source = Source { store, files, stamp, input, columns, current, byte, text, sent };
        // Backwards, so that all headers are known to agree, and it ends at the beginning.
        for current in (0..source.files.len()).rev() {
            source.current = current;
            source.begin_file().await?;
        }
        Ok(source)
    }

    pub(super) fn input(&self) -> Input {
        self.input
    }

    /// The columns' names; of JSON lines, the keys of the first record.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.stamp.bytes
    }

    /// Bytes before the next record.
    pub(super) fn done_bytes(&self) -> u64 {
        self.files[..self.current].iter().map(|file| file.size).sum::<u64>() + self.byte
    }

    /// Goes on where a position of an earlier attempt ends.
    pub(super) fn go_on_behind(&mut self, position: &Position) -> Result<(), TaskError> {
        let place: Place = serde_json::from_str(&position.detail).map_err(|error| {
            TaskError::permanent(format!("the position in the topic is not one of ours: {error}"))
        })?;
        let file = self.files.iter().position(|file| file.name == place.file);
        let (Some(file), true) = (file, place.input == self.stamp) else {
            return Err(TaskError::permanent(format!(
                "the input has changed since {} of its rows were sent: it was {}, and is {}; \
                 start a new run",
                position.next,
                place.input.told(),
                self.stamp.told()
            )));
        };
        self.current = file;
        self.byte = place.byte;
        self.text.clear();
        self.sent = position.next;
        Ok(())
    }

    /// Reads the header of the current file, if it has one, and stands behind it.
    async fn begin_file(&mut self) -> Result<(), TaskError> {
        self.byte = 0;
        self.text.clear();
        let first = loop {
            let more = self.read_on(HEADER_BYTES).await?;
            let text = without_mark(&self.text);
            let found = match self.input {
                Input::Csv => csv_record(text, !more),
                Input::JsonLines => line(text, !more),
            };
            match found {
                None if more => {}
                found => break found.map(|(record, next)| (text[record].to_vec(), next)),
            }
        };
        let mark = self.text.len() - without_mark(&self.text).len();
        match self.input {
            Input::Csv => {
                let file = &self.files[self.current].name;
                let Some((header, next)) = first else {
                    return Err(TaskError::permanent(format!(
                        "`{file}` is empty; a CSV file begins with a header"
                    )));
                };
                let columns = header_columns(file, &header)?;
                if !self.columns.is_empty() && self.columns != columns {
                    return Err(TaskError::permanent(format!(
                        "the header of `{file}` differs from that of `{}`; the files of one input \
                         have the same columns",
                        self.files[self.files.len() - 1].name
                    )));
                }
                self.columns = columns;
                self.skip(mark + next);
            }
            Input::JsonLines => {
                if self.current == 0 {
                    self.columns = first.map(|(line, _)| json_keys(&line)).unwrap_or_default();
                }
                self.skip(mark);
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.text.drain(..bytes);
        self.byte += bytes as u64;
    }

    /// Reads another piece of the current file. False at its end.
    async fn read_on(&mut self, bytes: u64) -> Result<bool, TaskError> {
        let file = &self.files[self.current];
        let from = self.byte + self.text.len() as u64;
        let to = (from + bytes).min(file.size);
        if from >= to {
            return Ok(false);
        }
        if self.text.len() > LONGEST_BYTES {
            return Err(TaskError::permanent(format!(
                "row {} of `{}` has more than 16 MiB; is this a text file of one record a line?",
                self.sent + 1,
                file.name
            )));
        }
        let piece = self.store.get_range(&file.path, from..to).await;
        let piece = piece.map_err(|error| {
            let message = format!("reading `{}`: {error}", file.name);
            match error {
                object_store::Error::NotFound { .. }
                | object_store::Error::PermissionDenied { .. } => TaskError::Permanent(message),
                _ => TaskError::Transient(message),
            }
        })?;
        self.text.extend_from_slice(&piece);
        Ok(true)
    }

    /// The next records, up to a limit; `None` at the end of the input.
    pub(super) async fn next(
        &mut self,
        encoder: &Arc<Encoder>,
        limit: Limit,
        partitions: u32,
    ) -> Result<Option<Portion>, TaskError> {
        let begin = self.done_bytes();
        let mut records = Records::new(partitions);
        let mut last = self.at_end_of_file();
        loop {
            let (filled, full);
            (records, filled, full) = self.fill(encoder, limit, records, last).await?;
            self.skip(filled);
            if full {
                break;
            }
            if !last {
                self.read_on(CHUNK_BYTES).await?;
                last = self.at_end_of_file();
                continue;
            }
            if self.current + 1 == self.files.len() {
                break;
            }
            self.current += 1;
            self.begin_file().await?;
            last = self.at_end_of_file();
        }
        if records.is_empty() {
            return Ok(None);
        }
        self.sent += records.rows() as u64;
        let bytes = self.done_bytes() - begin;
        Ok(Some(Portion { records, position: self.position(), bytes }))
    }

    fn at_end_of_file(&self) -> bool {
        self.byte + self.text.len() as u64 >= self.files[self.current].size
    }

    /// Encodes what `text` holds, on a thread for such work. Returns how much of it was taken, and
    /// whether the limit was reached.
    async fn fill(
        &mut self,
        encoder: &Arc<Encoder>,
        limit: Limit,
        mut records: Records,
        last: bool,
    ) -> Result<(Records, usize, bool), TaskError> {
        let (text, encoder) = (std::mem::take(&mut self.text), encoder.clone());
        let work = move || {
            let (taken, full) = encoder.fill(&text, last, limit, &mut records);
            (text, records, taken, full)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let (text, records, taken, full) =
            done.map_err(|error| TaskError::permanent(format!("encoding broke off: {error}")))?;
        self.text = text;
        Ok((records, taken, full))
    }

    fn position(&self) -> Position {
        let place = Place {
            file: self.files[self.current].name.clone(),
            byte: self.byte,
            input: self.stamp.clone(),
        };
        let detail = serde_json::to_string(&place).expect("plain data is JSON");
        Position { next: self.sent, detail }
    }
}

impl Stamp {
    fn told(&self) -> String {
        let modified = jiff::Timestamp::from_millisecond(self.modified_ms).unwrap_or_default();
        format!("{} bytes in {} files, changed {modified}", self.bytes, self.files)
    }
}

async fn stamp(
    files: &dyn Files,
    store: &dyn ObjectStore,
    entries: &[FileEntry],
) -> Result<Stamp, TaskError> {
    let mut stamp = Stamp { files: entries.len(), bytes: 0, modified_ms: 0 };
    for entry in entries {
        let meta = store.head(&files.path(&entry.name)).await.map_err(|error| {
            TaskError::transient(format!("looking at `{}`: {error}", entry.name))
        })?;
        stamp.bytes += meta.size;
        stamp.modified_ms = stamp.modified_ms.max(meta.last_modified.timestamp_millis());
    }
    Ok(stamp)
}

/// The text behind a byte order mark.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn header_columns(file: &str, header: &[u8]) -> Result<Vec<String>, TaskError> {
    let mut columns = Vec::new();
    let mut seen = HashSet::new();
    for field in csv_fields(header) {
        let name = String::from_utf8(field.into_owned())
            .map_err(|_| TaskError::permanent(format!("the header of `{file}` is not UTF-8")))?;
        if name.trim().is_empty() {
            return Err(TaskError::permanent(format!(
                "column {} of `{file}` has no name; the first line of a CSV file is its header",
                columns.len() + 1
            )));
        }
        if !seen.insert(name.clone()) {
            return Err(TaskError::permanent(format!(
                "the header of `{file}` names the column `{name}` twice"
            )));
        }
        columns.push(name);
    }
    Ok(columns)
}

fn json_keys(line: &[u8]) -> Vec<String> {
    type Object = serde_json::Map<String, serde_json::Value>;
    let object = serde_json::from_slice::<Object>(line).unwrap_or_default();
    object.keys().cloned().collect()
}

/// The text of a field for a key: nothing is not a key.
pub(super) fn key_field(record: &[u8], index: usize) -> Option<std::borrow::Cow<'_, [u8]>> {
    csv_field(record, index).filter(|field| !field.is_empty())
}
