//! `tidemill run`

use crate::completions;
use crate::progress::{Display, Style};
use crate::stdout::print;
use crate::{BUSY, CANCELLED, Common, FAILED, Format, INVALID, OK, output, summary};
use crate::{arguments, pipeline};
use anyhow::{Context, Result, bail};
use indicatif::MultiProgress;
use jiff::Timestamp;
use orchestrator::attempt::RunContext;
use orchestrator::dataset::Scheme;
use orchestrator::event::RunEnd;
use orchestrator::kind::Catalog;
use orchestrator::run::ownership::{self, RunLock};
use orchestrator::run::{Canceller, Driver, Restored, Run, RunState};
use orchestrator::store::{RunStatus, Store, Trigger};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// How often the live lines are drawn.
const TICK: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill run pipelines/hello.yaml
  tidemill run pipelines/ecommerce.yaml --set rows=10000000
  tidemill run pipelines/ecommerce_nightly.yaml --date 2026-11-23
  tidemill run pipelines/ecommerce.yaml --from aggregate  and all behind it
  tidemill run --resume latest                            when its process died")]
pub struct Arguments {
    /// The pipeline's YAML file
    #[arg(required_unless_present = "resume", conflicts_with = "resume",
          value_parser = arguments::pipeline_path())]
    file: Option<PathBuf>,
    /// Go on with a run whose process died: its id, or `latest`; it keeps its own definition
    #[arg(long, value_name = "RUN", add = completions::runs())]
    resume: Option<String>,
    #[command(flatten)]
    choice: pipeline::Choice,
    /// Attempts that may run at once [default: the number of processors]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// If the pipeline is active already, wait until it has ended
    #[arg(long)]
    wait: bool,
    /// (internal) The lock of the resumed run is standard input: the daemon has taken it
    #[arg(long, hide = true, requires = "resume")]
    locked: bool,
    /// `json`: one event a line, then the summary
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// A run that may begin.
struct Ready {
    id: String,
    lock: RunLock,
    prepared: Restored,
    store: Store,
    data_dir: PathBuf,
}

pub fn run(common: &Common, arguments: Arguments, bars: MultiProgress) -> Result<u8> {
    let display = Display::new(Style::choose(arguments.output == Format::Json), bars);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ready = match (&arguments.resume, &arguments.file) {
        (Some(run), _) if arguments.locked => handed_over(common, run)?,
        (Some(run), _) => resumable(common, run)?,
        (None, Some(file)) => match new_run(common, file, &arguments, &runtime)? {
            Ok(ready) => ready,
            Err(code) => return Ok(code),
        },
        (None, None) => bail!("name a pipeline file, or a run to --resume"),
    };
    drive(ready, &arguments, &display, &runtime)
}

