//! Where a cluster keeps its files, under cargo's target directory.

use super::conf;
use super::ports::Ports;
use super::process::Process;
use super::servers::{Library, Server};
use crate::target_directory;
use anyhow::{Context, Result};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

pub(super) struct Home {
    directory: PathBuf,
    libraries: PathBuf,
}

impl Home {
    /// A cluster with an offset has a home of its own, so that it shares no data with the usual
    /// one; they share the jars.
    pub(super) fn of(offset: u16) -> Result<Home> {
        let cluster = target_directory()?.join("cluster");
        let libraries = cluster.join("lib");
        let directory = match offset {
            0 => cluster,
            _ => cluster.join(format!("offset-{offset}")),
        };
        Ok(Home { directory, libraries })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn libraries(&self) -> &Path {
        &self.libraries
    }

    pub(super) fn conf(&self, of: &str) -> PathBuf {
        self.directory.join("conf").join(of)
    }

    pub(super) fn data(&self, of: &str) -> PathBuf {
        self.directory.join("data").join(of)
    }

    pub(super) fn log(&self, of: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{of}.log"))
    }

    pub(super) fn pid_file(&self, server: Server) -> PathBuf {
        self.directory.join("pids").join(format!("{}.pid", server.name()))
    }

    pub(super) fn living(&self, server: Server) -> Option<Process> {
        Process::living(&self.pid_file(server))
    }

    /// The configuration first: it is meant to hide what a jar brings of the same name.
    pub(super) fn class_path(&self, conf: &str, libraries: &[&Library]) -> String {
        let mut path = self.conf(conf).display().to_string();
        for library in libraries {
            path += &format!(":{}/*", self.libraries.join(library.name).display());
        }
        path
    }

    /// Nobody else starts or stops servers of this home while the file is held.
    pub(super) fn lock(&self) -> Result<File> {
        lock(&self.directory)
    }

    /// The ports that its servers were started with.
    pub(super) fn recorded_ports(&self) -> Option<Ports> {
        let text = std::fs::read(self.directory.join("ports.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes the configuration, and which ports it has.
    pub(super) fn configure(&self, ports: &Ports) -> Result<()> {
        for directory in ["data", "logs", "pids", "tmp"] {
            std::fs::create_dir_all(self.directory.join(directory))?;
        }
        for (name, text) in conf::files(&self.directory, ports) {
            write(&self.directory.join("conf").join(name), text.as_bytes())?;
        }
        write(&self.directory.join("ports.json"), &serde_json::to_vec(ports)?)
    }

    /// Removes all but the lock, which the next in line may wait for, and the jars.
    pub(super) fn purge(&self) -> Result<()> {
        for name in ["conf", "data", "logs", "pids", "tmp"] {
            let directory = self.directory.join(name);
            if directory.exists() {
                std::fs::remove_dir_all(&directory)
                    .with_context(|| format!("cannot remove `{}`", directory.display()))?;
            }
        }
        let ports = self.directory.join("ports.json");
        if ports.exists() {
            std::fs::remove_file(ports)?;
        }
        Ok(())
    }
}

/// Waits until no other process holds the lock of a directory.
pub(super) fn lock(directory: &Path) -> Result<File> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another `cargo xtask cluster`");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    Ok(file)
}

/// A tool that is starting may be reading the old file: it is replaced as a whole, if at all.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let new = path.with_extension("new");
    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    written
        .and_then(|()| std::fs::write(&new, content))
        .and_then(|()| std::fs::rename(&new, path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_leaves_the_jars_and_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home {
            directory: directory.path().to_owned(),
            libraries: directory.path().join("lib"),
        };
        std::fs::create_dir(home.libraries()).unwrap();
        let ports = Ports::wanted(100, |_| None).unwrap();
        let _lock = home.lock().unwrap();
        home.configure(&ports).unwrap();
        home.configure(&ports).unwrap();
        assert_eq!(home.recorded_ports(), Some(ports));
        assert!(home.conf("hbase").join("hbase-site.xml").exists());
        home.purge().unwrap();
        let entries = std::fs::read_dir(directory.path()).unwrap();
        let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["lib", "lock"]);
    }
}
