//! Reading files: the YAML of a pipeline and all that it refers to become one [`Definition`].
//!
//! No later stage reads a file. The definition is stored with each run, so an edit on disk changes
//! the next run, never one that is resumed.

use crate::diagnostic::{self, Code, Diagnostic, Problems, Severity, Sources};
use crate::kind::{Files, Kinds};
use crate::plan::{self, Leeway, Plan, PlanRequest};
use crate::project::{PROJECT_FILE, Project, check_profiles, find_project};
use crate::schema::nearest;
use crate::spec::{self, Param};
use crate::template::{self, Names, Part};
use crate::yaml::{self, Node, Span, Tree};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The version of the stored JSON that this program writes.
const VERSION: u32 = 1;

/// A pipeline with all that it refers to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Definition {
    version: u32,
    pub pipeline: SourceText,
    pub project: Option<SourceText>,
    /// Absolute: where commands run.
    pub project_dir: PathBuf,
    pub default_profile: String,
    pub profiles: IndexMap<String, Map<String, Value>>,
    /// Texts of the files that the tasks refer to, by their path as written there.
    pub files: Files,
    /// The environment variables that expressions name, where they are set.
    pub env: BTreeMap<String, String>,
    /// The pipeline's tree, so that it need not be parsed again after loading.
    #[serde(skip)]
    tree: OnceLock<Arc<Node>>,
}

/// A file's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceText {
    /// As the user named it, for messages.
    pub path: String,
    pub text: String,
}

impl Definition {
    /// A hexadecimal SHA-256 of all that a run's meaning depends on: the texts and the environment
    /// variables, not where they lie.
    pub fn digest(&self) -> String {
        let mut files: Vec<(&String, &String)> = self.files.iter().collect();
        files.sort();
        let project = self.project.as_ref().map(|project| &project.text);
        let parts = (self.version, &self.pipeline.text, project, files, &self.env);
        let json = serde_json::to_vec(&parts).expect("texts can always be written as JSON");
        Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The texts that diagnostics of this definition point into.
    pub fn sources(&self) -> Sources {
        let files = self.files.iter().map(|(path, text)| (self.shown_path(path), text.clone()));
        let own = [Some(&self.pipeline), self.project.as_ref()].into_iter().flatten();
        own.map(|source| (source.path.clone(), source.text.clone())).chain(files).collect()
    }

    /// The path of a referred file as seen from where the user named the pipeline.
    pub fn shown_path(&self, path: &str) -> String {
        let dir = Path::new(&self.pipeline.path).parent().unwrap_or(Path::new(""));
        dir.join(path).display().to_string()
    }

    /// The line of the pipeline's file that holds the value at a path of keys, from 1.
    pub fn line_of(&self, path: &[&str]) -> Option<usize> {
        let tree = self.tree().ok()?;
        let (last, parents) = path.split_last()?;
        let parent = parents.iter().try_fold(&*tree, |node, key| node.get(key))?;
        let start = parent.entry(last)?.key_span.start;
        Some(diagnostic::line_and_column(&self.pipeline.text, start as usize).0)
    }

    /// The params of the pipeline, by name.
    pub fn params(&self) -> IndexMap<String, Param> {
        let read = self.tree().ok().and_then(|tree| spec::read(&self.pipeline.path, &tree).ok());
        read.map(|spec| spec.pipeline.params.clone()).unwrap_or_default()
    }

    /// The same without its tree, which is made again where it is needed: for who keeps many.
    #[must_use]
    pub fn without_tree(self) -> Definition {
        Definition { tree: OnceLock::new(), ..self }
    }

    /// The pipeline's tree. A definition is only made of a text that parses, so an error means
    /// that a stored one was damaged.
    pub(crate) fn tree(&self) -> Result<Arc<Node>, Box<Diagnostic>> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree.clone());
        }
        let (tree, _) = yaml::parse(&self.pipeline.path, &self.pipeline.text)?;
        Ok(self.tree.get_or_init(|| Arc::new(tree)).clone())
    }
}

/// Reads a pipeline, its project file and all that its tasks refer to.
pub fn load(path: &Path, kinds: &Kinds) -> Result<Definition, Problems> {
    let mut loaded = read(path, kinds)?;
    loaded.of_profiles(None);
    if loaded.problems.is_empty() {
        return Ok(loaded.definition);
    }
    Err(problems(loaded.problems, &loaded.definition))
}

