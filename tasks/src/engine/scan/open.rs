//! Opening text files: their headers and, where they are not declared, the types of their
//! columns.

use super::TextFormat;
use super::chunks::{Source, last_boundary};
use super::csv::first_record;
use super::values;
use crate::engine::columns::{ColumnType, Columns};
use crate::engine::errors::store_error;
use crate::engine::nearest;
use crate::places::files::{FileEntry, Files};
use object_store::ObjectStoreExt;
use orchestrator::attempt::TaskError;
use serde_json::{Map, Value};

/// How much of the first file types are inferred from.
const SAMPLE_BYTES: u64 = 4 << 20;
/// How large a header may be.
const MAX_HEADER_BYTES: u64 = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Text files that are known to fit each other and their columns.
pub(crate) struct Opened {
    pub(crate) columns: Columns,
    pub(crate) sources: Vec<Source>,
    /// Whether no other columns are expected, as they were inferred.
    pub(crate) closed: bool,
}

/// Reads the headers of the files, at least one, and checks them against the declared columns.
pub(crate) async fn open(
    files: &dyn Files,
    entries: &[FileEntry],
    format: TextFormat,
    declared: Option<&Columns>,
) -> Result<Opened, TaskError> {
    let mut columns = declared.cloned();
    let mut sources = Vec::with_capacity(entries.len());
    for entry in entries {
        let head = Head::read(files, entry, format, columns.is_none()).await?;
        let columns = match &columns {
            Some(columns) => columns,
            None => columns.insert(head.infer()?),
        };
        let fields = match format {
            TextFormat::Csv => head.fields(columns, declared.is_some())?,
            TextFormat::JsonLines => Vec::new(),
        };
        sources.push(Source {
            name: entry.name.clone(),
            path: files.path(&entry.name),
            size: entry.size,
            start: head.start as u64,
            fields: fields.into(),
        });
    }
    Ok(Opened { columns: columns.unwrap_or_default(), sources, closed: declared.is_none() })
}

/// The first bytes of a file.
struct Head<'a> {
    name: &'a str,
    format: TextFormat,
    /// The names of the header, in the order of the file.
    header: Vec<String>,
    /// Where the records begin.
    start: usize,
    text: Vec<u8>,
    /// Whether the text is the whole file.
    whole: bool,
}

impl<'a> Head<'a> {
    async fn read(
        files: &dyn Files,
        entry: &'a FileEntry,
        format: TextFormat,
        sample: bool,
    ) -> Result<Head<'a>, TaskError> {
        let name = &entry.name;
        if entry.size == 0 {
            return Err(TaskError::permanent(match format {
                TextFormat::Csv => format!("`file:{name}` is empty; not even a header is there"),
                TextFormat::JsonLines => format!("`file:{name}` is empty"),
            }));
        }
        let size = entry.size.min(if sample { SAMPLE_BYTES } else { MAX_HEADER_BYTES });
        let text = files
            .store()
            .get_range(&files.path(name), 0..size)
            .await
            .map_err(|error| store_error(format!("can't read `file:{name}`"), &error))?
            .to_vec();
        if text.starts_with(b"\xFF\xFE") || text.starts_with(b"\xFE\xFF") {
            return Err(TaskError::permanent(format!(
                "`file:{name}` is written in UTF-16; convert it to UTF-8"
            )));
        }
        let start = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let whole = size == entry.size;
        let mut head = Head { name, format, header: Vec::new(), start, text, whole };
        match format {
            TextFormat::Csv => head.read_header()?,
            TextFormat::JsonLines => head.refuse_array()?,
        }
        Ok(head)
    }

    fn read_header(&mut self) -> Result<(), TaskError> {
        let (fields, length) =
            first_record(&self.text[self.start..], self.whole).ok_or_else(|| {
                self.error("has no header that ends within its first MiB; is a quote not closed?")
            })?;
        self.start += length;
        for (i, field) in fields.into_iter().enumerate() {
            let name = String::from_utf8(field).map_err(|_| {
                self.error(&format!("has a header whose field {} is not UTF-8", i + 1))
            })?;
            if name.is_empty() {
                return Err(self.error(&format!("has a header whose field {} has no name", i + 1)));
            }
            if self.header.contains(&name) {
                return Err(self.error(&format!("has a header with `{name}` twice")));
            }
            self.header.push(name);
        }
        Ok(())
    }

    fn refuse_array(&self) -> Result<(), TaskError> {
        match self.text[self.start..].trim_ascii_start().first() {
            Some(b'[') => Err(self.error("is one JSON array; write one object on each line")),
            _ => Ok(()),
        }
    }

    fn error(&self, what: &str) -> TaskError {
        TaskError::permanent(format!("`file:{}` {what}", self.name))
    }

    /// The column of each field, if header and columns are the same names.
    fn fields(&self, columns: &Columns, declared: bool) -> Result<Vec<usize>, TaskError> {
        let origin = if declared { "declared" } else { "those of the first file" };
        let extra = self.header.iter().filter(|name| !columns.contains_key(*name));
        let missing = columns.keys().filter(|name| !self.header.contains(name));
        let (extra, missing): (Vec<_>, Vec<_>) = (extra.collect(), missing.collect());
        if extra.is_empty() && missing.is_empty() {
            return Ok(self.header.iter().filter_map(|name| columns.get_index_of(name)).collect());
        }
        let are = |names: &[&String]| {
            let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("{} {}", quoted.join(", "), if names.len() == 1 { "is" } else { "are" })
        };
        let mut faults = Vec::new();
        if !missing.is_empty() {
            faults.push(format!("{} missing in the header", are(&missing)));
        }
        if !extra.is_empty() {
            faults.push(format!("{} not among the columns {origin}", are(&extra)));
        }
        let hint = missing
            .first()
            .and_then(|name| nearest(name, extra.iter().map(|extra| extra.as_str())))
            .map(|extra| format!("; did you mean `{extra}`?"))
            .unwrap_or_default();
        let columns: Vec<_> = columns.keys().map(String::as_str).collect();
        Err(self.error(&format!(
            "has the header `{}`, but the columns are `{}`: {}{hint}",
            self.header.join(","),
            columns.join(","),
            faults.join(", and "),
        )))
    }

    fn infer(&self) -> Result<Columns, TaskError> {
        let quotes = self.format == TextFormat::Csv;
        let text = &self.text[self.start..];
        let text = match last_boundary(text, quotes) {
            Some(end) if !self.whole => &text[..end],
            _ => text,
        };
        let guesses = match self.format {
            TextFormat::Csv => self.guess_csv(text),
            TextFormat::JsonLines => guess_json(text),
        };
        if guesses.is_empty() {
            return Err(self.error("has no line with a JSON object; declare its `columns`"));
        }
        Ok(guesses.into_iter().map(|(name, guess)| (name, guess.column_type())).collect())
    }

    fn guess_csv(&self, mut text: &[u8]) -> Vec<(String, Guess)> {
        let mut guesses: Vec<_> =
            self.header.iter().map(|name| (name.clone(), Guess::default())).collect();
        while let Some((fields, length)) = first_record(text, true).filter(|_| !text.is_empty()) {
            // A record of another length tells nothing of the columns.
            if fields.len() == guesses.len() {
                for ((_, guess), field) in guesses.iter_mut().zip(&fields) {
                    guess.see(field);
                }
            }
            text = &text[length..];
        }
        guesses
    }
}

