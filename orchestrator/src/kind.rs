//! Kinds of tasks, and the list of them that the rest derives from.

use crate::attempt::{Attempt, Outcome, TaskError};
use crate::dataset::{DatasetName, Scheme};
use crate::plan::PlannedTask;
use crate::schema::Schema;
use async_trait::async_trait;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// One kind of task: what `uses:` names.
///
/// A kind is stateless; it may hold shared resources (an engine, a pool), never a connection that
/// its construction opened.
#[async_trait]
pub trait Kind: Send + Sync + 'static {
    /// The word behind `uses:`.
    fn name(&self) -> &'static str;

    /// What it is for, in one line without a final period.
    fn summary(&self) -> &'static str;

    /// The manual, in Markdown, without the list of options (that comes from the schema).
    fn description(&self) -> &'static str;

    /// A whole pipeline that uses the kind, as YAML. A test plans it.
    fn example(&self) -> &'static str;

    /// The JSON Schema of `with:`, from the Rust type of the options.
    fn options(&self) -> schemars::Schema;

    /// The inputs and outputs that a task of this kind may have.
    fn ports(&self) -> Ports;

    /// Reads the files that the options name, by `read(path)`, which gives the file's text or, if
    /// it can't be read, reports that and gives nothing. Only `load` calls this; everything read
    /// becomes part of the definition. Options are unchecked here, and templates not rendered.
    fn refer(&self, _options: &Value, _read: &mut dyn FnMut(&str) -> Option<String>) {}

    /// What is wrong with a planned task beyond its options' schema. Does no work: no file, no
    /// connection. `files` holds what [`Kind::refer`] read. Options with a template that only the
    /// attempt can render (listed in `task.late`) still hold its text. `known` are the columns of
    /// its inputs.
    fn check(&self, _task: &PlannedTask, _files: &Files, _known: &Known) -> Vec<Problem> {
        Vec::new()
    }

    /// The columns of the outputs, where they can be told before the task runs: of an output that is
    /// added to they can't, since others may be there.
    fn columns(&self, _task: &PlannedTask, _files: &Files, _known: &Known) -> Known {
        Known::new()
    }

    /// Does the work. Returns when it is done, or soon after `attempt.cancel` fires.
    async fn run(&self, attempt: &Attempt) -> Result<Outcome, TaskError>;
}

/// Texts of the files that a pipeline refers to, by their path as written there.
pub type Files = IndexMap<String, String>;

/// The columns of a dataset: their types, in words of the kinds' own, by the columns' names.
pub type Columns = IndexMap<String, String>;

/// The columns of a task's inputs or outputs, by their names, as far as they are known.
pub type Known = HashMap<String, Columns>;

/// What is wrong with a task's options, found by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where below the task: `["with", "rules", "price_is_positive"]`, `["inputs", "rows"]`.
    pub path: Vec<String>,
    /// Where more exactly.
    pub part: Option<Part>,
    /// A lowercase fragment, values in backticks.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Where a problem lies more exactly than at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// In these bytes of the text there.
    Text(std::ops::Range<usize>),
    /// In a file that the option there refers to.
    File(FilePlace),
}

/// A place in a file that a pipeline refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// The path as written in the pipeline (a key of [`Files`]).
    pub path: String,
    /// Byte range in the file's text.
    pub range: std::ops::Range<usize>,
}

impl Problem {
    pub fn new<S: Into<String>>(
        path: impl IntoIterator<Item = S>,
        message: impl Into<String>,
    ) -> Self {
        Problem {
            path: path.into_iter().map(Into::into).collect(),
            part: None,
            message: message.into(),
            help: None,
        }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The inputs and outputs of a kind.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

/// An input or output of a kind: one with a fixed name, or any number with free names.
#[derive(Clone, Debug)]
pub struct Port {
    /// The fixed name, or `None` for any number of freely named ones.
    pub name: Option<&'static str>,
    /// What datasets may stand here.
    pub schemes: &'static [Scheme],
    pub required: bool,
    /// What the dataset is, in one line.
    pub description: &'static str,
    /// How an output is written where the dataset says nothing.
    pub write: Write,
}

impl Port {
    pub const fn named(
        name: &'static str,
        schemes: &'static [Scheme],
        description: &'static str,
    ) -> Self {
        Port { name: Some(name), schemes, required: true, description, write: Write::Overwrite }
    }

    pub const fn any(schemes: &'static [Scheme], description: &'static str) -> Self {
        Port { name: None, schemes, required: false, description, write: Write::Overwrite }
    }

    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    #[must_use]
    pub const fn write(mut self, write: Write) -> Self {
        self.write = write;
        self
    }
}

/// How new rows meet those that a dataset already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// The new rows replace all.
    Overwrite,
    /// The new rows are added.
    Append,
    /// The new rows replace those that match the condition `where` on partition columns.
    ReplaceWhere,
    /// A new row replaces the one with the same `key`.
    Merge,
}

/// The kinds that a pipeline may use: one explicit list, passed in, never global.
#[derive(Clone, Default)]
pub struct Kinds {
    kinds: Vec<Arc<dyn Kind>>,
    profile: Option<Arc<Schema>>,
}

impl Kinds {
    pub fn new(kinds: Vec<Arc<dyn Kind>>) -> Self {
        Kinds { kinds, profile: None }
    }

    /// With the JSON Schema of what a profile may say to them.
    #[must_use]
    pub fn with_profile(self, schema: &schemars::Schema) -> Self {
        Kinds { profile: Some(Arc::new(Schema::new(schema))), ..self }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<dyn Kind>> {
        self.kinds.iter().find(|kind| kind.name() == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Kind>> {
        self.kinds.iter()
    }

    pub(crate) fn profile(&self) -> Option<&Schema> {
        self.profile.as_deref()
    }
}

/// What the outside knows of datasets; implemented by the crate of the task kinds, so that `plan`
/// and `preflight` can ask without knowing any place.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Where a dataset lies, as a path or URL that a person can use.
    fn locate(&self, dataset: &DatasetName) -> String;

    /// Whether the dataset exists, so that a task could read it now.
    async fn exists(&self, dataset: &DatasetName) -> Result<bool, TaskError>;
}
