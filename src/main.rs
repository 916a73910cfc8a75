//! tidemill: data pipelines in YAML that survive being killed, and explain themselves.

mod arguments;
mod backfill;
mod cancel;
mod completions;
mod datasets;
mod diff;
mod doctor;
mod graph;
mod history;
mod init;
mod kinds;
mod kv;
mod lineage;
mod logs;
mod man;
mod output;
mod pause;
mod pipeline;
mod plan;
mod process;
mod progress;
mod query;
mod run;
mod schedule;
mod schema;
mod serve;
mod show;
mod signals;
mod stdout;
mod summary;
mod terminal;
mod validate;
mod watch;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use indicatif::MultiProgress;
use std::path::PathBuf;
use std::process::ExitCode;

/// Ended well.
pub const OK: u8 = 0;
/// The run failed, or the command could not do what it should.
pub const FAILED: u8 = 1;
/// The command line or a pipeline is wrong; nothing was run.
pub const INVALID: u8 = 2;
/// Another process has the run, or as many runs of the pipeline as may be are active.
pub const BUSY: u8 = 3;
/// The run was cancelled.
pub const CANCELLED: u8 = 130;

/// Runs data pipelines that are written down in YAML.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Examples:
  tidemill init shop                  a directory with a first pipeline
  tidemill run pipelines/hello.yaml   run a pipeline
  tidemill run pipelines/ecommerce.yaml --set rows=10000000
  tidemill run --resume latest        finish what a killed process began
  tidemill history                    what ran, and how it went
  tidemill logs latest clean -f       what a task said
  tidemill query 'select count(*) from clean_orders'
  tidemill doctor --profile cluster   is all there that a run needs?

Exit codes: 0 all well, 1 failed, 2 the pipeline or the command line is wrong, 3 busy, 130 cancelled"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb.
#[derive(Args, Clone)]
pub struct Common {
    /// Where runs, tables and logs are kept [default: tidemill-data beside tidemill.yaml]
    #[arg(
        long,
        global = true,
        env = "TIDEMILL_DATA_DIR",
        value_name = "DIR",
        help_heading = "Common"
    )]
    data_dir: Option<PathBuf>,
    /// Show more on the terminal: -v what tasks say, -vv details; RUST_LOG chooses exactly
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Common")]
    verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, help_heading = "Common")]
    color: Color,
    /// Show long output on the terminal as it is, not in `less` or $PAGER
    #[arg(long, global = true, help_heading = "Common")]
    no_pager: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a pipeline, or go on with a run whose process was killed
    Run(run::Arguments),
    /// Make a directory with a first pipeline
    Init(init::Arguments),
    /// Check pipelines, and report every problem
    Validate(validate::Arguments),
    /// Show what a run would do, and touch nothing
    Plan(plan::Arguments),
    /// Draw which tasks come after which
    Graph(graph::Arguments),
    /// Say what kinds of tasks there are, and print the manual of one
    Kinds(kinds::Arguments),
    /// Say when pipelines are due: in words, the next runs, and when the clocks change
    Schedule(schedule::Arguments),
    /// Make runs of the pipelines in a directory when they are due
    Serve(serve::Arguments),
    /// Make no runs of a pipeline's schedule
    #[command(after_help = "Examples:
  tidemill pause ecommerce_nightly
  tidemill pause pipelines/ecommerce_nightly.yaml

While a schedule is paused, what becomes due is noted as left out. Active runs and those that wait
already go on, and `tidemill run` is not affected.")]
    Pause(pause::Arguments),
    /// Make runs of a pipeline's schedule again
    #[command(after_help = "Examples:
  tidemill unpause ecommerce_nightly
  tidemill unpause pipelines/ecommerce_nightly.yaml

