//! What the terminal shows of tracing, and how it shares the screen with the progress lines.

use indicatif::MultiProgress;
use orchestrator::log::AttemptLogs;
use std::io::{self, Write};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Sends events to the terminal by `-v` or `RUST_LOG`, and those of attempts to their log files.
/// `json`: a JSON object for each, for programs.
pub fn init(verbose: u8, json: bool, bars: &MultiProgress) {
    let default = match verbose {
        0 => "off",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let color = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let terminal = tracing_subscriber::fmt::layer().with_writer(Beside(bars.clone()));
    let terminal = match json {
        true => terminal.json().flatten_event(true).boxed(),
        false => terminal.with_ansi(color).boxed(),
    };
    tracing_subscriber::registry()
        .with(terminal.with_filter(filter))
        // What libraries do is of interest when it goes wrong.
        .with(
            AttemptLogs.with_filter(
                Targets::new()
                    .with_default(LevelFilter::WARN)
                    .with_target("tidemill", LevelFilter::INFO)
                    // What commands say.
                    .with_targets(["stdout", "stderr"].map(|said| (said, LevelFilter::INFO))),
            ),
        )
        .init();
}

/// Standard error, with the progress lines out of the way while a line is written.
#[derive(Clone)]
struct Beside(MultiProgress);

impl<'a> MakeWriter<'a> for Beside {
    type Writer = BesideWriter;

    fn make_writer(&'a self) -> BesideWriter {
        BesideWriter(self.0.clone())
    }
}

struct BesideWriter(MultiProgress);

impl Write for BesideWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
