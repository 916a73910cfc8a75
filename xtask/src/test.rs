//! `cargo xtask test`

use crate::cluster::Running;
use crate::{cargo, cargo_with, node, packages, python, root, target_directory};
use anyhow::{Result, anyhow};
use std::thread;

/// What crontab lines are compared with.
const CRONITER: (&str, &str) = ("croniter", "7.0.0");

/// What asks the API all that its document allows.
const SCHEMATHESIS: (&str, &str) = ("schemathesis", "4.32.5");

/// The tests' servers: clear of the usual ports, and of those that a person has started.
const PORT_OFFSET: u16 = 2000;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask test                    everything, with real Kafka, HDFS, HBase, Spark and Chromium
  cargo xtask test --fast             without servers: needs Rust alone
  cargo xtask test kafka              the tests with `kafka` in their names
  eval \"$(cargo xtask cluster env)\"   then the tests use those servers, and start none")]
pub struct Arguments {
    /// Only tests whose name contains this; neither formatting nor lints
    filter: Option<String>,
    /// Leave out what needs real servers, and the features that need more than Rust to build
    #[arg(long)]
    fast: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let whole = arguments.filter.is_none();
    if whole {
        cargo(&["fmt", "--all", "--check"])?;
    }
    // The crash tests need the kill points, which do nothing unless the environment names one.
    let features = if arguments.fast { "failpoints" } else { "failpoints,spark" };
    if arguments.fast {
        tests(features, arguments, &[("TIDEMILL_TEST_FAST", "1".to_owned())])?;
    } else {
        packages::install()?;
        // They start, and tools are fetched, while the tests are built.
        let servers = thread::spawn(Servers::find_or_start);
        let tools = thread::spawn(tools);
        let built = cargo(&["test", "--workspace", "--features", features, "--no-run"]);
        let servers = servers.join().map_err(|_| anyhow!("the servers' thread broke off"))??;
        let tools = tools.join().map_err(|_| anyhow!("the thread of the tools broke off"))??;
        built?;
        tests(features, arguments, &[servers.env(), tools].concat())?;
    }
    if whole {
        let words = ["clippy", "--workspace", "--all-targets", "--features", features];
        cargo(&[&words[..], &["--", "-D", "warnings"]].concat())?;
    }
    if arguments.fast {
        eprintln!(
            "== --fast: nothing was tested against real Kafka, HDFS, HBase, Spark and Chromium"
        );
    }
    Ok(())
}

/// Fetches what the pages and the API are tested with, and says how the tests find it.
fn tools() -> Result<Vec<(&'static str, String)>> {
    let directory = target_directory()?;
    let modules = node::modules(&root(), &directory)?;
    let schemathesis = python::programs(&directory, SCHEMATHESIS.0, SCHEMATHESIS.1)?;
    let croniter = python::programs(&directory, CRONITER.0, CRONITER.1)?;
    Ok(vec![
        ("TIDEMILL_CRONITER", croniter.join("python").display().to_string()),
        ("TIDEMILL_BROWSER", modules.display().to_string()),
        ("TIDEMILL_SCHEMATHESIS", schemathesis.join("schemathesis").display().to_string()),
    ])
}

fn tests(features: &str, arguments: &Arguments, env: &[(&str, String)]) -> Result<()> {
    let words = ["test", "--workspace", "--features", features];
    let filter: Vec<&str> = arguments.filter.as_deref().into_iter().collect();
    cargo_with(&[&words[..], &filter].concat(), env)?;
    if arguments.fast {
        return Ok(());
    }
    // Those that stop and start the servers: one by one, when nobody else needs them.
    let restarts = ["--test", "e2e", "--", "--ignored", "--test-threads", "1"];
    cargo_with(&[&words[..], &restarts, &filter].concat(), env)
}

/// The servers that the tests use.
enum Servers {
    Own(Running),
    /// The environment names them.
    Given,
}

impl Servers {
    fn find_or_start() -> Result<Servers> {
        let is_given = |(name, _): (String, String)| name.starts_with("TIDEMILL_TEST_");
        if std::env::vars().any(is_given) {
            return Ok(Servers::Given);
        }
        Running::start_anew(PORT_OFFSET).map(Servers::Own)
    }

    /// What the tests find them by, unless they know already.
    fn env(&self) -> Vec<(&'static str, String)> {
        match self {
            Servers::Own(running) => running.env(),
            Servers::Given => Vec::new(),
        }
    }
}
