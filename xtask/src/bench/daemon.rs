//! The daemon: how soon it is ready, what it costs when it idles, how late its runs begin, and how
//! long its pages take with a long history.

use super::Gathered;
use super::measure::measure;
use super::stages::Bench;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Pipelines in the directory of the daemon that starts and idles.
const PIPELINES: usize = 1000;
/// Runs in the history that pages are made of.
const RUNS: usize = 100_000;
/// Runs and tasks of the pipeline with a large grid.
const GRID: (usize, usize) = (100, 1000);
/// Requests for each page.
const REQUESTS: usize = 200;
/// How long it idles, and how long runs are due every second.
const WHILE: Duration = Duration::from_secs(60);

const PIPELINE: &str = "
tasks:
  extract: {uses: shell, with: {run: echo read}}
  clean: {uses: shell, needs: [extract], with: {run: echo cleaned}}
  score: {uses: shell, needs: [clean], with: {run: exit 3}}
  publish: {uses: shell, needs: [score], with: {run: echo done}}
  report: {uses: shell, needs: [clean], with: {run: echo drawn}}
";

pub(super) fn run(bench: &Bench, gathered: &mut Gathered) -> Result<()> {
    start_and_idle(bench, gathered)?;
    lateness(bench, gathered)?;
    pages(bench, gathered)
}

/// A directory for pipelines and data, gone at the end; in memory where that can be, so that filling
/// it is quick.
fn directory(bench: &Bench) -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let directory = match memory.is_dir() {
        true => TempDir::new_in(memory)?,
        false => TempDir::new_in(bench.directory())?,
    };
    std::fs::create_dir_all(directory.path().join("pipelines"))?;
    std::fs::write(directory.path().join("tidemill.yaml"), "data_dir: data\n")?;
    Ok(directory)
}

/// A daemon, killed with its measurement.
struct Daemon {
    child: Child,
    address: String,
    /// From the start of the process until it was ready.
    ready: Duration,
}

