//! The tools that are compared: which versions, how each is asked, and what is kept of its answers.

use crate::python;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(super) struct Tool {
    pub name: &'static str,
    /// On PyPI, and its version. None for tidemill.
    pub package: Option<(&'static str, &'static str)>,
    /// Its pipeline among the inputs.
    pub file: &'static str,
    /// Where the pipeline and `clean.sql` have to be.
    pub place: &'static str,
    pub sql_place: &'static str,
    /// What finds mistakes before a run, one after the other.
    pub checks: &'static [&'static str],
    pub run: &'static str,
}

pub(super) const TOOLS: [Tool; 4] = [
    Tool {
        name: "tidemill",
        package: None,
        file: "pipeline.yaml",
        place: "pipeline.yaml",
        sql_place: "clean.sql",
        checks: &["tidemill validate pipeline.yaml"],
        run: "tidemill run pipeline.yaml",
    },
    Tool {
        name: "Airflow",
        package: Some(("apache-airflow[graphviz,sqlite]", "3.3.2")),
        file: "airflow.py",
        place: "dags/orders.py",
        sql_place: "dags/clean.sql",
        // The first has the better messages, the second finds more.
        checks: &["python dags/orders.py", "airflow dags list-import-errors --local -o plain"],
        run: "airflow dags test orders",
    },
    Tool {
        name: "Dagster",
        package: Some(("dagster-dg-cli", "1.13.27")),
        file: "dagster.py",
        place: "shop/definitions.py",
        sql_place: "shop/clean.sql",
        checks: &["dg check defs"],
        run: "dg launch --assets *",
    },
    Tool {
        name: "Prefect",
        package: Some(("prefect", "3.9.1")),
        file: "prefect.py",
        place: "orders.py",
        sql_place: "clean.sql",
        checks: &["python orders.py"],
        run: "python orders.py",
    },
];

/// Prefect's word for it: it has no check, so that its run is one until this is said.
pub(super) const RUN_BEGAN: &str = "Beginning flow run";

/// No command takes longer.
const LIMIT: Duration = Duration::from_secs(300);

/// What a command answered, without what differs from machine to machine.
pub(super) struct Said {
    pub command: &'static str,
    pub code: Option<i32>,
    pub text: String,
}

impl Said {
    pub fn failed(&self) -> bool {
        self.code != Some(0)
    }
}

/// A directory with a project and a home for each tool, and where their programs are.
pub(super) struct Workshop {
    directory: TempDir,
    programs: Vec<PathBuf>,
    /// The version of Python, such as `3.11`.
    pub python: String,
    /// Directories of Python, which `…` stands for.
    libraries: Vec<String>,
}

impl Workshop {
    pub fn prepare(environments: &Path, tidemill: &Path) -> Result<Workshop> {
        let mut programs = Vec::new();
        let mut libraries = Vec::new();
        let mut version_of_python = String::new();
        for tool in &TOOLS {
            let Some((package, version)) = tool.package else {
                programs.push(tidemill.parent().context("no directory")?.to_owned());
                continue;
            };
            programs.push(python::programs(environments, package, version)?);
            let python = programs[programs.len() - 1].join("python");
            let code = "import sysconfig as s
print(s.get_path('purelib'), s.get_path('stdlib'), s.get_python_version(), sep='\\n')";
            let said = String::from_utf8(Command::new(python).args(["-c", code]).output()?.stdout)?;
            let mut lines = said.lines().map(str::to_owned);
            libraries.extend(lines.by_ref().take(2));
            version_of_python = lines.next().context("Python does not tell its version")?;
        }
        let directory = tempfile::Builder::new().prefix("peers-").tempdir()?;
        let workshop = Workshop { directory, programs, python: version_of_python, libraries };
        for tool in &TOOLS {
            fs::create_dir_all(workshop.home(tool))?;
            workshop.clear(tool)?;
            if tool.name == "Airflow" {
                workshop.run(tool, "airflow db migrate")?;
            }
        }
        Ok(workshop)
    }

    fn home(&self, tool: &Tool) -> PathBuf {
        self.directory.path().join(tool.name).join("home")
    }

    fn project(&self, tool: &Tool) -> PathBuf {
        self.directory.path().join(tool.name).join("shop")
    }

