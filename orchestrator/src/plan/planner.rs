//! From a pipeline to its plan, step by step, with all problems on the way.

use super::expressions::{Scope, inside};
use super::tasks::Draft;
use super::{Interval, Leeway, Plan, PlanRequest, datasets, edges, order, params, select, tasks};
use crate::dataset::DatasetName;
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::{Columns, Kinds, Known, Part, Problem};
use crate::load::Definition;
use crate::project::EMBEDDED;
use crate::schedule::{self, Timetable};
use crate::schema::{did_you_mean, instead_of, nearest};
use crate::spec::{CatchUp, RetrySpec, Spec};
use crate::yaml::{Entry, Span};
use jiff::tz::TimeZone;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// What the steps share.
pub(super) struct Planner<'a> {
    pub(super) definition: &'a Definition,
    pub(super) spec: &'a Spec,
    pub(super) kinds: &'a Kinds,
    pub(super) request: &'a PlanRequest,
    pub(super) leeway: &'a Leeway,
    pub(super) problems: Vec<Diagnostic>,
}

/// The plan, if there is one in spite of the problems, and the problems.
pub(super) fn plan(
    definition: &Definition,
    spec: &Spec,
    kinds: &Kinds,
    request: &PlanRequest,
    leeway: &Leeway,
) -> (Option<Plan>, Vec<Diagnostic>) {
    let problems = spec.problems.clone();
    let mut planner = Planner { definition, spec, kinds, request, leeway, problems };
    let profile = planner.profile();
    let zone = match request.local_days {
        true => schedule::zone(spec.pipeline.schedule.as_ref()),
        false => TimeZone::UTC,
    };
    let interval = planner.interval(&zone);
    let timetable = planner.timetable();
    planner.defaults();
    let params = params::resolve(&mut planner);
    let mut scope = Scope::new(&planner, &params, &interval, &zone);
    let datasets = datasets::resolve(&mut planner, &mut scope);
    let drafts = tasks::draft(&mut planner, &mut scope, &datasets);
    let edges = edges::infer(&mut planner, &drafts);
    let order = order::sort(&mut planner, drafts.len(), &edges);
    planner.ask_kinds(&drafts, order.as_deref());
    if !planner.problems.iter().any(Diagnostic::is_error) {
        // With errors, what seems unused may be what a misspelt name meant.
        planner.warn_unused(&scope, &drafts);
        planner.warn_misspelt(&drafts);
    }
    let Some(order) = order else { return (None, planner.problems) };
    let pipeline = &spec.pipeline;
    let plan = Plan {
        pipeline: pipeline.name.clone(),
        description: pipeline.description.clone(),
        max_active_runs: pipeline.max_active_runs,
        schedule: pipeline.schedule.clone(),
        timetable,
        profile,
        params: params.values,
        interval,
        local_days: request.local_days,
        tasks: drafts.into_iter().map(|draft| draft.task).collect(),
        edges: edges.into_iter().map(|edge| edge.edge).collect(),
        order,
    };
    let plan = select::select(&mut planner, plan);
    (Some(plan), planner.problems)
}

