//! Which files hold which keys, and so which of them a load has to write anew.

use super::ROW_KEY;
use crate::places::tables::TableFile;
use serde_json::Value;

/// A file with fewer rows takes keys that come next to it, instead of a file of their own.
const SMALL_ROWS: u64 = 512 << 10;

/// A file and the keys in it.
#[derive(Clone, Debug)]
pub(super) struct Ranged {
    pub(super) file: TableFile,
    /// The least key, or less.
    min: String,
    /// The greatest key, or more; `None`: not known.
    max: Option<String>,
}

impl Ranged {
    fn new(file: &TableFile) -> Self {
        let stats = file.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok());
        let stats: Value = stats.unwrap_or_default();
        let bound = |which: &str| stats[which][ROW_KEY].as_str().map(str::to_owned);
        let (min, max) = match (bound("minValues"), bound("maxValues")) {
            (Some(min), Some(max)) => (min, Some(max)),
            _ => (String::new(), None),
        };
        Ranged { file: file.clone(), min, max }
    }

    fn reaches(&self, key: &str) -> bool {
        self.max.as_deref().is_none_or(|max| key <= max)
    }

    /// Whether it may have keys from `start` on that come before `stop`.
    pub(super) fn meets(&self, start: &str, stop: Option<&str>) -> bool {
        self.reaches(start) && stop.is_none_or(|stop| self.min.as_str() < stop)
    }

    fn is_small(&self) -> bool {
        self.file.rows.is_some_and(|rows| rows < SMALL_ROWS)
    }
}

/// The files of a table by their keys.
#[derive(Debug)]
pub(super) struct Ranges {
    /// By their least key.
    files: Vec<Ranged>,
    /// Whether some file before this one, or itself, reaches as far: by index.
    farthest: Vec<Option<String>>,
}

impl Ranges {
    pub(super) fn new(files: &[TableFile]) -> Self {
        let mut files: Vec<Ranged> = files.iter().map(Ranged::new).collect();
        files.sort_by(|a, b| a.min.cmp(&b.min));
        let mut farthest: Vec<Option<String>> = Vec::with_capacity(files.len());
        for file in &files {
            let reach = match (farthest.last(), &file.max) {
                (Some(None), _) | (_, None) => None,
                (Some(Some(before)), Some(max)) => Some(before.max(max).clone()),
                (None, Some(max)) => Some(max.clone()),
            };
            farthest.push(reach);
        }
        Ranges { files, farthest }
    }

    pub(super) fn files(&self) -> &[Ranged] {
        &self.files
    }

    /// Whether files follow each other in the order of their keys.
    pub(super) fn are_apart(&self) -> bool {
        self.files.windows(2).all(|pair| pair[0].max.as_ref().is_some_and(|max| *max < pair[1].min))
    }

    pub(super) fn touch(&self) -> Touch<'_> {
        Touch {
            ranges: self,
            inside: vec![0; self.files.len()],
            gaps: vec![0; self.files.len() + 1],
        }
    }
}

/// How many new keys fall into each file, and between them.
pub(super) struct Touch<'a> {
    ranges: &'a Ranges,
    inside: Vec<u64>,
    /// Behind as many files.
    gaps: Vec<u64>,
}

/// What to do with the files of a table.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    /// To be merged with the new rows.
    pub(super) files: Vec<TableFile>,
    /// The least keys of those that stay: no new file may reach across one.
    pub(super) borders: Vec<String>,
}

impl Touch<'_> {
    pub(super) fn count(&mut self, key: &str) {
        let files = &self.ranges.files;
        let before = files.partition_point(|file| file.min.as_str() <= key);
        let mut found = false;
        for at in (0..before).rev() {
            if files[at].reaches(key) {
                self.inside[at] += 1;
                found = true;
            }
            let others = at.checked_sub(1).map(|at| &self.ranges.farthest[at]);
            if others.is_none_or(|reach| reach.as_deref().is_some_and(|reach| reach < key)) {
                break;
            }
        }
        if !found {
            self.gaps[before] += 1;
        }
    }

    pub(super) fn rewrite(&self) -> Rewrite {
        let mut rewrite = Rewrite::default();
        for (at, ranged) in self.ranges.files.iter().enumerate() {
            let beside = self.gaps[at + 1] > 0 || (at == 0 && self.gaps[0] > 0);
            if self.inside[at] > 0 || (beside && ranged.is_small()) {
                rewrite.files.push(ranged.file.clone());
            } else {
                rewrite.borders.push(ranged.min.clone());
            }
        }
        rewrite
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::path::Path;

    fn file(name: &str, rows: u64, bounds: Option<(&str, &str)>) -> TableFile {
        let stats = bounds.map(|(min, max)| {
            serde_json::json!({"minValues": {ROW_KEY: min}, "maxValues": {ROW_KEY: max}})
                .to_string()
        });
        TableFile {
            path: Path::from(name),
            size: 1,
            rows: Some(rows),
            partition: Default::default(),
            relative: name.to_owned(),
            stats,
        }
    }

    /// `big` files `b..d` and `h..m`, a small one `p..r`.
    fn check(keys: &[&str], files: &str, borders: &str) {
        let big = SMALL_ROWS;
        let ranges = Ranges::new(&[
            file("p", 10, Some(("p", "r"))),
            file("b", big, Some(("b", "d"))),
            file("h", big, Some(("h", "m"))),
        ]);
        assert!(ranges.are_apart());
        let mut touch = ranges.touch();
        keys.iter().for_each(|key| touch.count(key));
        let rewrite = touch.rewrite();
        let names: Vec<String> = rewrite.files.iter().map(|file| file.relative.clone()).collect();
        assert_eq!(names.join(" "), files, "{keys:?}");
        assert_eq!(rewrite.borders.join(" "), borders, "{keys:?}");
    }

    #[test]
    fn only_what_is_touched_is_written_anew() {
        check(&[], "", "b h p");
        check(&["a"], "", "b h p");
        check(&["b"], "b", "h p");
        check(&["d", "m"], "b h", "p");
        check(&["dd", "e", "o"], "", "b h p");
        check(&["z"], "p", "b h");
        check(&["c", "q"], "b p", "h");
    }

    #[test]
    fn a_file_whose_keys_are_not_known_may_hold_any() {
        let big = SMALL_ROWS;
        let files = [
            file("u", big, None),
            file("b", big, Some(("b", "d"))),
            file("h", big, Some(("h", "m"))),
        ];
        let ranges = Ranges::new(&files);
        assert!(!ranges.are_apart());
        let mut touch = ranges.touch();
        touch.count("i");
        let names: Vec<String> = touch.rewrite().files.into_iter().map(|f| f.relative).collect();
        assert_eq!(names, ["u", "h"]);
    }

    #[test]
    fn overlapping_files_are_all_found() {
        let files = [
            file("a", SMALL_ROWS, Some(("a", "z"))),
            file("b", SMALL_ROWS, Some(("b", "c"))),
            file("d", SMALL_ROWS, Some(("d", "e"))),
        ];
        let ranges = Ranges::new(&files);
        let mut touch = ranges.touch();
        touch.count("d");
        let names: Vec<String> = touch.rewrite().files.into_iter().map(|f| f.relative).collect();
        assert_eq!(names, ["a", "d"]);
    }
}
