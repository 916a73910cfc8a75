//! How much of the disk the datasets take. Looking takes a while, so it is done now and then.

use crate::Site;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(60);
/// Files and directories that are looked at: beyond these, sizes are too small.
const MOST: usize = 200_000;
/// Datasets that are shown by name.
const SHOWN: usize = 8;

/// Names of datasets, and their sizes in bytes.
type Sizes = Vec<(String, u64)>;

/// What was found last.
#[derive(Default)]
pub struct Storage(Mutex<Option<(Instant, Sizes)>>);

impl Storage {
    /// The largest datasets of the data directory, largest first; the last are all others together.
    pub fn sizes(&self, site: &Site) -> Sizes {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((at, sizes)) if at.elapsed() < FRESH => sizes.clone(),
            _ => {
                let sizes = look(&site.data_dir);
                *known = Some((Instant::now(), sizes.clone()));
                sizes
            }
        }
    }

    /// The bytes that are left on the disk of the data directory.
    pub fn free(&self, site: &Site) -> Option<u64> {
        let disk = rustix::fs::statvfs(&site.data_dir).ok()?;
        Some(disk.f_bavail * disk.f_frsize)
    }
}

fn look(data_dir: &Path) -> Sizes {
    let mut sizes = Vec::new();
    let mut left = MOST;
    let schemes = [
        ("topic", "topics"),
        ("file", "files"),
        ("table", "tables"),
        ("kv", "kv"),
        ("artifact", "artifacts"),
    ];
    for (scheme, directory) in schemes {
        let Ok(entries) = std::fs::read_dir(data_dir.join(directory)) else { continue };
        for entry in entries.flatten() {
            let name = format!("{scheme}:{}", entry.file_name().to_string_lossy());
            sizes.push((name, size(&entry.path(), &mut left)));
        }
    }
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let others: u64 = sizes.iter().skip(SHOWN).map(|(_, size)| size).sum();
    let is_long = sizes.len() > SHOWN;
    sizes.truncate(SHOWN);
    if is_long {
        sizes.push(("everything else".to_owned(), others));
    }
    sizes
}

fn size(path: &Path, left: &mut usize) -> u64 {
    if *left == 0 {
        return 0;
    }
    *left -= 1;
    // Links are not followed: `latest` would count twice.
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries.flatten().map(|entry| size(&entry.path(), left)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datasets_are_measured() {
        let data = tempfile::tempdir().unwrap();
        let write = |path: &str, size: usize| {
            let path = data.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; size]).unwrap();
        };
        write("tables/orders/part-1.parquet", 1000);
        write("tables/orders/_delta_log/0.json", 10);
        write("topics/clicks/0.seg", 5000);
        write("artifacts/sales/r1/index.html", 7);
        std::os::unix::fs::symlink("r1", data.path().join("artifacts/sales/latest")).unwrap();
        let sizes = look(data.path());
        let expect = [("topic:clicks", 5000), ("table:orders", 1010)];
        assert_eq!(sizes[..2], expect.map(|(name, size)| (name.to_owned(), size)));
        assert!(sizes[2].1 < 20, "{sizes:?}");
    }
}
