//! The machine: the data directory, disk, memory, open files, clock.

use super::Finding;
use crate::engine::default_memory_bytes;
use jiff::{SignedDuration, Timestamp};
use orchestrator::store::{RunFilter, Store};
use rustix::fs::Access;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::path::{Path, PathBuf};

const MB: u64 = 1_000_000;
/// Below this, SQLite and the first files of a run have no room.
const DISK_FAIL: u64 = 100 * MB;
/// The shipped pipeline with its default of a million rows takes half of it.
const DISK_WARN: u64 = 1000 * MB;
/// Files that one run may hold open at the same time: partitions being written, files being read,
/// spill files, connections.
const FILES_WARN: u64 = 1024;
const FILES_FAIL: u64 = 128;
/// Clocks of a machine that was restarted differ by less.
const STEP: SignedDuration = SignedDuration::from_secs(60);

/// Checks what every run needs. Makes nothing that stays.
pub fn check(data_dir: &Path) -> Vec<Finding> {
    let (store, newest) = store(data_dir);
    let mut findings = vec![data_directory(data_dir)];
    findings.extend(store);
    findings.push(disk(data_dir));
    let temp = std::env::temp_dir();
    if device(&temp) != device(data_dir) {
        findings.push(Finding { what: "temp disk", ..disk(&temp) });
    }
    findings.extend([memory(), open_files(), clock(Timestamp::now(), newest, built())]);
    findings
}

/// The directory itself or, while there is none, the one it will be made in.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

fn device(path: &Path) -> Option<u64> {
    rustix::fs::stat(existing(path)).ok().map(|stat| stat.st_dev)
}

fn data_directory(data_dir: &Path) -> Finding {
    const WHAT: &str = "data directory";
    let shown = data_dir.display();
    let remedy = "give the directory to the user that runs tidemill (`chown`), or choose another \
                  one with --data-dir, TIDEMILL_DATA_DIR or `data_dir` in tidemill.yaml";
    let found = existing(data_dir);
    if !found.is_dir() {
        let found = format!("{} is not a directory", found.display());
        return Finding::fail(WHAT, found, remedy);
    }
    if found != data_dir {
        return match rustix::fs::access(found, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Finding::ok(WHAT, format!("{shown} is made by the first run")),
            Err(error) => {
                let error = io::Error::from(error);
                Finding::fail(WHAT, format!("{shown} can't be made: {error}"), remedy)
            }
        };
    }
    match write_and_remove(data_dir) {
        Ok(()) => Finding::ok(WHAT, format!("{shown} is writable")),
        Err(error) => Finding::fail(WHAT, format!("{shown} can't be written: {error}"), remedy),
    }
}

/// Tells more than rights do: a file system can be read-only, full or over its quota.
fn write_and_remove(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".doctor.{}", uuid::Uuid::new_v4().simple()));
    let written = std::fs::write(&path, b"tidemill doctor\n");
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

/// What the store is, and when its newest run began.
fn store(data_dir: &Path) -> (Option<Finding>, Option<Timestamp>) {
    let runs = Store::open_existing(data_dir).and_then(|store| match store {
        Some(mut store) => store.runs(&RunFilter::default()).map(Some),
        None => Ok(None),
    });
    match runs {
        Ok(None) => (None, None),
        Ok(Some(runs)) => {
            let found = format!("store.db has format {}, {} runs", Store::FORMAT, runs.len());
            (Some(Finding::ok("store", found)), runs.first().map(|run| run.created_at))
        }
        Err(error) => {
            let remedy = "no other program may write to store.db; if it is damaged, move the data \
                          directory away: tables and files in it are read without it";
            (Some(Finding::fail("store", error.to_string(), remedy)), None)
        }
    }
}

fn disk(path: &Path) -> Finding {
    const WHAT: &str = "disk";
    let path = existing(path);
    match rustix::fs::statvfs(path) {
        Ok(found) => {
            let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
            room(WHAT, path, bytes(found.f_bavail), bytes(found.f_blocks))
        }
        Err(error) => {
            let found = format!("{}: {}", path.display(), io::Error::from(error));
            Finding::warn(WHAT, found, "is the file system still there?")
        }
    }
}

fn room(what: &'static str, path: &Path, free: u64, all: u64) -> Finding {
    let found = format!("{} of {} free at {}", size(free), size(all), path.display());
    let remedy = "make room, or choose a data directory on another disk with --data-dir";
    match free {
        ..DISK_FAIL => Finding::fail(what, found, remedy),
        DISK_FAIL..DISK_WARN => Finding::warn(what, found, remedy),
        _ => Finding::ok(what, found),
    }
}

/// `30.1 GB`, and below one GB `312 MB`.
pub(in crate::places) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes / MB),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn memory() -> Finding {
    let limit = default_memory_bytes() as u64;
    match std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text)) {
        Some((available, all)) => enough_memory(available, all, limit),
        None => {
            let found = format!("{} for queries, the rest is not known", size(limit));
            Finding::warn("memory", found, "/proc is not readable here; look at it with `free`")
        }
    }
}

