//! The pipelines of the daemon's directory: their last valid versions.

use super::daemon::Message;
use super::desk::Board;
use super::watch::Watcher;
use crate::{arguments, pipeline};
use jiff::Timestamp;
use orchestrator::diagnostic::Problems;
use orchestrator::kind::Kinds;
use orchestrator::load::{self, Definition};
use orchestrator::plan::{Interval, Plan, PlanRequest};
use orchestrator::scheduler::Scheduled;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use web_ui::KnownPipeline;

pub(super) struct Pipelines {
    dir: PathBuf,
    profile: Option<String>,
    kinds: Kinds,
    /// By name.
    valid: BTreeMap<String, Pipeline>,
    /// What was last said about each file, so that it is said once.
    said: BTreeMap<PathBuf, Said>,
    /// Where the pages look.
    board: Board,
    watcher: Option<Watcher>,
    /// Whether the directory could not be read when it was last tried.
    pub(super) is_lost: bool,
}

struct Said {
    text: String,
    problems: Option<String>,
    since: Timestamp,
}

/// The last valid version of a pipeline.
struct Pipeline {
    path: PathBuf,
    name: String,
    description: Option<String>,
    scheduled: Option<(Scheduled, Definition)>,
}

impl Pipelines {
    /// Reads a directory. `outbox` is told when a file changes that the pipelines depend on.
    pub(super) fn load(dir: &Path, profile: Option<String>, outbox: Sender<Message>) -> Pipelines {
        let watcher = Watcher::new(outbox).inspect_err(|error| {
            tracing::warn!(
                "cannot watch for changes: {error}; a changed pipeline is read when it is due, a \
                 new one when the daemon starts"
            );
        });
        let mut pipelines = Pipelines {
            dir: dir.to_owned(),
            profile,
            kinds: pipeline::kinds(),
            valid: BTreeMap::new(),
            said: BTreeMap::new(),
            board: Board::default(),
            watcher: watcher.ok(),
            is_lost: false,
        };
        pipelines.reload(Timestamp::now());
        pipelines
    }

    /// What the pages are to see, now and after each change.
    pub(super) fn board(&self) -> Board {
        self.board.clone()
    }