/// Loads a pipeline and plans it, and reports the problems of both together. Beside the plan come
/// its warnings.
pub fn load_and_plan(
    path: &Path,
    kinds: &Kinds,
    request: &PlanRequest,
) -> Result<(Definition, Plan, Vec<Diagnostic>), Problems> {
    plan_loaded(read(path, kinds)?, kinds, request, false)
}

/// Everything that is wrong with a pipeline, without a run in mind: params may have no value.
/// Gives the plan as far as it is known, and the warnings with the texts that they point into.
pub fn validate(path: &Path, kinds: &Kinds, now: Timestamp) -> Result<(Plan, Problems), Problems> {
    let (definition, plan, diagnostics) = without_run(path, kinds, &PlanRequest::new(now))?;
    Ok((plan, Problems { diagnostics, sources: definition.sources() }))
}

/// As [`validate`], for who wants to look at the pipeline.
pub fn inspect(
    path: &Path,
    kinds: &Kinds,
    request: &PlanRequest,
) -> Result<(Definition, Plan), Problems> {
    let (definition, plan, _) = without_run(path, kinds, request)?;
    Ok((definition, plan))
}

fn without_run(
    path: &Path,
    kinds: &Kinds,
    request: &PlanRequest,
) -> Result<(Definition, Plan, Vec<Diagnostic>), Problems> {
    plan_loaded(read(path, kinds)?, kinds, request, true)
}

fn plan_loaded(
    mut loaded: Loaded,
    kinds: &Kinds,
    request: &PlanRequest,
    without_params: bool,
) -> Result<(Definition, Plan, Vec<Diagnostic>), Problems> {
    let of_profiles = loaded.of_profiles(request.profile.as_ref());
    let Loaded { definition, problems: found, incomplete, .. } = loaded;
    let leeway = Leeway { incomplete, params: without_params };
    match plan::plan_with(&definition, kinds, request, &leeway) {
        Ok((plan, mut warnings)) if found.is_empty() => {
            warnings.extend(of_profiles);
            Ok((definition, plan, warnings))
        }
        // What could not be read may be what gives the warnings their reason.
        Ok(_) => Err(problems(found, &definition)),
        Err(more) => Err(problems(found.into_iter().chain(more).collect(), &definition)),
    }
}