/// Available and total bytes, by `/proc/meminfo`.
fn available(meminfo: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some((field("MemAvailable")?, field("MemTotal")?))
}

fn enough_memory(available: u64, all: u64, limit: u64) -> Finding {
    let found = format!(
        "{} of {} available; queries take {} at most",
        size(available),
        size(all),
        size(limit)
    );
    match available < limit {
        true => {
            let remedy = "stop something, or give the machine or container more memory: else a \
                          large query may be killed";
            Finding::warn("memory", found, remedy)
        }
        false => Finding::ok("memory", found),
    }
}

fn open_files() -> Finding {
    // No limit at all is `None`.
    enough_files(getrlimit(Resource::Nofile).current)
}

fn enough_files(limit: Option<u64>) -> Finding {
    const WHAT: &str = "open files";
    let Some(limit) = limit else { return Finding::ok(WHAT, "no limit") };
    let found = format!("{limit} at the same time");
    let remedy = format!(
        "raise the limit where tidemill is started: `ulimit -n {}`, or `LimitNOFILE` of its service",
        FILES_WARN * 4
    );
    match limit {
        ..FILES_FAIL => Finding::fail(WHAT, found, remedy),
        FILES_FAIL..FILES_WARN => Finding::warn(WHAT, found, remedy),
        _ => Finding::ok(WHAT, found),
    }
}

/// When this program was made or installed, which was in the past.
fn built() -> Option<Timestamp> {
    let program: PathBuf = std::env::current_exe().ok()?;
    Timestamp::try_from(program.metadata().ok()?.modified().ok()?).ok()
}

fn clock(now: Timestamp, newest: Option<Timestamp>, built: Option<Timestamp>) -> Finding {
    let found = now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let before = |then: Option<Timestamp>| then.is_some_and(|then| now < then - STEP);
    let remedy = "set the clock (`timedatectl set-ntp true`): intervals, order of runs and time-outs \
                  go by it";
    if before(newest) {
        return Finding::fail("clock", format!("{found}, before the newest run"), remedy);
    }
    match before(built) {
        true => Finding::warn("clock", format!("{found}, before tidemill was installed"), remedy),
        false => Finding::ok("clock", found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn states<const N: usize>(findings: [Finding; N]) -> [State; N] {
        findings.map(|finding| {
            assert_eq!(finding.remedy.is_none(), finding.state == State::Ok, "{finding:?}");
            finding.state
        })
    }

    const STATES: [State; 3] = [State::Ok, State::Warn, State::Fail];

    #[test]
    fn room_memory_and_files() {
        let room = |free| room("disk", Path::new("/d"), free, 252_000 * MB);
        assert_eq!(states([room(2000 * MB), room(900 * MB), room(99 * MB)]), STATES);
        assert_eq!(room(30_100 * MB).found, "30.1 GB of 252.0 GB free at /d");
        let files = |limit| enough_files(Some(limit));
        assert_eq!(states([files(1024), files(256), files(64)]), STATES);
        assert_eq!(enough_files(None).state, State::Ok);
        let (available, all) =
            available("MemTotal: 24683080 kB\nMemFree: 1 kB\nMemAvailable:  512000 kB\n").unwrap();
        assert_eq!((available, all), (524_288_000, 25_275_473_920));
        assert_eq!(enough_memory(available, all, 1 << 30).state, State::Warn);
        let found = enough_memory(2000 * MB, all, 1 << 30).found;
        assert_eq!(found, "2.0 GB of 25.3 GB available; queries take 1.1 GB at most");
    }

    #[test]
    fn a_clock_does_not_go_back() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let check = |newest, built| clock(at(0), Some(at(newest)), Some(at(built))).state;
        assert_eq!(check(-5, -5), State::Ok);
        assert_eq!(check(59, 59), State::Ok, "the clock of a restarted machine is a little off");
        assert_eq!(check(61, -5), State::Fail);
        assert_eq!(check(-5, 61), State::Warn);
    }

    #[test]
    fn a_data_directory() {
        let root = tempfile::tempdir().unwrap();
        let fresh = root.path().join("a/b");
        let found = data_directory(&fresh);
        assert_eq!(found.state, State::Ok);
        assert!(found.found.ends_with("a/b is made by the first run"), "{found:?}");
        assert!(!root.path().join("a").exists());
        assert_eq!(store(&fresh).0, None);

        std::fs::create_dir_all(&fresh).unwrap();
        assert!(data_directory(&fresh).found.ends_with("is writable"));
        assert_eq!(std::fs::read_dir(&fresh).unwrap().count(), 0);
        drop(Store::open(&fresh).unwrap());
        let found = format!("store.db has format {}, 0 runs", Store::FORMAT);
        assert_eq!(store(&fresh).0.unwrap().found, found);
        std::fs::write(fresh.join("store.db"), "no database, but a text of some length").unwrap();
        assert_eq!(store(&fresh).0.unwrap().state, State::Fail);

        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(data_directory(&file.join("data")).state, State::Fail);
    }
}