/// Plans and creates a run; an exit code if that can't be.
fn new_run(
    common: &Common,
    file: &Path,
    arguments: &Arguments,
    runtime: &tokio::runtime::Runtime,
) -> Result<std::result::Result<Ready, u8>> {
    let now = Timestamp::now();
    let Some(prepared) = pipeline::prepare(file, &arguments.choice, now) else {
        return Ok(Err(INVALID));
    };
    let data_dir = pipeline::data_dir(common, file.parent().unwrap_or(Path::new(".")))?;
    if !pipeline::preflight(&prepared, &data_dir, runtime)? {
        return Ok(Err(INVALID));
    }
    let mut store = Store::open(&data_dir)?;
    let Restored { definition, request, plan } = &prepared;
    let new =
        pipeline::new_run(definition, request, &plan.pipeline, plan.interval, Trigger::Manual)?;
    let max_active = prepared.plan.max_active_runs as usize;
    // The lock comes first: a run in the store that nobody has locked counts as crashed, and
    // another process could start beside it.
    let lock = lock(&data_dir, &new.id)?.context("a new run is locked by another process")?;
    let mut told = false;
    loop {
        let alive = |run: &str| ownership::is_alive(&data_dir, run);
        match store.create_run(&new, max_active, alive)? {
            Ok(()) => break,
            Err(active) if !arguments.wait => {
                anstream::eprintln!(
                    "run {} of `{}` is active, and no more than {max_active} may be; \
                     wait for it with --wait, or stop it with `tidemill cancel {}`",
                    active.join(", "),
                    new.pipeline,
                    active[0]
                );
                // Nothing of the run that is not to be stays behind.
                let _ = std::fs::remove_dir_all(ownership::run_directory(&data_dir, &new.id));
                return Ok(Err(BUSY));
            }
            Err(active) => {
                if !told {
                    anstream::eprintln!("waiting for run {} to end", active.join(", "));
                    told = true;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
    Ok(Ok(Ready { id: new.id, lock, prepared, store, data_dir }))
}

/// A run whose process died, with the definition it was started with.
fn resumable(common: &Common, text: &str) -> Result<Ready> {
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let row = if text == "latest" {
        let crashed = store.newest_open_run()?;
        crashed.context("no run is unfinished; `tidemill history` lists them all")?
    } else {
        store.find_run(text)?
    };
    match pipeline::status(&row, &data_dir) {
        RunStatus::Crashed => {}
        RunStatus::Running => bail!("run {} is active in process {}", row.id, row.pid.unwrap_or(0)),
        RunStatus::Ended(end) => bail!(
            "run {} has ended ({}), there is nothing to resume; run the pipeline again, with \
             --from TASK to begin at a task",
            row.id,
            end.as_str()
        ),
    }
    let lock = lock(&data_dir, &row.id)?
        .with_context(|| format!("run {} has just been taken over by another process", row.id))?;
    let prepared = pipeline::restore(&store.stored_run(&row.id)?)?;
    // Who resumes a run wants it to go on, whatever was asked of the process that died.
    store.forget_requests(&row.id)?;
    Ok(Ready { id: row.id, lock, prepared, store, data_dir })
}

/// A run whose lock the daemon has taken for this process.
fn handed_over(common: &Common, run: &str) -> Result<Ready> {
    let lock = RunLock::inherited().context("cannot use standard input as the run's lock")?;
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let stored = store.stored_run(run)?;
    if let Some(end) = stored.end {
        bail!("run {run} has ended already ({})", end.as_str());
    }
    let prepared = pipeline::restore(&stored)?;
    Ok(Ready { id: stored.id, lock, prepared, store, data_dir })
}

fn lock(data_dir: &Path, run: &str) -> Result<Option<RunLock>> {
    RunLock::acquire(data_dir, run).with_context(|| {
        let directory = ownership::run_directory(data_dir, run);
        format!("cannot lock run {run} in `{}`", directory.display())
    })
}

fn drive(
    ready: Ready,
    arguments: &Arguments,
    display: &Display,
    runtime: &tokio::runtime::Runtime,
) -> Result<u8> {
    let Ready { id, lock, prepared, store, data_dir } = ready;
    let plan = prepared.plan.clone();
    display.say(&format!(
        "{}, run {id} for {}",
        plan.pipeline,
        pipeline::interval(plan.interval, &plan.zone())
    ));
    display.write_to(ownership::run_directory(&data_dir, &id));
    let catalog = tasks::catalog(&prepared.profile(), &data_dir)?;
    let run = Run {
        plan: plan.clone(),
        context: Arc::new(RunContext {
            id: id.clone(),
            pipeline: plan.pipeline.clone(),
            interval: plan.interval,
            profile: prepared.profile(),
            data_dir: data_dir.clone(),
            project_dir: prepared.definition.project_dir.clone(),
        }),
        files: Arc::new(prepared.definition.files.clone()),
        env: prepared.definition.env.clone(),
        kinds: pipeline::kinds(),
        jobs: arguments
            .jobs
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, Into::into)),
        observer: Arc::new(display.clone()),
    };
    let in_tokio = runtime.enter();
    let driver = Driver::take_over(run, lock, store)?;
    runtime.spawn(listen_to_signals(driver.canceller(), arguments.locked));
    let finished = std::thread::scope(|scope| {
        let (over, wait) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while wait.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                display.tick();
            }
        });
        let finished = driver.finish();
        drop(over);
        finished
    });
    drop(in_tokio);
    display.close();
    let (state, end) = finished?;
    close(&id, &state, end, arguments.output, display, &catalog)
}

/// The closing words of a run.
pub fn close(
    id: &str,
    state: &RunState,
    end: RunEnd,
    format: Format,
    display: &Display,
    catalog: &dyn Catalog,
) -> Result<u8> {
    let times = display.times();
    let pipeline = &state.plan().pipeline;
    if format == Format::Json {
        let mut json = summary::json(id, pipeline, end.as_str(), state, &times);
        json["kind"] = "summary".into();
        print(&format!("{json}\n"))?;
    } else {
        let mut text = format!("\n{}", summary::table(state, &times));
        let reasons = summary::reasons(state);
        if !reasons.is_empty() {
            text.push_str(&format!("\n{reasons}"));
        }
        let label = output::state_label(end.as_str());
        text.push_str(&format!("\n{pipeline} {label} in {}\n", output::duration(times.run())));
        for path in artifacts(state, catalog) {
            text.push_str(&format!("see {path}\n"));
        }
        if end != RunEnd::Succeeded {
            text.push_str(&format!("logs: tidemill logs {id} TASK\n"));
        }
        print(&text)?;
    }
    Ok(match end {
        RunEnd::Succeeded => OK,
        RunEnd::Failed => FAILED,
        RunEnd::Cancelled => CANCELLED,
    })
}

/// Where the artifacts of the run can be looked at.
fn artifacts(state: &RunState, catalog: &dyn Catalog) -> Vec<String> {
    let planned = &state.plan().tasks;
    let mut paths = Vec::new();
    for ((_, task), planned) in state.tasks().zip(planned) {
        for (name, output) in &planned.outputs {
            let published = task.outputs.get(name).is_some_and(|o| o.published.is_some());
            if published && output.dataset.scheme() == Scheme::Artifact {
                let page = Path::new(&catalog.locate(&output.dataset)).join("latest/index.html");
                paths.push(page.display().to_string());
            }
        }
    }
    paths
}

/// The first Ctrl-C (or SIGTERM) ends the run cleanly, a second one at once. A run of the daemon is
/// told to cancel otherwise: there, SIGTERM means that the machine stops, and the run goes on later.
async fn listen_to_signals(canceller: Canceller, of_daemon: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let mut signals = 0;
    loop {
        let name = tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
        };
        signals += if of_daemon { 2 } else { 1 };
        if signals > 1 {
            // The guard kills what tasks have started; `--resume` can go on later.
            std::process::exit(CANCELLED.into());
        }
        canceller.cancel(format!("{name}; once more stops at once"));
    }
}
