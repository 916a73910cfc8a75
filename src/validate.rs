//! `tidemill validate`

use crate::arguments::{self, misuse};
use crate::pipeline;
use crate::stdout::{print, print_json};
use crate::{INVALID, OK};
use anyhow::Result;
use jiff::Timestamp;
use orchestrator::diagnostic::{Located, Problems, Severity};
use orchestrator::kind::Kinds;
use orchestrator::load;
use serde_json::json;
use std::num::NonZero;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill validate pipelines/ecommerce.yaml
  tidemill validate pipelines/             all *.yaml files in a directory
  tidemill validate pipelines/ -o github   for GitHub Actions")]
pub struct Arguments {
    /// Pipelines, or directories of pipelines
    #[arg(required = true, value_parser = arguments::pipelines_path())]
    paths: Vec<PathBuf>,
    /// How problems are printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// With the lines concerned
    Text,
    /// One array: each file with its problems
    Json,
    /// Workflow commands that GitHub shows at the lines concerned
    Github,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let kinds = pipeline::kinds();
    let mut code = OK;
    let mut files_json = Vec::new();
    let paths = files(&arguments.paths)?;
    for (path, (pipeline, problems)) in paths.iter().zip(check(&paths, &kinds)) {
        let is_valid = pipeline.is_some();
        if !is_valid {
            code = INVALID;
        }
        match arguments.output {
            Output::Text => {
                pipeline::complain(&problems);
                if is_valid {
                    print(&format!("{}: ok\n", path.display()))?;
                }
            }
            Output::Json => files_json.push(json!({
                "file": path,
                "pipeline": pipeline,
                "valid": is_valid,
                "problems": problems.located().collect::<Vec<_>>(),
            })),
            Output::Github => print(&problems.located().map(annotation).collect::<String>())?,
        }
    }
    if arguments.output == Output::Json {
        print_json(&files_json)?;
    }
    Ok(code)
}

/// The name of each pipeline, if it is valid, and its problems; on all processors.
fn check(paths: &[PathBuf], kinds: &Kinds) -> Vec<(Option<String>, Problems)> {
    let now = Timestamp::now();
    let check = |path: &PathBuf| match load::validate(path, kinds, now) {
        Ok((plan, warnings)) => (Some(plan.pipeline), warnings),
        Err(problems) => (None, problems),
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = paths.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let shares = paths.chunks(share);
        let workers: Vec<_> =
            shares.map(|share| scope.spawn(|| share.iter().map(check).collect())).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .flat_map(|done: std::thread::Result<Vec<_>>| {
                done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// A problem as a workflow command:
/// <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>
fn annotation(problem: Located<'_>) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escaped(text).replace(':', "%3A").replace(',', "%2C");
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut properties = Vec::new();
    if !problem.file.is_empty() {
        properties.push(format!("file={}", property(problem.file)));
    }
    if let Some(place) = problem.place {
        properties.push(format!("line={},endLine={}", place.line, place.end_line));
        // Columns are for problems on one line.
        if place.line == place.end_line {
            properties.push(format!("col={},endColumn={}", place.column, place.end_column));
        }
    }
    properties.push(format!("title={}", problem.code.as_str()));
    let help = problem.help.map(|help| format!("\n{help}")).unwrap_or_default();
    let message = escaped(&format!("{}{help}", problem.message));
    format!("::{level} {}::{message}\n", properties.join(","))
}

/// The pipelines that paths name: files, and all that directories hold.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = arguments::pipelines_in(path)?;
            if found.is_empty() {
                return Err(misuse(format!("`{}` holds no .yaml file", path.display())));
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}