What became due while the schedule was paused is not made up for; `tidemill backfill` can do that.")]
    Unpause(pause::Arguments),
    /// Make runs for intervals of the past
    Backfill(backfill::Arguments),
    /// List runs, newest first
    History(history::Arguments),
    /// Show one run: its tasks, attempts, rows, and why something failed
    Show(show::Arguments),
    /// Watch a run that goes on, as if it ran here
    Watch(watch::Arguments),
    /// Print what a run's tasks said
    Logs(logs::Arguments),
    /// Ask a run to stop
    Cancel(cancel::Arguments),
    /// Ask tables by SQL
    Query(query::Arguments),
    /// List datasets, or the versions of one
    Datasets(datasets::Arguments),
    /// Show what a dataset is made of, and what is made of it
    Lineage(lineage::Arguments),
    /// Read key-value tables
    Kv(kv::Arguments),
    /// Check this machine and the servers of a profile, and say how to mend what is wrong
    Doctor(doctor::Arguments),
    /// Print the JSON Schema of pipelines, for editors
    Schema(schema::Arguments),
    /// Print what a shell needs to complete commands, runs, tasks and datasets
    Completions(completions::Arguments),
    /// Print the manual page
    Man(man::Arguments),
    /// (internal) Kill the commands on standard input when it closes
    #[command(hide = true)]
    Guard,
}

impl Verb {
    /// Whether it prints results to read, which may be longer than the screen.
    const fn is_read(&self) -> bool {
        match self {
            Verb::Logs(arguments) => !arguments.follows(),
            Verb::Plan(_)
            | Verb::Graph(_)
            | Verb::Kinds(_)
            | Verb::Schedule(_)
            | Verb::History(_)
            | Verb::Show(_)
            | Verb::Query(_)
            | Verb::Datasets(_)
            | Verb::Lineage(_)
            | Verb::Kv(_) => true,
            _ => false,
        }
    }
}

fn main() -> ExitCode {
    completions::answer();
    let cli = Cli::parse();
    match cli.common.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let bars = MultiProgress::new();
    // What a daemon does can only be seen in what it says.
    let verbose = cli.common.verbose + u8::from(matches!(cli.verb, Verb::Serve(_)));
    let json = matches!(&cli.verb, Verb::Serve(arguments) if arguments.logs_json());
    terminal::init(verbose, json, &bars);
    if cli.verb.is_read() && !cli.common.no_pager {
        stdout::page();
    }
    let done = match cli.verb {
        Verb::Run(arguments) => run::run(&cli.common, arguments, bars),
        Verb::Init(arguments) => init::run(&arguments),
        Verb::Validate(arguments) => validate::run(&arguments),
        Verb::Plan(arguments) => plan::run(&cli.common, &arguments),
        Verb::Graph(arguments) => graph::run(&arguments),
        Verb::Kinds(arguments) => kinds::run(&arguments),
        Verb::Schedule(arguments) => schedule::run(&cli.common, &arguments),
        Verb::Serve(arguments) => serve::run(&cli.common, &arguments),
        Verb::Backfill(arguments) => backfill::run(&cli.common, &arguments),
        Verb::Pause(arguments) => pause::run(&cli.common, &arguments, true),
        Verb::Unpause(arguments) => pause::run(&cli.common, &arguments, false),
        Verb::History(arguments) => history::run(&cli.common, &arguments),
        Verb::Show(arguments) => show::run(&cli.common, &arguments),
        Verb::Watch(arguments) => watch::run(&cli.common, &arguments, bars),
        Verb::Logs(arguments) => logs::run(&cli.common, &arguments),
        Verb::Cancel(arguments) => cancel::run(&cli.common, &arguments),
        Verb::Query(arguments) => query::run(&cli.common, &arguments),
        Verb::Datasets(arguments) => datasets::run(&cli.common, &arguments),
        Verb::Lineage(arguments) => lineage::run(&cli.common, &arguments),
        Verb::Kv(arguments) => kv::run(&cli.common, &arguments),
        Verb::Doctor(arguments) => doctor::run(&cli.common, &arguments),
        Verb::Schema(arguments) => schema::run(&arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
        Verb::Man(arguments) => man::run(&arguments),
        Verb::Guard => {
            tasks::shell::guard(std::io::stdin().lock());
            Ok(OK)
        }
    };
    stdout::close();
    match done {
        Ok(code) => ExitCode::from(code),
        Err(_) if stdout::has_been_left() => ExitCode::from(OK),
        Err(error) => {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            anstream::eprintln!("{red}error{red:#}: {error:#}");
            ExitCode::from(if error.is::<arguments::Misuse>() { INVALID } else { FAILED })
        }
    }
}