    fn post(&self) {
        let of_file = |path: &PathBuf| self.said.get(path);
        let mut known: Vec<KnownPipeline> = (self.valid.values())
            .map(|pipeline| KnownPipeline {
                path: pipeline.path.clone(),
                name: pipeline.name.clone(),
                valid: true,
                description: pipeline.description.clone(),
                schedule: pipeline.scheduled.as_ref().map(|(scheduled, _)| scheduled.clone()),
                problems: of_file(&pipeline.path).and_then(|said| said.problems.clone()),
                since: of_file(&pipeline.path).map_or(Timestamp::UNIX_EPOCH, |said| said.since),
            })
            .collect();
        let valid: BTreeSet<&PathBuf> = self.valid.values().map(|valid| &valid.path).collect();
        known.extend(self.said.iter().filter(|(path, _)| !valid.contains(path)).map(
            |(path, said)| {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                KnownPipeline {
                    path: path.clone(),
                    name,
                    valid: false,
                    description: None,
                    schedule: None,
                    problems: said.problems.clone(),
                    since: said.since,
                }
            },
        ));
        *self.board.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// Where the last valid version of a pipeline lies.
    pub(super) fn path_of(&self, name: &str) -> Option<&Path> {
        Some(&self.valid.get(name)?.path)
    }

    /// A pipeline's definition and plan, of its file as it is now.
    pub(super) fn plan(
        &self,
        path: &Path,
        request: &PlanRequest,
    ) -> Result<(Definition, Plan), Problems> {
        let (definition, plan, _) = load::load_and_plan(path, &self.kinds, request)?;
        Ok((definition, plan))
    }

    /// What a run is planned with that nobody has asked anything special of.
    pub(super) fn request(&self, now: Timestamp, interval: Option<Interval>) -> PlanRequest {
        PlanRequest { profile: self.profile.clone(), interval, ..PlanRequest::new(now) }
    }

    /// The pipelines that have a schedule, by name.
    pub(super) fn scheduled(&self) -> impl Iterator<Item = (&String, &Scheduled)> {
        self.valid
            .iter()
            .filter_map(|(name, pipeline)| Some((name, &pipeline.scheduled.as_ref()?.0)))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Scheduled> {
        Some(&self.valid.get(name)?.scheduled.as_ref()?.0)
    }

    /// Reads the directory again. A file that is not valid keeps its last valid version, one that
    /// is gone keeps none.
    /// `false`: the directory can't be read, and is to be tried again.
    pub(super) fn reload(&mut self, now: Timestamp) -> bool {
        let files = match arguments::pipelines_in(&self.dir) {
            Ok(files) => files,
            Err(error) => {
                if !std::mem::replace(&mut self.is_lost, true) {
                    tracing::error!("{error:#}; the pipelines stay as they were");
                }
                return false;
            }
        };
        self.is_lost = false;
        // First: what changes while files are read is not to be missed. All of them again each time:
        // one of the same name may be another directory by now.
        self.watch(&self.own_directories());
        let before = std::mem::take(&mut self.valid);
        self.said.retain(|path, _| files.contains(path));
        let mut before: BTreeMap<PathBuf, Pipeline> =
            before.into_values().map(|old| (old.path.clone(), old)).collect();
        let loaded = self.load_files(&files, &self.request(now, None));
        let mut all: Vec<(PathBuf, Option<Pipeline>, Result<Pipeline, String>)> = files
            .into_iter()
            .zip(loaded)
            .map(|(path, loaded)| {
                let old = before.remove(&path);
                (path, old, loaded)
            })
            .collect();
        // A name stays with the file that has it: those that keep theirs come first.
        all.sort_by_key(|(_, old, loaded)| {
            let keeps = |old: &Pipeline| loaded.as_ref().map_or(true, |new| new.name == old.name);
            !old.as_ref().is_some_and(keeps)
        });
        for (path, old, loaded) in all {
            let old = old.filter(|old| !self.valid.contains_key(&old.name));
            let (found, problems) = match loaded.and_then(|new| self.unless_taken(new)) {
                Ok(new) => (Some(new), None),
                Err(problems) => (old, Some(problems)),
            };
            self.say(&path, found.as_ref(), problems, now);
            if let Some(found) = found {
                self.valid.insert(found.name.clone(), found);
            }
        }
        self.watch(&self.directories());
        self.post();
        true
    }

    /// The definition and the request of a run that is due: of the file as it is now, or as it was
    /// when it was last valid.
    pub(super) fn prepare(
        &mut self,
        name: &str,
        interval: Interval,
        now: Timestamp,
    ) -> Option<(&Definition, PlanRequest)> {
        let path = self.valid.get(name)?.path.clone();
        // If there are problems, the reload that the change leads to says so.
        if let Ok(new) = self.load_file(&path, &self.request(now, Some(interval)))
            && new.name == name
            && new.scheduled.is_some()
        {
            self.valid.insert(name.to_owned(), new);
        }
        let (_, definition) = self.valid.get(name)?.scheduled.as_ref()?;
        Some((definition, self.request(now, Some(interval))))
    }

    fn load_file(&self, path: &Path, request: &PlanRequest) -> Result<Pipeline, String> {
        let planned = load::load_and_plan(path, &self.kinds, request);
        let planned = planned.map(|(definition, plan, _)| (definition, plan));
        // A schedule gives no values to params: each must have a default. Else a run may give them.
        let found = planned.or_else(|problems| match load::inspect(path, &self.kinds, request) {
            Ok((definition, plan)) if plan.schedule.is_none() => Ok((definition, plan)),
            _ => Err(problems),
        });
        let (definition, plan) = found.map_err(|problems| problems.render(false))?;
        let scheduled = Scheduled::of(&plan).map(|when| (when, definition.without_tree()));
        let (name, description) = (plan.pipeline, plan.description);
        Ok(Pipeline { path: path.to_owned(), name, description, scheduled })
    }

    /// The same for many files, in their order, by all processors.
    fn load_files(
        &self,
        paths: &[PathBuf],
        request: &PlanRequest,
    ) -> Vec<Result<Pipeline, String>> {
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        let next = AtomicUsize::new(0);
        let load = || -> Vec<_> {
            let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            let paths = numbers.map_while(|number| Some((number, paths.get(number)?)));
            paths.map(|(number, path)| (number, self.load_file(path, request))).collect()
        };
        let mut loaded: Vec<_> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(load)).collect();
            let mine = load();
            let theirs = others.into_iter().map(|other| other.join());
            theirs
                .flat_map(|part| part.unwrap_or_else(|panic| resume_unwind(panic)))
                .chain(mine)
                .collect()
        });
        loaded.sort_by_key(|(number, _)| *number);
        loaded.into_iter().map(|(_, loaded)| loaded).collect()
    }

    /// A name stays with the file that has it.
    fn unless_taken(&self, pipeline: Pipeline) -> Result<Pipeline, String> {
        let Pipeline { name, path, .. } = &pipeline;
        match self.valid.get(name).filter(|other| other.path != *path) {
            None => Ok(pipeline),
            Some(other) => Err(format!(
                "`{name}` is also the name of the pipeline in `{}`; rename one\n",
                other.path.display()
            )),
        }
    }

    fn say(
        &mut self,
        path: &Path,
        version: Option<&Pipeline>,
        problems: Option<String>,
        now: Timestamp,
    ) {
        let text = match (&problems, version) {
            (None, version) => version.map_or_else(String::new, Pipeline::words),
            (Some(problems), None) => problems.clone(),
            (Some(problems), Some(_)) => format!("{problems}its last valid version goes on\n"),
        };
        if self.said.get(path).is_some_and(|before| before.text == text) {
            return;
        }
        let said = Said { text: text.clone(), problems: problems.clone(), since: now };
        self.said.insert(path.to_owned(), said);
        let path = path.display();
        match problems {
            None => tracing::info!("`{path}`: {text}"),
            Some(_) => tracing::error!("`{path}` has problems\n{text}"),
        }
    }

    /// Where the pipelines lie, and their project file.
    fn own_directories(&self) -> BTreeSet<PathBuf> {
        std::iter::once(self.dir.clone()).chain(pipeline::project_dir(&self.dir)).collect()
    }

    /// Where the files lie that the pipelines refer to.
    fn directories(&self) -> BTreeSet<PathBuf> {
        let definitions = self.valid.values().filter_map(|pipeline| pipeline.scheduled.as_ref());
        let files = definitions.flat_map(|(_, definition)| {
            definition.files.keys().map(|path| PathBuf::from(definition.shown_path(path)))
        });
        files.filter_map(|file| file.parent().map(Path::to_owned)).collect()
    }

    fn watch(&self, directories: &BTreeSet<PathBuf>) {
        let Some(watcher) = &self.watcher else { return };
        for directory in directories {
            // An empty path stands for the current directory.
            if let Err(error) = watcher.watch(&Path::new(".").join(directory)) {
                tracing::warn!("cannot watch `{}`: {error}", directory.display());
            }
        }
    }
}

impl Pipeline {
    fn words(&self) -> String {
        match &self.scheduled {
            Some((scheduled, _)) => format!("{} {}", self.name, scheduled.timetable().words()),
            None => format!("{} has no schedule", self.name),
        }
    }
}
