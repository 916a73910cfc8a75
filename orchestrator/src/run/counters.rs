//! What the attempts at work have counted so far: a file beside the journal, for those who watch.

use crate::event::Counts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What an attempt at work has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    pub attempt: u32,
    pub counts: Counts,
    /// How much of its work is done, from 0 to 1, where the task knows.
    pub share: Option<f64>,
}

/// Where the counters of a run lie.
pub fn path(run_directory: &Path) -> PathBuf {
    run_directory.join("counters.json")
}

/// Replaces the counters of a run, by task. They are not made durable: what matters is in the
/// journal.
pub fn write(run_directory: &Path, counters: &BTreeMap<String, Counted>) -> io::Result<()> {
    let path = path(run_directory);
    let temp = path.with_extension("tmp");
    std::fs::write(&temp, serde_json::to_vec(counters)?)?;
    std::fs::rename(temp, path)
}

/// The counters of a run, by task; none where they can't be read.
pub fn read(run_directory: &Path) -> BTreeMap<String, Counted> {
    let text = std::fs::read(path(run_directory)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), BTreeMap::new());
        let counts = Counts { rows_in: 3, rows_out: 2, bytes_out: 1 };
        let counted = Counted { attempt: 2, counts, share: Some(0.5) };
        let counters = BTreeMap::from([("clean".to_owned(), counted)]);
        write(directory.path(), &counters).unwrap();
        assert_eq!(read(directory.path()), counters);
    }
}
