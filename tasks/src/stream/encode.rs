//! Records of a text file as records of a topic.

use super::cut::{csv_fields, csv_record, line};
use super::source::key_field;
use crate::places::topics::{Format, Records};
use orchestrator::attempt::TaskError;
use orchestrator::schema::did_you_mean;
use serde_json::{Map, Value};

/// The form of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// With a header.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl Input {
    /// By the files' names.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, TaskError> {
        let json =
            |name: &str| [".jsonl", ".ndjson", ".json"].iter().any(|ending| name.ends_with(ending));
        let (json, csv): (Vec<&str>, Vec<&str>) = names.partition(|name| json(name));
        match (json.first(), csv.first()) {
            (Some(json), Some(csv)) => Err(TaskError::permanent(format!(
                "the input mixes JSON lines (`{json}`) and CSV (`{csv}`); stream them apart"
            ))),
            (Some(_), None) => Ok(Input::JsonLines),
            _ => Ok(Input::Csv),
        }
    }
}

/// Where a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) rows: u64,
    pub(super) bytes: usize,
}

/// How records of the input become records of the topic.
pub(super) struct Encoder {
    input: Input,
    output: Format,
    columns: Vec<String>,
    key: Option<Key>,
}

struct Key {
    name: String,
    index: usize,
}

impl Encoder {
    pub(super) fn new(
        input: Input,
        output: Option<Format>,
        columns: &[String],
        key: Option<&str>,
    ) -> Result<Self, TaskError> {
        let output = match (input, output) {
            (Input::Csv, output) => output.unwrap_or_default(),
            (Input::JsonLines, Some(Format::Csv)) => {
                return Err(TaskError::permanent(
                    "`format: csv` needs a CSV file; JSON lines are sent as they are",
                ));
            }
            (Input::JsonLines, _) => Format::Json,
        };
        let known = !columns.is_empty();
        let find = |name: &str| match columns.iter().position(|column| column == name) {
            Some(index) => Ok(Key { name: name.into(), index }),
            None if input == Input::JsonLines && !known => Ok(Key { name: name.into(), index: 0 }),
            None => {
                let near = did_you_mean(name, columns.iter().map(String::as_str));
                let hint = near.unwrap_or_else(|| format!("there are `{}`", columns.join("`, `")));
                Err(TaskError::permanent(format!("the input has no column `{name}`; {hint}")))
            }
        };
        let key = key.map(find).transpose()?;
        Ok(Encoder { input, output, columns: columns.to_vec(), key })
    }

    pub(super) fn output(&self) -> Format {
        self.output
    }

    /// Adds the records at the beginning of `text`, as many as are whole and fit the limit.
    /// Returns how many bytes they took, and whether the limit was reached. Blank lines are no
    /// records.
    pub(super) fn fill(
        &self,
        text: &[u8],
        last: bool,
        limit: Limit,
        records: &mut Records,
    ) -> (usize, bool) {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let mut at = 0;
        while (records.rows() as u64) < limit.rows && records.bytes() < limit.bytes {
            let found = match self.input {
                Input::Csv => csv_record(&text[at..], last),
                Input::JsonLines => line(&text[at..], last),
            };
            let Some((record, next)) = found else { return (at, false) };
            let record = &text[at..][record];
            at += next;
            if !record.is_empty() {
                self.push(record, now_ms, records);
            }
        }
        (at, true)
    }

    fn push(&self, record: &[u8], now_ms: i64, records: &mut Records) {
        match self.input {
            Input::Csv => {
                let key = self.key.as_ref().and_then(|key| key_field(record, key.index));
                match self.output {
                    Format::Csv => records.push(key.as_deref(), record, now_ms),
                    Format::Json => match self.object(record) {
                        Some(json) => records.push(key.as_deref(), &json, now_ms),
                        // Nothing that JSON could say without a loss: its readers will see why.
                        None => records.push(key.as_deref(), record, now_ms),
                    },
                }
            }
            Input::JsonLines => {
                let key = self.key.as_ref().and_then(|key| json_key(record, &key.name));
                records.push(key.as_deref().map(str::as_bytes), record, now_ms);
            }
        }
    }

    /// A CSV record as a JSON object of texts; an empty field is null. `None` if it has not as
    /// many fields as there are columns, or is not UTF-8.
    fn object(&self, record: &[u8]) -> Option<Vec<u8>> {
        let fields = csv_fields(record);
        if fields.len() != self.columns.len() {
            return None;
        }
        let mut object = Map::with_capacity(fields.len());
        for (column, field) in self.columns.iter().zip(fields) {
            let text = std::str::from_utf8(&field).ok()?;
            let value = if text.is_empty() { Value::Null } else { Value::from(text) };
            object.insert(column.clone(), value);
        }
        serde_json::to_vec(&object).ok()
    }
}

/// The text of a JSON object's field; `None` if it has none, or is no object.
fn json_key(line: &[u8], name: &str) -> Option<String> {
    let object: Map<String, Value> = serde_json::from_slice(line).ok()?;
    match object.get(name)? {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
