//! Segment files: what one transaction has put into the partitions of a topic.
//!
//! A segment is an Arrow IPC file, which other tools open too, of one record batch for each
//! partition that the transaction has written to. Its footer carries the [`Header`]. The name is
//! the sum of the offsets at which it begins in all partitions, in 20 digits: so each segment's
//! name is the end of the one before it, and the next one can be looked for without listing.

use super::records::SCHEMA;
use super::{Origin, Position};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::root_as_footer;
use arrow::ipc::writer::FileWriter;
use orchestrator::attempt::TaskError;
use orchestrator::event::Offsets;
use orchestrator::failpoint;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const HEADER_KEY: &str = "tidemill.segment";
const VERSION: u32 = 1;
/// The footer's length and the format's mark, at the end of every Arrow IPC file.
const TRAILER: usize = 10;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    pub(super) origin: Origin,
    pub(super) epoch: u64,
    pub(super) position: Position,
    /// What lies in each partition of the topic, also in those without a record here.
    pub(super) spans: Vec<Span>,
    body: Body,
}

/// Records of one partition: from `base` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) base: u64,
    pub(super) count: u64,
}

/// What the file holds before its footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    bytes: u64,
    crc32: u32,
}

impl Header {
    /// Offsets behind the segment.
    pub(super) fn ends(&self) -> Vec<u64> {
        self.spans.iter().map(|span| span.base + span.count).collect()
    }
}

/// Offsets of all partitions, as the rest of the program has them.
pub(super) fn offsets(of_partitions: &[u64]) -> Offsets {
    (0..).zip(of_partitions.iter().copied()).collect()
}

pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.arrow")
}

/// The inverse of [`file_name`]; `None` for any other file.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".arrow")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// A segment that is written and synced, but has neither offsets nor a name yet. Dropping it
/// removes its file.
pub(super) struct Draft {
    writer: FileWriter<Checked>,
    path: PathBuf,
    counts: Vec<u64>,
}

impl Draft {
    /// Writes the records of all partitions to a temporary file.
    pub(super) fn write(path: PathBuf, partitions: &[RecordBatch]) -> Result<Self, TaskError> {
        let doing = |error| io_error("writing", &path, &error);
        let file = File::create(&path).map_err(doing)?;
        let checked = Checked::new(file);
        let writer = FileWriter::try_new(checked, &SCHEMA).map_err(|e| arrow_error(&path, e))?;
        let counts = partitions.iter().map(|batch| batch.num_rows() as u64).collect();
        let mut draft = Draft { writer, path, counts };
        for batch in partitions.iter().filter(|batch| batch.num_rows() > 0) {
            draft.writer.write(batch).map_err(|e| arrow_error(&draft.path, e))?;
        }
        draft.writer.get_mut().sync().map_err(|e| io_error("writing", &draft.path, &e))?;
        Ok(draft)
    }

    /// Gives the segment its offsets, which begin at `bases`, and its name in `dir`. When this
    /// returns it is durable.
    pub(super) fn publish(
        mut self,
        dir: &Path,
        bases: &[u64],
        origin: Origin,
        epoch: u64,
        position: Position,
    ) -> Result<Header, TaskError> {
        let spans = bases.iter().zip(&self.counts).map(|(&base, &count)| Span { base, count });
        let body = self.writer.get_ref().body();
        let spans = spans.collect();
        let header = Header { version: VERSION, origin, epoch, position, spans, body };
        let json = serde_json::to_string(&header).expect("a header is JSON");
        self.writer.write_metadata(HEADER_KEY, json);
        self.writer.finish().map_err(|e| arrow_error(&self.path, e))?;
        self.writer.get_mut().sync().map_err(|e| io_error("writing", &self.path, &e))?;
        failpoint::hit("topic.before_commit");
        let target = dir.join(file_name(bases.iter().sum()));
        std::fs::rename(&self.path, &target).map_err(|e| io_error("writing", &target, &e))?;
        failpoint::hit("topic.renamed");
        sync_dir(dir)?;
        failpoint::hit("topic.after_commit");
        Ok(header)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `publish` the name is gone, and there is nothing to remove.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The header of a segment; `None` if there is no such file.
pub(super) fn read_header(path: &Path) -> Result<Option<Header>, TaskError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("reading", path, &error)),
    };
    let mut read_footer = || -> io::Result<Vec<u8>> {
        let size = file.metadata()?.len();
        let mut trailer = [0; TRAILER];
        file.seek(SeekFrom::Start(size.saturating_sub(TRAILER as u64)))?;
        file.read_exact(&mut trailer)?;
        let length = read_footer_length(trailer).map_err(io::Error::other)? as u64;
        file.seek(SeekFrom::Start(size.saturating_sub(TRAILER as u64 + length)))?;
        let mut footer = vec![0; length as usize];
        file.read_exact(&mut footer)?;
        Ok(footer)
    };
    let footer = read_footer().map_err(|error| damaged(path, error))?;
    header(path, &footer).map(Some)
}

