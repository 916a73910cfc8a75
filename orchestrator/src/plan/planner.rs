//! From a pipeline to its plan, step by step, with all problems on the way.

use super::expressions::Scope;
use super::tasks::Draft;
use super::{Interval, Leeway, Plan, PlanRequest, datasets, edges, order, params, select, tasks};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::{Kinds, Problem};
use crate::load::Definition;
use crate::project::EMBEDDED;
use crate::schedule::{self, Timetable};
use crate::schema::did_you_mean;
use crate::spec::{CatchUp, Spec};
use crate::yaml::{Entry, Span};
use jiff::tz::TimeZone;
use std::collections::HashSet;

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
    planner.default_timeout();
    let params = params::resolve(&mut planner);
    let mut scope = Scope::new(&planner, &params, &interval, &zone);
    let datasets = datasets::resolve(&mut planner, &mut scope);
    let drafts = tasks::draft(&mut planner, &mut scope, &datasets);
    let edges = edges::infer(&mut planner, &drafts);
    let order = order::sort(&mut planner, drafts.len(), &edges);
    planner.ask_kinds(&drafts);
    if !planner.problems.iter().any(Diagnostic::is_error) {
        // With errors, what seems unused may be what a misspelt name meant.
        planner.warn_unused(&scope, &drafts);
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

    /// What a misspelt word may have meant. Looking through everything known takes time, so after
    /// many problems there are no more suggestions.
    pub(super) fn suggest<'k>(
        &self,
        word: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<String> {
        (self.problems.len() < 200).then(|| did_you_mean(word, known)).flatten()
    }

    fn profile(&mut self) -> String {
        let asked = self.request.profile.as_ref();
        let profile = asked.unwrap_or(&self.definition.default_profile);
        if profile != EMBEDDED && !self.definition.profiles.contains_key(profile) {
            let known = self.definition.profiles.keys().map(String::as_str);
            let problem =
                Diagnostic::error(Code::UnknownProfile, format!("there is no profile `{profile}`"));
            let all: Vec<&str> = known.clone().collect();
            let help = did_you_mean(profile, known)
                .unwrap_or_else(|| format!("there are `{}`", all.join("`, `")));
            let project = self.definition.project.as_ref();
            let file = project.map_or("", |project| project.path.as_str());
            self.problems.push(problem.in_file(file).help(help));
        }
        profile.clone()
    }

    fn default_timeout(&mut self) {
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
        let message = match (&schedule.cron, &schedule.every) {
            (Some(_), Some(_)) => "`cron` and `every` exclude each other",
            (None, None) => "a schedule needs `cron` or `every`",
            (None, Some(_)) if schedule.timezone.is_some() => "`timezone` only serves `cron`",
            _ if schedule.window.is_some() && schedule.catch_up == CatchUp::None => {
                "`window` only serves `catch_up: latest` and `catch_up: all`"
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
        let span = self.spec.tree.place(&["schedule"]);
        let help = Some("for example {cron: 30 2 * * *} or {every: 15m}".to_owned());
        self.error(Code::BadSchedule, span, &["schedule"], message, help);
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

    /// Lets the kinds check their tasks, where nothing else is wrong with them.
    fn ask_kinds(&mut self, drafts: &[Draft]) {
        for (index, draft) in drafts.iter().enumerate() {
            if draft.damaged || self.leeway.incomplete.contains(&draft.task.name) {
                continue;
            }
            let Some(kind) = self.kinds.get(&draft.task.kind) else { continue };
            for problem in kind.check(&draft.task, &self.definition.files) {
                self.kind_problem(index, problem);
            }
        }
    }

    fn kind_problem(&mut self, index: usize, problem: Problem) {
        let entry = &self.task_entries()[index];
        let span = match problem.path.is_empty() {
            true => entry.key_span,
            false => entry.node.place(&problem.path),
        };
        let span = if span == entry.node.span { entry.key_span } else { span };
        let mut path = vec!["tasks".to_owned(), entry.key.clone()];
        path.extend(problem.path);
        let diagnostic = Diagnostic::error(Code::BadOption, problem.message)
            .path(path.join("."))
            .maybe_help(problem.help);
        let diagnostic = match problem.in_file {
            Some(place) => diagnostic
                .at(self.definition.shown_path(&place.path), place.range)
                .related(self.file(), span, format!("used by `{}`", entry.key)),
            None => diagnostic.at(self.file(), span),
        };
        self.problems.push(diagnostic);
    }
}
