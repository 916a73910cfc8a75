//! What several verbs need: the data directory, the store, the kinds, a planned pipeline.

use crate::arguments::{among, misuse, parse_day, parse_setting};
use crate::{Common, completions, output};
use anyhow::{Result, anyhow, bail};
use jiff::{Timestamp, civil, tz::TimeZone};
use orchestrator::attempt::Profile;
use orchestrator::diagnostic::Problems;
use orchestrator::kind::Kinds;
use orchestrator::load::{self, Definition};
use orchestrator::plan::{Interval, PlanRequest};
use orchestrator::preflight;
use orchestrator::project;
use orchestrator::run::{Restored, ownership};
use orchestrator::store::{NewRun, RunRow, RunStatus, Store, StoredRun, Trigger};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What of a pipeline is run, and with which values.
#[derive(clap::Args, Clone, Debug)]
pub struct Choice {
    /// Set a parameter; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,
    /// Profile of tidemill.yaml [default: the one it names, else embedded]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The day that the run is about [default: yesterday]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    date: Option<civil::Date>,
    /// Run only this task; may be repeated
    #[arg(long, value_name = "TASK", add = completions::tasks())]
    only: Vec<String>,
    /// Run this task and all that come after it; may be repeated
    #[arg(long, value_name = "TASK", add = completions::tasks())]
    from: Vec<String>,
}

impl Choice {
    fn request(&self, now: Timestamp) -> PlanRequest {
        PlanRequest {
            set: self.set.clone(),
            profile: self.profile.clone(),
            date: self.date,
            only: self.only.clone(),
            from: self.from.clone(),
            ..PlanRequest::new(now)
        }
    }
}

/// A profile of the project that the current directory belongs to; its default if none is named.
pub fn profile(name: Option<&str>) -> Result<Profile> {
    let project = find_project(Path::new("."))?;
    let name = name.unwrap_or(&project.default_profile);
    match project.profiles.get(name) {
        Some(settings) => Ok(Profile { name: name.to_owned(), settings: settings.clone() }),
        None => {
            let known = among(name, project.profiles.keys().map(String::as_str));
            Err(misuse(format!("there is no profile `{name}`; {known}")))
        }
    }
}

/// The directory of the project file that a directory belongs to, if there is one.
pub fn project_dir(start: &Path) -> Option<PathBuf> {
    let project = project::find_project(start).ok()?;
    project.file.is_some().then_some(project.dir)
}

fn find_project(start: &Path) -> Result<project::Project> {
    project::find_project(start)
        .map_err(|problems| anyhow!("the project file has problems:\n{}", problems.render(false)))
}

/// The kinds of tasks that this program knows.
pub fn kinds() -> Kinds {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(Path::to_str);
    tasks::kinds(program.map(|program| vec![program.to_owned(), "guard".to_owned()]))
}

/// Shows problems on standard error.
pub fn complain(problems: &Problems) {
    if !problems.diagnostics.is_empty() {
        let color =
            anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        let text = match terminal_size::terminal_size_of(std::io::stderr()) {
            Some((columns, _)) => problems.render_on_screen(color, columns.0.into()),
            None => problems.render(color),
        };
        anstream::eprint!("{text}");
    }
}

/// Loads and plans a pipeline; `None` if it has problems, which are then on standard error.
pub fn prepare(file: &Path, choice: &Choice, now: Timestamp) -> Option<Restored> {
    let request = choice.request(now);
    match load::load_and_plan(file, &kinds(), &request) {
        Ok((definition, plan, warnings)) => {
            complain(&Problems { diagnostics: warnings, sources: definition.sources() });
            Some(Restored { plan: Arc::new(plan), definition, request })
        }
        Err(problems) => {
            complain(&problems);
            None
        }
    }
}

/// A run that is to be made now, with an id of its own.
pub fn new_run(
    definition: &Definition,
    request: &PlanRequest,
    pipeline: &str,
    interval: Interval,
    trigger: Trigger,
) -> Result<NewRun> {
    Ok(NewRun {
        id: uuid::Uuid::now_v7().simple().to_string(),
        pipeline: pipeline.to_owned(),
        created_at: Timestamp::now(),
        interval,
        definition_digest: definition.digest(),
        definition: serde_json::to_string(definition)?,
        request: serde_json::to_string(request)?,
        trigger,
    })
}

/// A run's pipeline, as it was when the run began.
pub fn restore(run: &StoredRun) -> Result<Restored> {
    Ok(Restored::of(run, &kinds())?)
}

/// Whether what nobody in the run writes is there to be read; problems go to standard error.
pub fn preflight(
    prepared: &Restored,
    data_dir: &Path,
    runtime: &tokio::runtime::Runtime,
) -> Result<bool> {
    let catalog = tasks::catalog(&prepared.profile(), data_dir)?;
    let (definition, plan) = (&prepared.definition, &prepared.plan);
    let diagnostics = runtime.block_on(preflight::preflight(definition, plan, &catalog))?;
    let ok = diagnostics.is_empty();
    complain(&Problems { diagnostics, sources: definition.sources() });
    Ok(ok)
}

/// The data directory for a pipeline in `start`: the option, else that of the project.
pub fn data_dir(common: &Common, start: &Path) -> Result<PathBuf> {
    let data_dir = match &common.data_dir {
        Some(data_dir) => std::path::absolute(data_dir)?,
        None => project_data_dir(start)?,
    };
    if data_dir.exists() && !data_dir.is_dir() {
        bail!("the data directory `{}` is not a directory", data_dir.display());
    }
    Ok(data_dir)
}

/// The data directory of the project that a directory belongs to.
pub fn project_data_dir(start: &Path) -> Result<PathBuf> {
    Ok(find_project(start)?.data_dir)
}

/// The store of the data directory for the current directory; an error if nothing ever ran there.
pub fn open_store(common: &Common) -> Result<(Store, PathBuf)> {
    let data_dir = data_dir(common, Path::new("."))?;
    match Store::open_existing(&data_dir)? {
        Some(store) => Ok((store, data_dir)),
        None => bail!(
            "no run has been made in `{}` yet; start one with `tidemill run FILE`, or name \
             another data directory with --data-dir",
            data_dir.display()
        ),
    }
}

/// A run's state as people see it.
pub fn status(row: &RunRow, data_dir: &Path) -> RunStatus {
    ownership::status(data_dir, row)
}

/// The interval: its date where it is a day of its pipeline's zone `own`, of UTC or of the local
/// zone; else both ends.
pub fn interval(interval: Interval, own: &TimeZone) -> String {
    for zone in [own.clone(), TimeZone::UTC, TimeZone::system()] {
        let date = interval.start.to_zoned(zone.clone()).date();
        if Interval::of_day(date, &zone).is_ok_and(|day| day == interval) {
            return date.to_string();
        }
    }
    format!("{} to {}", output::time(interval.start), output::time(interval.end))
}
