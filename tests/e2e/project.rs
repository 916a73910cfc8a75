//! A project in a temporary directory, and the binary run in it.

use crate::servers::Servers;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) struct Project {
    directory: TempDir,
    /// The key-value table of its pipelines.
    kv: String,
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Project {
    /// An empty directory.
    pub(crate) fn empty() -> Project {
        // Not hidden: editors pass by hidden directories.
        let directory = tempfile::Builder::new().prefix("tidemill-").tempdir().unwrap();
        Project { directory, kv: "ecommerce_table".to_owned() }
    }

    pub(crate) fn new() -> Project {
        let project = Project::empty();
        project.write("tidemill.yaml", "data_dir: data\n");
        project
    }

    /// A project with the pipelines that are shipped.
    pub(crate) fn shipped() -> Project {
        let project = Project::new();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        copy_tree(&shipped, &project.path("pipelines"));
        project
    }

    /// The same with all datasets on servers, under names of its own: others use them too.
    pub(crate) fn on(servers: &Servers) -> Project {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let mut project = Project::shipped();
        project.kv = format!("ecommerce_table_{id}");
        project.write("tidemill.yaml", &servers.project_file(&id));
        for pipeline in ["pipelines/ecommerce.yaml", "pipelines/ecommerce_nightly.yaml"] {
            let text = project.read(pipeline);
            let text = text.replace("ecommerce_table", &project.kv);
            let text = text.replace("topic:bda_proj", &format!("topic:bda_proj_{id}"));
            project.write(pipeline, &text);
        }
        project
    }

    pub(crate) fn kv(&self) -> &str {
        &self.kv
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_remove("TIDEMILL_DATA_DIR")
            .env_remove("RUST_LOG")
            .env_remove("TIDEMILL_FAILPOINT")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn tidemill(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    /// Runs it, and expects that all is well.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Said {
        let said = self.tidemill(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:#?}");
        said
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it with a kill point; true if the process was killed there.
    pub(crate) fn killed_at(&self, failpoint: &str, arguments: &[&str]) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let output = self.command(arguments).env("TIDEMILL_FAILPOINT", failpoint).output().unwrap();
        let killed = output.status.signal() == Some(9);
        assert!(killed || output.status.success(), "{failpoint}: {:#?}", said(output));
        killed
    }

    /// `show RUN -o json`.
    pub(crate) fn show(&self, run: &str) -> Value {
        serde_json::from_str(&self.ok(&["show", run, "-o", "json"]).out).unwrap()
    }

    /// All rows of all tables and of the key-value table, in one order: two projects with equal
    /// data give equal texts.
    pub(crate) fn everything(&self) -> String {
        let tables: Value =
            serde_json::from_str(&self.ok(&["datasets", "-o", "json"]).out).unwrap();
        let mut names: Vec<String> = (tables.as_array().unwrap().iter())
            .filter_map(|version| version["dataset"].as_str()?.strip_prefix("table:"))
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        let mut text = String::new();
        for name in names {
            // When and by which run a message came is not the same twice.
            let columns = if name.contains("dead_letters") { "reason, payload" } else { "*" };
            let sql = format!("select {columns} from {name}");
            let rows = self.ok(&["query", &sql, "-o", "csv"]).out;
            let mut rows: Vec<&str> = rows.lines().skip(1).collect();
            rows.sort_unstable();
            text.push_str(&format!("== {name}\n{}\n", rows.join("\n")));
        }
        let scan = ["kv", "scan", &self.kv, "--limit", "100000", "-o", "json"];
        text.push_str(&self.ok(&scan).out);
        text
    }

    /// The newest run's tasks, as `name: state`.
    pub(crate) fn states(&self) -> Vec<String> {
        let shown = self.show("latest");
        let tasks = shown["tasks"].as_array().unwrap();
        let state = |task: &Value| {
            format!("{}: {}", task["task"].as_str().unwrap(), task["state"].as_str().unwrap())
        };
        tasks.iter().map(state).collect()
    }
}

/// Compares two long texts, and shows the first lines that differ.
pub(crate) fn assert_same(what: &str, one: &str, other: &str) {
    if one != other {
        let pairs = one.lines().zip(other.lines());
        let differing: Vec<_> = pairs.filter(|(a, b)| a != b).take(3).collect();
        let (ours, theirs) = (one.lines().count(), other.lines().count());
        panic!("{what}: {ours} and {theirs} lines, {differing:#?}");
    }
}

pub(crate) fn said(output: Output) -> Said {
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits until the child has ended.
pub(crate) fn end(child: Child) -> Said {
    said(child.wait_with_output().unwrap())
}

/// Waits until something is observed; fails after a while that only a defect can use up.
pub(crate) fn wait_until(what: &str, mut seen: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !seen() {
        assert!(Instant::now() < deadline, "not seen in a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
