//! Datasets and their names: `scheme:name`, everywhere the same.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What a dataset is, and so which place keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// A log of records (Kafka).
    Topic,
    /// A plain file, or a directory of files (HDFS).
    File,
    /// A table (Delta Lake).
    Table,
    /// A wide-column table (HBase).
    Kv,
    /// What people look at: pages, pictures, model cards.
    Artifact,
}

impl Scheme {
    pub const ALL: [Scheme; 5] =
        [Scheme::Topic, Scheme::File, Scheme::Table, Scheme::Kv, Scheme::Artifact];

    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Topic => "topic",
            Scheme::File => "file",
            Scheme::Table => "table",
            Scheme::Kv => "kv",
            Scheme::Artifact => "artifact",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a dataset, such as `table:clean_orders` or `file:raw/part1.csv`.
///
/// The part behind the colon is one or more segments of letters, digits, `_`, `-`, `.` and `=`,
/// joined by `/`; no segment is `.` or `..`. Only `file:` names have more than one segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatasetName {
    scheme: Scheme,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatasetNameError {
    #[error(
        "`{0}` has no scheme; write it as `{scheme}:{0}`, or with another one: topic:, file:, table:, \
         kv: or artifact:",
        scheme = likely_scheme(.0)
    )]
    NoScheme(String),
    #[error(
        "`{scheme}:` is not a kind of dataset; there are topic:, file:, table:, kv: and artifact:"
    )]
    UnknownScheme { scheme: String },
    #[error("`{0}` has nothing behind the colon")]
    Empty(String),
    #[error(
        "`{text}` has the part `{segment}`; a part consists of letters, digits, `_`, `-`, `.` and `=`"
    )]
    BadSegment { text: String, segment: String },
    #[error("`{0}` has more than one part; only file: names have directories")]
    TooManySegments(String),
    #[error("`{0}` holds a template; a dataset's name is fixed, templates stand in options")]
    Template(String),
}

/// What a name without a scheme could be.
fn likely_scheme(text: &str) -> Scheme {
    if text.contains(['.', '/']) { Scheme::File } else { Scheme::Table }
}

impl DatasetName {
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The part behind the colon.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one of the two lies inside the other: equal names, or a `file:` directory and
    /// something in it.
    pub fn overlaps(&self, other: &DatasetName) -> bool {
        let inside = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.scheme == other.scheme
            && (inside(&self.name, &other.name) || inside(&other.name, &self.name))
    }
}

impl FromStr for DatasetName {
    type Err = DatasetNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("${{") {
            return Err(DatasetNameError::Template(text.into()));
        }
        let (scheme, name) =
            text.split_once(':').ok_or_else(|| DatasetNameError::NoScheme(text.into()))?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| known.as_str() == scheme)
            .ok_or_else(|| DatasetNameError::UnknownScheme { scheme: scheme.into() })?;
        if name.is_empty() {
            return Err(DatasetNameError::Empty(text.into()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '=');
        for segment in name.split('/') {
            if matches!(segment, "" | "." | "..") || !segment.chars().all(allowed) {
                return Err(DatasetNameError::BadSegment {
                    text: text.into(),
                    segment: segment.into(),
                });
            }
        }
        if scheme != Scheme::File && name.contains('/') {
            return Err(DatasetNameError::TooManySegments(text.into()));
        }
        Ok(DatasetName { scheme, name: name.into() })
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.name)
    }
}

impl Serialize for DatasetName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DatasetName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match text.parse::<DatasetName>() {
            Ok(name) => name.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expect), "{text}: {got}");
    }

    #[test]
    fn names() {
        check("table:clean_orders", "table:clean_orders");
        check("file:raw/day=2026-01-01/a.csv", "file:raw/day=2026-01-01/a.csv");
        check("clean_orders", "has no scheme");
        check("hdfs:x", "`hdfs:` is not a kind of dataset");
        check("table:", "nothing behind the colon");
        check("file:../secret", "part `..`");
        check("file:/etc/passwd", "part ``");
        check("table:a/b", "more than one part");
        check("table:${{ params.x }}", "holds a template");
    }

    #[test]
    fn overlaps() {
        let overlap =
            |a: &str, b: &str| a.parse::<DatasetName>().unwrap().overlaps(&b.parse().unwrap());
        assert!(overlap("file:raw", "file:raw/a.csv"));
        assert!(overlap("file:raw/a.csv", "file:raw"));
        assert!(overlap("table:a", "table:a"));
        assert!(!overlap("file:raw", "file:rawer"));
        assert!(!overlap("table:a", "kv:a"));
    }
}