/// A definition of texts in memory, such as the example of a kind. Nothing is read: a file that it
/// refers to must be among `files`.
pub fn from_text(
    path: &str,
    text: &str,
    files: Files,
    kinds: &Kinds,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Definition, Problems> {
    let source = SourceText { path: path.to_owned(), text: text.to_owned() };
    let project = Project {
        dir: PathBuf::new(),
        data_dir: PathBuf::new(),
        default_profile: crate::project::EMBEDDED.to_owned(),
        profiles: IndexMap::from([(crate::project::EMBEDDED.to_owned(), Map::new())]),
        file: None,
    };
    let mut find = |path: &str| match files.get(path) {
        Some(text) => Ok(text.clone()),
        None => {
            let message = format!("there is no file `{path}`");
            Err(Box::new(Diagnostic::error(Code::FileNotFound, message)))
        }
    };
    let loaded = assemble(source, project, kinds, &mut find, env)?;
    if loaded.problems.is_empty() {
        return Ok(loaded.definition);
    }
    Err(problems(loaded.problems, &loaded.definition))
}

fn problems(mut diagnostics: Vec<Diagnostic>, definition: &Definition) -> Problems {
    diagnostic::sort(&mut diagnostics);
    Problems { diagnostics, sources: definition.sources() }
}

/// A file's text, or why there is none.
type Found = Result<String, Box<Diagnostic>>;

/// What to do about a file that is not there.
fn near_file(dir: &Path, name: &str) -> String {
    let wanted = Path::new(name);
    let parent = wanted.parent().unwrap_or(Path::new(""));
    // `.` in front: of a pipeline in the current directory, the directory is an empty path.
    let there: Vec<String> = std::fs::read_dir(Path::new(".").join(dir).join(parent))
        .into_iter()
        .flatten()
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .collect();
    let wanted = wanted.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match nearest(wanted, there.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{}`?", parent.join(near).display()),
        None => "paths start at the directory of the pipeline's file".to_owned(),
    }
}

struct Loaded {
    definition: Definition,
    problems: Vec<Diagnostic>,
    /// Tasks that refer to a file that could not be read.
    incomplete: HashSet<String>,
    /// What is wrong with profiles, each problem with the profile's name.
    profiles: Vec<(String, Diagnostic)>,
}

impl Loaded {
    /// What is wrong with the profile of a run; with others, it is a warning.
    fn of_profiles(&mut self, chosen: Option<&String>) -> Vec<Diagnostic> {
        let chosen = chosen.unwrap_or(&self.definition.default_profile);
        let (own, others): (Vec<_>, Vec<_>) =
            self.profiles.drain(..).partition(|(profile, _)| profile == chosen);
        self.problems.extend(own.into_iter().map(|(_, problem)| problem));
        let warning = |(_, problem)| Diagnostic { severity: Severity::Warning, ..problem };
        others.into_iter().map(warning).collect()
    }
}

fn read(path: &Path, kinds: &Kinds) -> Result<Loaded, Problems> {
    let shown = path.display().to_string();
    if path.file_name().is_some_and(|name| name == PROJECT_FILE) {
        let message = format!("`{shown}` is the project file, not a pipeline");
        let problem = Diagnostic::error(Code::FileUnreadable, message)
            .in_file(shown)
            .help("name a pipeline; the project file is checked with it");
        return Err(Problems { diagnostics: vec![problem], sources: Sources::new() });
    }
    let text = read_filled(path, &shown, "`tidemill init` makes a first pipeline")?;
    let project = find_project(path)?;
    let dir = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut find = |name: &str| {
        let path = dir.join(name);
        let help = "write something in it, or remove its name here";
        read_filled(&path, &path.display().to_string(), help).map_err(|mut problems| {
            let problem = problems.diagnostics.swap_remove(0);
            let is_missing = problem.code == Code::FileNotFound;
            Box::new(if is_missing { problem.help(near_file(&dir, name)) } else { problem })
        })
    };
    let env = |name: &str| std::env::var(name).ok();
    let profiles = project.file.as_ref().zip(kinds.profile());
    let wrong = profiles.map(|(file, schema)| check_profiles(file, schema));
    let mut loaded = assemble(SourceText { path: shown, text }, project, kinds, &mut find, &env)?;
    loaded.profiles = wrong.unwrap_or_default();
    Ok(loaded)
}

fn assemble(
    pipeline: SourceText,
    project: Project,
    kinds: &Kinds,
    find: &mut dyn FnMut(&str) -> Found,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    let (tree, problems) = yaml::parse(&pipeline.path, &pipeline.text).map_err(|problem| {
        let sources = Sources::from([(pipeline.path.clone(), pipeline.text.clone())]);
        Problems { diagnostics: vec![*problem], sources }
    })?;
    let mut references = References {
        file: &pipeline.path,
        find,
        files: IndexMap::new(),
        problems,
        incomplete: HashSet::new(),
    };
    for task in tree.get("tasks").and_then(Node::as_map).unwrap_or_default() {
        let Some(kind) = task.node.get("uses").and_then(Node::as_text) else { continue };
        let (Some(kind), Some(with)) = (kinds.get(kind), task.node.get("with")) else { continue };
        let options = with.to_value();
        kind.refer(&options, &mut |path| references.read(path, &task.key, with));
    }
    let References { files, problems, incomplete, .. } = references;
    let definition = Definition {
        version: VERSION,
        project: project.file,
        project_dir: project.dir,
        default_profile: project.default_profile,
        profiles: project.profiles,
        files: files.into_iter().filter_map(|(path, text)| Some((path, text.ok()?))).collect(),
        env: set_variables(&tree, env),
        tree: OnceLock::from(Arc::new(tree)),
        pipeline,
    };
    Ok(Loaded { definition, problems, incomplete, profiles: Vec::new() })
}

/// Reads what tasks refer to, each file once.
struct References<'a> {
    file: &'a str,
    find: &'a mut dyn FnMut(&str) -> Found,
    files: IndexMap<String, Found>,
    problems: Vec<Diagnostic>,
    incomplete: HashSet<String>,
}

impl References<'_> {
    fn read(&mut self, path: &str, task: &str, with: &Node) -> Option<String> {
        let found = if path.contains("${{") {
            Err(Box::new(Diagnostic::error(
                Code::ExpressionMisplaced,
                "the name of a file is fixed; no expression can stand in it",
            )))
        } else {
            let known = self.files.get(path).cloned();
            known.unwrap_or_else(|| {
                let found = (self.find)(path);
                self.files.insert(path.to_owned(), found.clone());
                found
            })
        };
        match found {
            Ok(text) => Some(text),
            Err(problem) => {
                let mut steps = vec!["tasks".to_owned(), task.to_owned(), "with".to_owned()];
                let span = named_at(with, path, &mut steps).unwrap_or(with.span);
                self.problems.push(problem.at(self.file, span).path(steps.join(".")));
                self.incomplete.insert(task.to_owned());
                None
            }
        }
    }
}

/// Where the options name a path; `steps` is extended to it.
fn named_at(node: &Node, text: &str, steps: &mut Vec<String>) -> Option<Span> {
    let mut below = |step: String, node: &Node| {
        steps.push(step);
        let found = named_at(node, text, steps);
        if found.is_none() {
            steps.pop();
        }
        found
    };
    match &node.tree {
        Tree::Text(own) => (own == text).then_some(node.span),
        Tree::List(items) => {
            items.iter().enumerate().find_map(|(at, item)| below(at.to_string(), item))
        }
        Tree::Map(entries) => {
            entries.iter().find_map(|entry| below(entry.key.clone(), &entry.node))
        }
        _ => None,
    }
}

/// Those of the environment variables that expressions name which are set.
fn set_variables(tree: &Node, env: &dyn Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    variables(tree).into_iter().filter_map(|name| env(&name).map(|value| (name, value))).collect()
}

/// The environment variables that expressions name.
fn variables(tree: &Node) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut collect = |expression: &str| {
        for chain in Names::of(expression).chains {
            if let [root, name, ..] = chain.steps.as_slice()
                && root == "env"
            {
                found.insert(name.clone());
            }
        }
    };
    let mut visit = |text: &str, _: Span| {
        for part in template::split(text).unwrap_or_default() {
            if let Part::Expression { inner, .. } = part {
                collect(&text[inner]);
            }
        }
    };
    for part in ["tasks", "datasets"] {
        for entry in tree.get(part).and_then(Node::as_map).unwrap_or_default() {
            entry.node.each_text(&mut visit);
        }
    }
    for task in tree.get("tasks").and_then(Node::as_map).unwrap_or_default() {
        if let Some(text) = task.node.get("when").and_then(Node::as_text)
            && !text.contains("${{")
        {
            collect(text);
        }
    }
    found
}

/// A file's text, or what is wrong with it. `shown` is its name in messages.
pub(crate) fn read_text(path: &Path, shown: &str) -> Result<String, Problems> {
    let problem = |code, message: String, text: String, at: usize, help: &str| Problems {
        diagnostics: vec![Diagnostic::error(code, message).at(shown, at..at).help(help)],
        sources: Sources::from([(shown.to_owned(), text)]),
    };
    let plain = |code, message, help: Option<&str>| Problems {
        diagnostics: vec![
            Diagnostic::error(code, message).in_file(shown).maybe_help(help.map(str::to_owned)),
        ],
        sources: Sources::new(),
    };
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => {
            plain(Code::FileNotFound, format!("there is no file `{shown}`"), None)
        }
        ErrorKind::PermissionDenied => plain(
            Code::FileUnreadable,
            format!("can't read `{shown}`: {error}"),
            Some("whoever runs tidemill must be allowed to read it"),
        ),
        _ => plain(Code::FileUnreadable, format!("can't read `{shown}`: {error}"), None),
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "no regular file" };
        let help = Some("name a file of text");
        return Err(plain(Code::FileUnreadable, format!("`{shown}` is {what}"), help));
    }
    if metadata.len() > yaml::MAX_BYTES {
        let megabytes = yaml::MAX_BYTES >> 20;
        let message = format!("`{shown}` is larger than {megabytes} MB");
        let help = Some("data belongs into datasets; a long pipeline can be divided into several");
        return Err(plain(Code::FileTooLarge, message, help));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let message = format!("`{shown}` is not UTF-8 text");
        let help = "save it as UTF-8: `iconv -t utf-8`, or the encoding in the editor's status bar";
        problem(Code::NotUtf8, message, text, at, help)
    })?;
    Ok(text)
}

/// [`read_text`] of a file that must not be blank.
fn read_filled(path: &Path, shown: &str, help: &str) -> Result<String, Problems> {
    let text = read_text(path, shown)?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        let problem = Diagnostic::error(Code::FileEmpty, format!("`{shown}` is empty")).help(help);
        let diagnostics = vec![problem.at(shown, 0..0)];
        return Err(Problems { diagnostics, sources: Sources::from([(shown.to_owned(), text)]) });
    }
    Ok(text)
}