    /// An empty project.
    pub fn clear(&self, tool: &Tool) -> Result<()> {
        let project = self.project(tool);
        if project.exists() {
            fs::remove_dir_all(&project)?;
        }
        if tool.name == "Dagster" {
            self.write(tool, "shop/__init__.py", "")?;
            let text = "[tool.dg]\ndirectory_type = \"project\"\n\n[tool.dg.project]\nroot_module = \"shop\"\n";
            self.write(tool, "pyproject.toml", text)?;
            fs::write(self.home(tool).join("dagster.yaml"), "telemetry: {enabled: false}\n")?;
        }
        Ok(())
    }

    pub fn write(&self, tool: &Tool, name: &str, text: &str) -> Result<()> {
        let path = self.project(tool).join(name);
        fs::create_dir_all(path.parent().context("no directory")?)?;
        Ok(fs::write(path, text)?)
    }

    pub fn run(&self, tool: &Tool, command: &'static str) -> Result<Said> {
        let (home, project) = (self.home(tool), self.project(tool));
        let at = TOOLS.iter().position(|other| other.name == tool.name).unwrap_or(0);
        let programs = &self.programs[at];
        let mut words = command.split(' ');
        let output = home.join("output");
        let file = File::create(&output)?;
        fs::create_dir_all(&project)?;
        let database = project.join("warehouse.db");
        let warehouse = serde_json::json!({"conn_type": "sqlite", "host": database});
        let start = Instant::now();
        let mut child = Command::new(programs.join(words.next().unwrap_or_default()))
            .args(words)
            .current_dir(&project)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .envs(
                ["HOME", "AIRFLOW_HOME", "DAGSTER_HOME", "PREFECT_HOME"].map(|name| (name, &home)),
            )
            .env("AIRFLOW__CORE__DAGS_FOLDER", project.join("dags"))
            .env("AIRFLOW_CONN_WAREHOUSE", warehouse.to_string())
            .env("PYTHONPATH", if tool.name == "Dagster" { "." } else { "" })
            .envs([
                ("LANG", "C.UTF-8"),
                ("TZ", "UTC"),
                ("TERM", "dumb"),
                ("NO_COLOR", "1"),
                ("COLUMNS", "100"),
                ("DO_NOT_TRACK", "1"),
                ("AIRFLOW__CORE__LOAD_EXAMPLES", "False"),
                ("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING"),
                ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
                ("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120"),
            ])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {command}"))?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > LIMIT {
                child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        // What it has left behind, such as a server.
        if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        let text = String::from_utf8_lossy(&fs::read(&output)?).into_owned();
        Ok(Said { command, code: status.code(), text: self.clean(&text, &home, &project) })
    }

    /// Without colours, times, numbers of processes, and directories of this machine.
    fn clean(&self, text: &str, home: &Path, project: &Path) -> String {
        let mut parts = text.split("\u{1b}[");
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            plain.push_str(
                part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |end| end.1),
            );
        }
        let project = project.display().to_string();
        plain = plain.replace(&format!("{project}/"), "").replace(&project, ".");
        plain = plain.replace(&home.display().to_string(), "~");
        for library in &self.libraries {
            plain = plain.replace(library, "…");
        }
        let line = |line: &str| {
            let line = line.split(' ').map(word).collect::<Vec<_>>().join(" ");
            line.replace("… +…", "…").replace("… …", "…").trim_end().to_owned()
        };
        plain.lines().map(line).collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
    }
}

/// `…` for a word that is a time, a number of a process or port, an address, the id of a run, or the
/// name of the machine.
fn word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let (key, core) = core.rsplit_once('=').unwrap_or(("", core));
    let shape: String = core.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let time = ["0000-00-00", "00:00:00"].iter().any(|form| shape.contains(form));
    let id = core.len() >= 32 && core.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let address = core.starts_with("0x") || core.starts_with("http://127.0.0.1:");
    let process = core.len() >= 4 && shape.chars().all(|c| c == '0') && !word.ends_with(',');
    let hidden = time || id || address || process || key == "hostname";
    if hidden { word.replace(core, "…") } else { word.to_owned() }
}