fn guess_json(text: &[u8]) -> Vec<(String, Guess)> {
    let mut guesses: indexmap::IndexMap<String, Guess> = indexmap::IndexMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        // A line that does not parse will be told of when it is read.
        let Ok(object) = serde_json::from_slice::<Map<String, Value>>(line) else { continue };
        for (name, value) in object {
            let guess = guesses.entry(name).or_default();
            match value {
                Value::Null => {}
                Value::Bool(_) => guess.keep_only(&[ColumnType::Boolean]),
                Value::Number(number) if number.is_i64() => {
                    guess.keep_only(&[ColumnType::Integer, ColumnType::Number]);
                }
                Value::Number(_) => guess.keep_only(&[ColumnType::Number]),
                Value::String(text) => guess.see_text(text.as_bytes()),
                Value::Array(_) | Value::Object(_) => guess.keep_only(&[]),
            }
        }
    }
    guesses.into_iter().collect()
}

/// Which types all values seen so far have, narrowest first.
struct Guess {
    kinds: Vec<ColumnType>,
    seen: bool,
}

impl Default for Guess {
    fn default() -> Self {
        use ColumnType::{Boolean, Date, Integer, Number, Timestamp};
        Guess { kinds: vec![Integer, Number, Boolean, Date, Timestamp], seen: false }
    }
}

impl Guess {
    fn see(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.seen = true;
        self.kinds.retain(|kind| match kind {
            ColumnType::Integer => !padded(text) && values::integer(text).is_some(),
            ColumnType::Number => !padded(text) && values::number(text).is_some(),
            ColumnType::Boolean => values::boolean(text).is_some() && text.len() > 1,
            ColumnType::Date => values::date(text).is_some(),
            _ => values::timestamp(text).is_some(),
        });
    }

    /// A JSON string is never a number or a boolean.
    fn see_text(&mut self, text: &[u8]) {
        self.see(text);
        self.keep_only(&[ColumnType::Date, ColumnType::Timestamp]);
    }

    fn keep_only(&mut self, kinds: &[ColumnType]) {
        self.seen = true;
        self.kinds.retain(|kind| kinds.contains(kind));
    }

    fn column_type(&self) -> ColumnType {
        match self.kinds.first() {
            Some(kind) if self.seen => *kind,
            _ => ColumnType::String,
        }
    }
}

/// Whether a number begins with a zero that it would lose, as a postal code does.
fn padded(text: &[u8]) -> bool {
    text.len() > 1 && text[0] == b'0' && text[1].is_ascii_digit()
}
