//! `tidemill init`

use crate::pipeline;
use crate::stdout::{print, print_json};
use crate::{Format, OK};
use anyhow::{Context, Result, bail};
use orchestrator::spec::pipeline_schema;
use serde_json::json;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill init shop                        a directory with a first pipeline
  tidemill init shop --template ecommerce   the main job, whole
  tidemill init . --template nightly        one day's orders each night

Files that are there already stay as they are: if one of them is in the way, nothing is written.")]
pub struct Arguments {
    /// The directory; it is made where it is missing
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What it begins with
    #[arg(long, value_enum, default_value_t = Template::Hello)]
    template: Template,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Template {
    /// Two commands, one hands a value to the other
    Hello,
    /// One day's orders, merged with those of all days before, on a schedule
    Nightly,
    /// A year of orders: stream, tables, key-value table, dashboards
    Ecommerce,
}

/// A file's path, and its text.
type Given = (&'static str, &'static str);

macro_rules! shipped {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../", $path)))),*]
    };
}

const HELLO: &[Given] = shipped!["pipelines/hello.yaml"];
const NIGHTLY: &[Given] = shipped![
    "pipelines/ecommerce_nightly.yaml",
    "pipelines/sql/night.sql",
    "pipelines/dashboards/nightly.yaml",
];
const ECOMMERCE: &[Given] = shipped![
    "pipelines/ecommerce.yaml",
    "pipelines/sql/orders.sql",
    "pipelines/sql/daily_sales.sql",
    "pipelines/sql/category_sales.sql",
    "pipelines/sql/satisfaction.sql",
    "pipelines/sql/prime_sales.sql",
    "pipelines/sql/top_products.sql",
    "pipelines/dashboards/sales.yaml",
];
const PROJECT: &[Given] = shipped!["tidemill.yaml"];

const SCHEMA: &str = ".tidemill.schema.json";
const EDITOR: Given = (
    ".vscode/settings.json",
    "{\n  \"yaml.schemas\": {\n    \".tidemill.schema.json\": \"pipelines/*.yaml\"\n  }\n}\n",
);
const IGNORED: Given = (".gitignore", "/tidemill-data/\n");

impl Template {
    const fn files(self) -> &'static [Given] {
        match self {
            Template::Hello => HELLO,
            Template::Nightly => NIGHTLY,
            Template::Ecommerce => ECOMMERCE,
        }
    }

    /// Its pipeline.
    const fn pipeline(self) -> &'static str {
        self.files()[0].0
    }

    /// What to do next: a command, and what it does.
    fn steps(self) -> Vec<(String, &'static str)> {
        let file = self.pipeline();
        let mut steps = vec![
            (format!("tidemill plan {file}"), "what a run would do"),
            (format!("tidemill run {file}"), "run it"),
        ];
        match self {
            Template::Hello => {
                steps.push((format!("tidemill run {file} --set who=Ada"), "with another value"));
                steps.push(("tidemill logs latest".to_owned(), "what its tasks said"));
            }
            Template::Nightly => {
                let day = format!("tidemill run {file} --date 2026-11-20");
                steps.push((day, "for another day"));
                steps.push(("tidemill schedule".to_owned(), "when it is due"));
            }
            Template::Ecommerce => {
                let more = format!("tidemill run {file} --set rows=1000000");
                steps.push((more, "with more orders"));
                let query = "tidemill query 'select * from daily_sales limit 5'".to_owned();
                steps.push((query, "ask a table that it has made"));
            }
        }
        steps.push(("tidemill serve".to_owned(), "by itself, seen at http://127.0.0.1:5000"));
        steps
    }

    fn readme(self) -> String {
        let mut text = format!(
            "# Pipelines\n\nThe first one is in [{0}]({0}). Change it, and try:\n\n```console\n",
            self.pipeline()
        );
        text.push_str(&listed(&self.steps(), "$ "));
        text.push_str(
            "```\n\n- `tidemill.yaml`: where data is kept, and the servers of profiles\n\
             - `tidemill-data/`: runs, logs, tables and dashboards; not for version control\n\
             - `.tidemill.schema.json`: what editors complete and check pipelines with; \
             `tidemill schema` writes a newer one\n\n\
             `tidemill validate pipelines/` finds every problem before anything runs, and \
             `tidemill kinds` is the manual of what tasks can do.\n",
        );
        text
    }
}

/// Commands with what they do, below each other.
fn listed(steps: &[(String, &str)], prompt: &str) -> String {
    let width = steps.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    steps.iter().fold(String::new(), |mut text, (command, what)| {
        let _ = writeln!(text, "{prompt}{command:width$}   # {what}");
        text
    })
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let Arguments { dir, template, output } = arguments;
    let schema = serde_json::to_string_pretty(&pipeline_schema(&pipeline::kinds()))? + "\n";
    let readme = template.readme();
    let mut files: Vec<(&str, &str)> = PROJECT.to_vec();
    files.extend(template.files());
    files.extend([("README.md", readme.as_str()), (SCHEMA, schema.as_str()), EDITOR, IGNORED]);
    let (there, new): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(path, _)| dir.join(path).symlink_metadata().is_ok());
    let differs = |(path, text): &&(&str, &str)| {
        std::fs::read(dir.join(path)).ok().as_deref() != Some(text.as_bytes())
    };
    let in_the_way: Vec<&str> = there.iter().filter(differs).map(|(path, _)| *path).collect();
    if !in_the_way.is_empty() {
        bail!(
            "`{}` has files that would be in the way: `{}`; nothing was written. Name another \
             directory: `tidemill init DIR`",
            dir.display(),
            in_the_way.join("`, `")
        );
    }
    for (path, text) in &new {
        write_new(&dir.join(path), text)?;
    }
    if *output == Format::Json {
        let made: Vec<&str> = new.iter().map(|(path, _)| *path).collect();
        print_json(&json!({"dir": dir, "made": made, "pipeline": template.pipeline()}))?;
        return Ok(OK);
    }
    let bold = anstyle::Style::new().bold();
    let mut said = match new.len() {
        0 => format!("All is there in `{}` already.\n", dir.display()),
        _ => new.iter().fold(format!("Made in `{}`:\n", dir.display()), |text, (path, _)| {
            format!("{text}  {path}\n")
        }),
    };
    let _ = write!(said, "\n{bold}Next{bold:#}\n");
    if dir != Path::new(".") {
        let _ = writeln!(said, "  cd {}", dir.display());
    }
    said.push_str(&listed(&template.steps(), "  "));
    print(&said)?;
    Ok(OK)
}

/// Writes a file that is not there, whole or not at all.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let written = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = File::create_new(path)?;
        let done = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if done.is_err() {
            let _ = std::fs::remove_file(path);
        }
        done
    };
    written().with_context(|| format!("cannot write `{}`", path.display()))
}