impl Planner<'_> {
    /// What the run is about.
    fn interval(&mut self, zone: &TimeZone) -> Interval {
        let day = |date| Interval::of_day(date, zone);
        match (self.request.interval, self.request.date.map(day)) {
            (Some(interval), _) | (None, Some(Ok(interval))) => interval,
            (None, Some(Err(error))) => {
                let message = format!("--date: the day has no end: {error}");
                self.problems.push(Diagnostic::error(Code::BadParam, message).in_file(self.file()));
                Interval::day_before(self.request.now, zone)
            }
            (None, None) => Interval::day_before(self.request.now, zone),
        }
    }

    pub(super) fn file(&self) -> &str {
        &self.definition.pipeline.path
    }

    /// An error at a place of the pipeline's file.
    pub(super) fn error(
        &mut self,
        code: Code,
        span: Span,
        path: &[&str],
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let problem = Diagnostic::error(code, message)
            .at(self.file(), span)
            .path(path.join("."))
            .maybe_help(help);
        self.problems.push(problem);
    }

    /// The tasks' entries in the file, in the order of the pipeline's tasks.
    pub(super) fn task_entries(&self) -> &[Entry] {
        self.spec.entries("tasks")
    }

    /// What to write instead of an unknown word. Looking through everything known takes time, so after
    /// many problems there are no more suggestions.
    pub(super) fn suggest<'k>(
        &self,
        word: &str,
        known: impl IntoIterator<Item = &'k str, IntoIter: Clone>,
    ) -> Option<String> {
        (self.problems.len() < 200).then(|| instead_of(word, known))
    }

    fn profile(&mut self) -> String {
        let asked = self.request.profile.as_ref();
        let profile = asked.unwrap_or(&self.definition.default_profile);
        if profile != EMBEDDED && !self.definition.profiles.contains_key(profile) {
            let known = self.definition.profiles.keys().map(String::as_str);
            let problem =
                Diagnostic::error(Code::UnknownProfile, format!("there is no profile `{profile}`"));
            let project = self.definition.project.as_ref();
            let file = project.map_or("", |project| project.path.as_str());
            self.problems.push(problem.in_file(file).help(instead_of(profile, known)));
        }
        profile.clone()
    }

    /// What of the `defaults` can't be.
    fn defaults(&mut self) {
        let retry = &self.spec.pipeline.defaults.retry;
        if let Some((key, message)) = tasks::short_pause(retry, &RetrySpec::default()) {
            let path = ["defaults", "retry", key];
            let span = self.spec.tree.place(&path);
            self.error(Code::OutOfRange, span, &path, message, None);
        }
        if self.spec.pipeline.defaults.timeout.is_some_and(|timeout| timeout.0.is_zero()) {
            let path = ["defaults", "timeout"];
            let span = self.spec.tree.place(&path);
            let help = Some("leave it out for no limit".to_owned());
            self.error(Code::OutOfRange, span, &path, tasks::NO_TIME, help);
        }
    }

    fn timetable(&mut self) -> Option<Timetable> {
        let schedule = self.spec.pipeline.schedule.as_ref()?;
        if self.spec.tree.entry("schedule").is_none() || self.spec.has_problem_in("schedule") {
            return None;
        }
        let (key, message) = match (&schedule.cron, &schedule.every) {
            (Some(_), Some(_)) => ("every", "`cron` and `every` exclude each other"),
            (None, None) => ("", "a schedule needs `cron` or `every`"),
            (None, Some(_)) if schedule.timezone.is_some() => {
                ("timezone", "`timezone` only serves `cron`")
            }
            _ if schedule.window.is_some() && schedule.catch_up == CatchUp::None => {
                ("window", "`window` only serves `catch_up: latest` and `catch_up: all`")
            }
            _ => match Timetable::new(schedule) {
                Ok(timetable) => return Some(timetable),
                Err(fault) => {
                    let path = ["schedule", fault.key];
                    let span = self.spec.tree.place(&path);
                    self.error(Code::BadSchedule, span, &path, fault.message, Some(fault.help));
                    return None;
                }
            },
        };
        let path = if key.is_empty() { vec!["schedule"] } else { vec!["schedule", key] };
        let span = self.spec.tree.place(&path);
        let help = Some("for example {cron: 30 2 * * *} or {every: 15m}".to_owned());
        self.error(Code::BadSchedule, span, &path, message, help);
        None
    }

    fn warn_unused(&mut self, scope: &Scope<'_>, drafts: &[Draft]) {
        for entry in self.spec.entries("params") {
            if scope.is_used(&entry.key) {
                continue;
            }
            let message = format!("no expression uses the param `{}`", entry.key);
            let problem = Diagnostic::warning(Code::UnusedParam, message)
                .at(self.file(), entry.key_span)
                .path(format!("params.{}", entry.key))
                .help(format!("use it as ${{{{ params.{} }}}}, or remove it", entry.key));
            self.problems.push(problem);
        }
        let used: HashSet<String> = drafts
            .iter()
            .flat_map(|draft| {
                let outputs = draft.task.outputs.values().map(|output| &output.dataset);
                draft.task.inputs.values().chain(outputs).map(ToString::to_string)
            })
            .collect();
        for entry in self.spec.entries("datasets") {
            if !used.contains(&entry.key) && self.spec.broken.is_empty() {
                let message = format!("no task reads or writes `{}`", entry.key);
                let problem = Diagnostic::warning(Code::UnusedDataset, message)
                    .at(self.file(), entry.key_span)
                    .path(format!("datasets.{}", entry.key))
                    .maybe_help(did_you_mean(&entry.key, used.iter().map(String::as_str)));
                self.problems.push(problem);
            }
        }
    }

    /// Outputs that no task reads where a task reads what no task writes, of a similar name: one of
    /// the two may be misspelt. An output without readers alone is what a pipeline is for.
    fn warn_misspelt(&mut self, drafts: &[Draft]) {
        // Each is compared with each; a pipeline beyond that was not typed by hand.
        const MOST: usize = 1000;
        if drafts.len() > MOST {
            return;
        }
        let inputs = || drafts.iter().flat_map(|draft| draft.task.inputs.values());
        let outputs = || drafts.iter().flat_map(|draft| draft.task.outputs.values());
        let without_writer = |input: &&DatasetName| {
            let mut written = outputs().map(|output| &output.dataset);
            !written.any(|output| output == *input || output.overlaps(input))
        };
        let orphans: Vec<&DatasetName> = inputs().filter(without_writer).collect();
        if orphans.is_empty() {
            return;
        }
        let read: HashSet<&DatasetName> = inputs().collect();
        let mut found = Vec::new();
        for (draft, entry) in drafts.iter().zip(self.task_entries()) {
            for (name, output) in &draft.task.outputs {
                let dataset = &output.dataset;
                if read.contains(dataset) || inputs().any(|input| input.overlaps(dataset)) {
                    continue;
                }
                let alike = |other: &&&DatasetName| {
                    let words = |name: &DatasetName| name.name().replace(char::is_numeric, "");
                    other.scheme() == dataset.scheme() && words(other) != words(dataset)
                };
                let names = orphans.iter().filter(alike).map(|orphan| orphan.name());
                let Some(near) = nearest(dataset.name(), names) else { continue };
                let message = format!("no task reads `{dataset}`");
                let help = format!(
                    "a task reads `{}:{near}`, which none writes: is one of the two misspelt?",
                    dataset.scheme()
                );
                let problem = Diagnostic::warning(Code::UnusedOutput, message)
                    .at(self.file(), entry.node.place(&["outputs", name]))
                    .path(format!("tasks.{}.outputs.{name}", entry.key))
                    .help(help);
                found.push(problem);
            }
        }
        self.problems.extend(found);
    }

    /// Lets the kinds check their tasks, where nothing else is wrong with them.
    /// From task to task goes what is known of the columns of the datasets between them.
    fn ask_kinds(&mut self, drafts: &[Draft], order: Option<&[usize]>) {
        let files = &self.definition.files;
        let mut columns: HashMap<&DatasetName, Columns> = HashMap::new();
        let any_order: Vec<usize> = (0..drafts.len()).collect();
        for &index in order.unwrap_or(&any_order) {
            let draft = &drafts[index];
            if draft.damaged || self.leeway.incomplete.contains(&draft.task.name) {
                continue;
            }
            let Some(kind) = self.kinds.get(&draft.task.kind) else { continue };
            let inputs = draft.task.inputs.iter();
            let known: Known = inputs
                .filter_map(|(name, dataset)| Some((name.clone(), columns.get(dataset)?.clone())))
                .collect();
            for problem in kind.check(&draft.task, files, &known) {
                self.kind_problem(index, problem);
            }
            // What may be left out does not say what its readers find.
            let all_run = self.request.only.is_empty() && self.request.from.is_empty();
            if !all_run || draft.task.skip.is_some() || draft.task.when.is_some() {
                continue;
            }
            let mut outputs = kind.columns(&draft.task, files, &known);
            let named = draft.task.outputs.iter();
            columns.extend(
                named.filter_map(|(name, output)| Some((&output.dataset, outputs.remove(name)?))),
            );
        }
    }

    fn kind_problem(&mut self, index: usize, problem: Problem) {
        let entry = &self.task_entries()[index];
        let span = match problem.path.is_empty() {
            true => entry.key_span,
            false => entry.node.place(&problem.path),
        };
        let span = if span == entry.node.span { entry.key_span } else { span };
        let mut own: Range<usize> = span.into();
        let option = entry.node.at(&problem.path);
        if let (Some(Part::Text(range)), Some(option)) = (&problem.part, option)
            && let Some(text) = option.as_text()
        {
            let part = inside(&self.definition.pipeline.text, option.span, text, range.clone());
            let is_whole = part == Range::from(option.span);
            own = if is_whole { own } else { part };
        }
        let mut path = vec!["tasks".to_owned(), entry.key.clone()];
        path.extend(problem.path);
        let diagnostic = Diagnostic::error(Code::BadOption, problem.message)
            .path(path.join("."))
            .maybe_help(problem.help);
        let diagnostic = match problem.part {
            Some(Part::File(place)) => diagnostic
                .at(self.definition.shown_path(&place.path), place.range)
                .related(self.file(), own, format!("used by `{}`", entry.key)),
            _ => diagnostic.at(self.file(), own),
        };
        self.problems.push(diagnostic);
    }
}
