//! What the terminal shows of tracing, and how it shares the screen with the progress lines.

use indicatif::MultiProgress;
use orchestrator::log::AttemptLogs;
use std::io::{self, Write};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Sends events to the terminal by `-v` or `RUST_LOG`, and those of attempts to their log files.
pub fn init(verbose: u8, bars: &MultiProgress) {
    let default = match verbose {
        0 => "off",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(Beside(bars.clone()))
        .with_ansi(anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never)
        .with_filter(filter);
    tracing_subscriber::registry()
        .with(terminal)
        .with(AttemptLogs.with_filter(LevelFilter::INFO))
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