/// A whole segment, checked: its header, and the records of each partition that has some. `None`
/// if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<(Header, Vec<RecordBatch>)>, TaskError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => Buffer::from_vec(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("reading", path, &error)),
    };
    let (before, trailer) = bytes
        .as_slice()
        .split_last_chunk::<TRAILER>()
        .ok_or_else(|| damaged(path, "it is too short"))?;
    let length = read_footer_length(*trailer).map_err(|e| damaged(path, e))?;
    let start = before.len().checked_sub(length).ok_or_else(|| damaged(path, "it is cut off"))?;
    let footer = &before[start..];
    let header = header(path, footer)?;
    let body = before.get(..header.body.bytes as usize);
    if body.map(crc32fast::hash) != Some(header.body.crc32) {
        return Err(damaged(path, "its checksum is not that of its content"));
    }
    let batches = decode(&bytes, footer).map_err(|e| damaged(path, e))?;
    let counts = header.spans.iter().map(|span| span.count).filter(|&count| count > 0);
    if !counts.eq(batches.iter().map(|batch| batch.num_rows() as u64)) {
        return Err(damaged(path, "it holds other records than its header says"));
    }
    Ok(Some((header, batches)))
}

fn header(path: &Path, footer: &[u8]) -> Result<Header, TaskError> {
    let footer = root_as_footer(footer).map_err(|e| damaged(path, e))?;
    let metadata = footer.custom_metadata();
    let json = metadata
        .iter()
        .flatten()
        .find(|entry| entry.key() == Some(HEADER_KEY))
        .and_then(|entry| entry.value())
        .ok_or_else(|| damaged(path, "its footer has no header"))?;
    let header: Header = serde_json::from_str(json).map_err(|e| damaged(path, e))?;
    if header.version > VERSION {
        return Err(TaskError::permanent(format!(
            "`{}` was written by a newer tidemill; use that one",
            path.display()
        )));
    }
    Ok(header)
}

/// The batches lie in the buffer itself: nothing is copied.
fn decode(bytes: &Buffer, footer: &[u8]) -> Result<Vec<RecordBatch>, ArrowError> {
    let footer = root_as_footer(footer).map_err(|e| ArrowError::IpcError(e.to_string()))?;
    let decoder = FileDecoder::new(SCHEMA.clone(), footer.version());
    let mut batches = Vec::new();
    for block in footer.recordBatches().iter().flatten() {
        let length = block.bodyLength() as usize + block.metaDataLength() as usize;
        let data = bytes.slice_with_length(block.offset() as usize, length);
        batches.extend(decoder.read_record_batch(block, &data)?);
    }
    Ok(batches)
}

/// A file that counts and sums up what is written to it.
struct Checked {
    file: BufWriter<File>,
    sum: crc32fast::Hasher,
    bytes: u64,
}

impl Checked {
    fn new(file: File) -> Self {
        let file = BufWriter::with_capacity(256 << 10, file);
        Checked { file, sum: crc32fast::Hasher::new(), bytes: 0 }
    }

    fn body(&self) -> Body {
        Body { bytes: self.bytes, crc32: self.sum.clone().finalize() }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }
}

impl Write for Checked {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.sum.update(&data[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), TaskError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| io_error("syncing", dir, &e))
}

pub(super) fn io_error(doing: &str, path: &Path, error: &io::Error) -> TaskError {
    TaskError::io(format!("{doing} `{}`", path.display()), error)
}

fn arrow_error(path: &Path, error: ArrowError) -> TaskError {
    match error {
        ArrowError::IoError(_, error) => io_error("writing", path, &error),
        error => TaskError::permanent(format!("writing `{}`: {error}", path.display())),
    }
}

fn damaged(path: &Path, why: impl std::fmt::Display) -> TaskError {
    TaskError::permanent(format!(
        "the segment `{}` is damaged: {why}; restore it from a backup, or remove the topic",
        path.display()
    ))
}
