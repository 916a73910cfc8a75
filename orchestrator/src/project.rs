//! The project file `tidemill.yaml`: profiles and the data directory.

mod secret;

use crate::diagnostic::{Code, Diagnostic, Problems, Sources};
use crate::load::{SourceText, read_text};
use crate::schema::{Schema, Whole};
use crate::yaml;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What the project file is called.
pub const PROJECT_FILE: &str = "tidemill.yaml";

/// The profile that every project has, and the default: it needs no server.
pub const EMBEDDED: &str = "embedded";

/// A project: where its pipelines run and what profiles they know.
#[derive(Clone, Debug)]
pub struct Project {
    /// Absolute: the directory of the project file or, without one, the directory asked about.
    pub dir: PathBuf,
    /// Absolute: where runs and data are kept, unless the user says otherwise.
    pub data_dir: PathBuf,
    /// The profile of runs that name none.
    pub default_profile: String,
    /// Settings by profile; `embedded` is always among them.
    pub profiles: IndexMap<String, Map<String, Value>>,
    pub file: Option<SourceText>,
}

/// The keys of `tidemill.yaml`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectFile {
    /// Where runs and data are kept; `tidemill-data` beside this file where left out.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub data_dir: Option<String>,
    /// The profile of runs that name none; `embedded` where left out.
    #[serde(default)]
    pub profile: Option<String>,
    /// How the places of datasets are reached, by the profile's name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "name"}))]
    pub profiles: IndexMap<String, Map<String, Value>>,
}

/// What of the profiles' settings does not fit their schema, each problem with its profile.
pub(crate) fn check_profiles(file: &SourceText, schema: &Schema) -> Vec<(String, Diagnostic)> {
    let Ok((tree, _)) = yaml::parse(&file.path, &file.text) else { return Vec::new() };
    let profiles = tree.get("profiles").and_then(yaml::Node::as_map).unwrap_or_default();
    let check = |profile: &yaml::Entry| {
        let name = format!("the profile `{}`", profile.key);
        let whole = Whole { name: &name, key: "setting" };
        let path = ["profiles", profile.key.as_str()];
        let found = schema.check(&file.path, &profile.node, &path, &whole).diagnostics;
        let name = profile.key.clone();
        found.into_iter().map(move |problem| (name.clone(), problem))
    };
    profiles.iter().flat_map(check).collect()
}

/// The project that a file or directory belongs to: that of the nearest `tidemill.yaml` in it or
/// above.
pub fn find_project(start: &Path) -> Result<Project, Problems> {
    let absolute = std::path::absolute(start).unwrap_or_else(|_| start.to_owned());
    let dir = match absolute.is_file() {
        true => absolute.parent().unwrap_or(&absolute).to_owned(),
        false => absolute,
    };
    match dir.ancestors().find(|dir| dir.join(PROJECT_FILE).is_file()) {
        Some(found) => open(found, &shown(found)),
        None => {
            let here = std::env::current_dir().unwrap_or_else(|_| dir.clone());
            Ok(Project {
                dir,
                data_dir: here.join("tidemill-data"),
                default_profile: EMBEDDED.to_owned(),
                profiles: IndexMap::from([(EMBEDDED.to_owned(), Map::new())]),
                file: None,
            })
        }
    }
}

/// The project file's path as a person in the current directory would write it.
fn shown(dir: &Path) -> String {
    let path = dir.join(PROJECT_FILE);
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}

fn open(dir: &Path, file: &str) -> Result<Project, Problems> {
    let text = read_text(&dir.join(PROJECT_FILE), file)?;
    let problems = |diagnostics| Problems {
        diagnostics,
        sources: Sources::from([(file.to_owned(), secret::masked(&text))]),
    };
    let parsed = parse(file, &text).map_err(problems)?;
    let mut profiles = parsed.profiles;
    if !profiles.contains_key(EMBEDDED) {
        profiles.shift_insert(0, EMBEDDED.to_owned(), Map::new());
    }
    Ok(Project {
        dir: dir.to_owned(),
        data_dir: dir.join(parsed.data_dir.as_deref().unwrap_or("tidemill-data")),
        default_profile: parsed.profile.unwrap_or_else(|| EMBEDDED.to_owned()),
        profiles,
        file: Some(SourceText { path: file.to_owned(), text: text.clone() }),
    })
}

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::new(&schemars::schema_for!(ProjectFile)));

const WHOLE: Whole<'static> = Whole { name: "the project file", key: "key" };

/// Reads the text of a project file.
pub fn parse(file: &str, text: &str) -> Result<ProjectFile, Vec<Diagnostic>> {
    let (tree, mut problems) = yaml::parse(file, text).map_err(|problem| vec![*problem])?;
    // An empty file marks the project's directory and says nothing more.
    if tree.tree == yaml::Tree::Null {
        return Ok(ProjectFile::default());
    }
    problems.extend(SCHEMA.check(file, &tree, &[], &WHOLE).diagnostics);
    problems.extend(secret::check(file, &tree));
    if !problems.is_empty() {
        return Err(problems);
    }
    let project: ProjectFile = tree.decode().map_err(|(path, message)| {
        let at = tree.place(&path);
        vec![Diagnostic::error(Code::WrongType, message).at(file, at).path(path.join("."))]
    })?;
    if let Some(profile) = &project.profile
        && profile != EMBEDDED
        && !project.profiles.contains_key(profile)
    {
        let known = project.profiles.keys().map(String::as_str).chain([EMBEDDED]);
        let problem =
            Diagnostic::error(Code::UnknownProfile, format!("there is no profile `{profile}`"))
                .at(file, tree.place(&["profile"]))
                .path("profile")
                .maybe_help(crate::schema::did_you_mean(profile, known));
        return Err(vec![problem]);
    }
    Ok(project)
}