impl Daemon {
    fn start(bench: &Bench, directory: &Path) -> Result<Daemon> {
        let log = directory.join("log");
        let start = Instant::now();
        let child = Command::new(bench.program())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        loop {
            let text = std::fs::read_to_string(&log)?;
            if let Some((_, rest)) = text.split_once("ready: http://") {
                let ready = start.elapsed();
                let address = rest.split(',').next().unwrap_or_default().to_owned();
                return Ok(Daemon { child, address, ready });
            }
            if start.elapsed() > Duration::from_secs(60) {
                bail!("the daemon is not ready after a minute:\n{text}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A figure of its memory in MiB.
    fn memory(&self, figure: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(figure));
        let kib = line.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("no {figure}"))? / 1024.0)
    }

    /// Processor time in ticks.
    fn ticks(&self) -> Result<f64> {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let stat = std::fs::read_to_string(process.join("stat"))?;
        let rest = stat.rsplit_once(')').context("a stat without a name")?.1;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<f64>();
        Ok(ticks(11)? + ticks(12)?)
    }

    /// Seconds until a page was there, and its bytes.
    fn get(&self, path: &str) -> Result<(f64, usize)> {
        let start = Instant::now();
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if !answer.starts_with(b"HTTP/1.0 200") {
            bail!("{path}: {}", String::from_utf8_lossy(&answer[..answer.len().min(300)]));
        }
        Ok((start.elapsed().as_secs_f64(), answer.len()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_and_idle(bench: &Bench, gathered: &mut Gathered) -> Result<()> {
    let directory = directory(bench)?;
    let directory = directory.path();
    for number in 0..PIPELINES {
        let text = format!("name: p{number}\nschedule: {{cron: 0 2 1 1 *}}{PIPELINE}");
        std::fs::write(directory.join(format!("pipelines/p{number}.yaml")), text)?;
    }
    for _ in 0..bench.rounds {
        let daemon = Daemon::start(bench, directory)?;
        gathered.add("daemon.ready.ms", "ms", daemon.ready.as_secs_f64() * 1e3);
        // It has written the schedules down, and is at rest.
        std::thread::sleep(Duration::from_secs(5));
        let before = daemon.ticks()?;
        std::thread::sleep(WHILE / 2);
        let after = daemon.ticks()?;
        gathered.add("daemon.idle.mib", "MiB", daemon.memory("VmRSS")?);
        // The rest are pages of the program's file, which the system takes back when it needs them.
        gathered.add("daemon.idle.own.mib", "MiB", daemon.memory("RssAnon")?);
        // 100 ticks a second on Linux, whatever the machine.
        let share = (after - before) / 100.0 / (WHILE / 2).as_secs_f64() * 100.0;
        gathered.add("daemon.idle.cpu", "% of a core", share);
    }
    Ok(())
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share).ceil() as usize;
    values[index.clamp(1, values.len()) - 1]
}

/// From due to a run's first event.
fn lateness(bench: &Bench, gathered: &mut Gathered) -> Result<()> {
    let directory = directory(bench)?;
    let directory = directory.path();
    let pipeline = "name: p\nschedule: {every: 1s}\nmax_active_runs: 4\ntasks:\n  a: {uses: shell, with: \
                    {command: ['true']}}\n";
    std::fs::write(directory.join("pipelines/p.yaml"), pipeline)?;
    let daemon = Daemon::start(bench, directory)?;
    std::thread::sleep(WHILE);
    let mut late = Vec::new();
    let ask = |words: &[&str]| -> Result<Value> {
        let mut command = Command::new(bench.program());
        Ok(serde_json::from_str(&measure(command.args(words).current_dir(directory))?.out)?)
    };
    let runs = ask(&["history", "--limit", "1000", "-o", "json"])?;
    for run in runs.as_array().into_iter().flatten() {
        let id = run["run"].as_str().unwrap_or_default();
        let mut command = Command::new(bench.program());
        let show = command.args(["show", id, "--events", "-o", "json"]).current_dir(directory);
        let events = measure(show)?.out;
        let Some(first) = events.lines().next() else { continue };
        let first: Value = serde_json::from_str(first)?;
        let (due, at) = (seconds(&run["interval_end"])?, seconds(&first["at"])?);
        late.push((at - due) * 1e3);
    }
    drop(daemon);
    gathered.add("daemon.late.runs", "runs", late.len() as f64);
    gathered.add("daemon.late.median.ms", "ms", quantile(&mut late, 0.5));
    gathered.add("daemon.late.p99.ms", "ms", quantile(&mut late, 0.99));
    Ok(())
}

/// The seconds within the day of a time such as `2026-11-24T02:00:00.123456Z`.
fn seconds(time: &Value) -> Result<f64> {
    let text = time.as_str().context("a time is a text")?;
    let clock = text.split_once('T').context("a time has a T")?.1.trim_end_matches('Z');
    let mut parts = clock.split(':');
    let mut next = || -> Result<f64> { Ok(parts.next().context("a part is missing")?.parse()?) };
    Ok(next()? * 3600.0 + next()? * 60.0 + next()?)
}

fn pages(bench: &Bench, gathered: &mut Gathered) -> Result<()> {
    let directory = directory(bench)?;
    let directory = directory.path();
    let write = |name: &str, tasks: &str| {
        let text = format!("name: {name}\n{tasks}");
        std::fs::write(directory.join(format!("pipelines/{name}.yaml")), text)
    };
    write("nightly", PIPELINE.trim_start())?;
    let many: String = (0..GRID.1)
        .map(|task| format!("  task_{task}: {{uses: shell, with: {{command: ['true']}}}}\n"))
        .collect();
    write("wide", &format!("tasks:\n{many}"))?;
    let example = bench.program().with_file_name("examples").join("history");
    let mut a_run = String::new();
    for (name, count) in [("nightly", RUNS), ("wide", GRID.0)] {
        // The nightly one fails, as a night may.
        let _ = Command::new(bench.program())
            .args(["run", &format!("pipelines/{name}.yaml")])
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        let mut history = Command::new(bench.program());
        let history = history.args(["history", name, "-n", "1", "-o", "json"]);
        let runs: Value = serde_json::from_str(&measure(history.current_dir(directory))?.out)?;
        let run = runs[0]["run"].as_str().context("there is a run")?.to_owned();
        let data = directory.join("data");
        measure(
            Command::new(&example).args([data.as_os_str(), run.as_ref()]).arg(count.to_string()),
        )?;
        if name == "nightly" {
            a_run = format!("/runs/{run}");
        }
    }
    let daemon = Daemon::start(bench, directory)?;
    let all = [
        ("home", "/"),
        ("runs", "/runs"),
        ("runs_failed", "/runs?state=failed"),
        ("pipeline", "/pipelines/nightly"),
        ("grid_of_1000_tasks", "/pipelines/wide"),
        ("run", a_run.as_str()),
        ("datasets", "/datasets"),
        ("dashboards", "/dashboards"),
        ("admin", "/admin"),
        ("metrics", "/metrics"),
        ("api_runs", "/api/v1/runs"),
    ];
    for (name, path) in all {
        daemon.get(path)?;
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            let (seconds, bytes) = daemon.get(path)?;
            times.push(seconds * 1e3);
            gathered.add(format!("daemon.page.{name}.kib"), "KiB", bytes as f64 / 1024.0);
        }
        gathered.add(format!("daemon.page.{name}.median.ms"), "ms", quantile(&mut times, 0.5));
        gathered.add(format!("daemon.page.{name}.p99.ms"), "ms", quantile(&mut times, 0.99));
    }
    Ok(())
}
