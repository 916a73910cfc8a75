//! `stream` beside Kafka's own ProducerPerformance: the same records, in transactions of about as
//! many rows, with the same settings. It takes them from memory, in random order; we read a file.

use super::side::{Contest, Side};
use super::{KAFKA, Servers, TOPICS};
use crate::bench::measure::measure;
use crate::cluster::{Program, Tools};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// What `stream` commits at a time, if nothing else is said.
const ROWS_PER_COMMIT: f64 = 50_000.0;
/// It holds all of them in memory several times, and takes one at random for each record.
const PAYLOADS: usize = 100_000;
/// The settings of `stream`, by the same names.
const SETTINGS: [&str; 4] =
    ["acks=all", "compression.type=zstd", "linger.ms=5", "batch.size=900000"];
/// Those of Kafka's own script.
const MEMORY: &str = "-Xmx512m";
const MILLISECONDS_TO_BEGIN_WITH: f64 = 100.0;

pub(super) struct Stream<'a> {
    servers: &'a Servers<'a>,
    program: Program,
    payloads: PathBuf,
    /// It ends transactions by time, not by rows.
    commit_every_ms: f64,
}

impl<'a> Stream<'a> {
    pub(super) fn prepare(servers: &'a Servers<'a>) -> Result<Self> {
        let class = "org.apache.kafka.tools.ProducerPerformance";
        let program = servers.running.program(Tools::Kafka, class)?;
        servers.make_ready("kafka", "generate")?;
        let payloads = servers.directory.join("payloads.csv");
        copy_rows(&servers.directory.join("data/files/bench/orders.csv"), &payloads)?;
        let rounds = servers.bench.rounds;
        let names = (0..rounds).flat_map(|n| [topic("ours", n), topic("theirs", n)]);
        let names: Vec<String> = names.chain([topic("trial", 0)]).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        servers.topics(&[&["create", "1"], &names[..]].concat())?;
        let commit_every_ms = MILLISECONDS_TO_BEGIN_WITH;
        let mut stream = Stream { servers, program, payloads, commit_every_ms };
        // How fast it is here says how long a transaction shall last.
        let (_, speed) = stream.produce(&topic("trial", 0))?;
        stream.commit_every_ms = (ROWS_PER_COMMIT / speed * 1e3).clamp(10.0, 5_000.0).round();
        eprintln!("ProducerPerformance commits every {} ms", stream.commit_every_ms);
        Ok(stream)
    }

    /// Returns also how many records a second it says that it has sent.
    fn produce(&self, topic: &str) -> Result<(Side, f64)> {
        let rows = self.servers.bench.rows.to_string();
        let commit_every_ms = self.commit_every_ms.to_string();
        let mut command = self.program.command(&[MEMORY]);
        command.args(["--bootstrap-server", self.servers.address(KAFKA)?]);
        command.args(["--topic", topic, "--num-records", &rows, "--throughput", "-1"]);
        command.arg("--payload-file").arg(&self.payloads);
        command.args(["--transactional-id", topic, "--transaction-duration-ms", &commit_every_ms]);
        command.arg("--command-property").args(SETTINGS);
        let run = measure(&mut command)?;
        let speed = speed(&run.out).with_context(|| format!("no speed in `{}`", run.out))?;
        Ok((Side::new(&run, self.servers.bench.rows as f64 / speed), speed))
    }

    fn counted(&self, mut side: Side, topic: &str) -> Result<Side> {
        let counts = self.servers.topics(&["count", topic])?;
        let (records, commits) = counts.trim().split_once(' ').context("two counts")?;
        let (records, commits): (u64, f64) = (records.parse()?, commits.parse()?);
        ensure!(records == self.rows(), "{records} records of {} arrived", self.rows());
        side.done.insert("records", records);
        side.rows_per_commit = Some(records as f64 / commits);
        Ok(side)
    }
}

impl Contest for Stream<'_> {
    const NAMES: (&'static str, &'static str) = ("stream", "producer_performance");

    fn rounds(&self) -> usize {
        self.servers.bench.rounds
    }

    fn rows(&self) -> u64 {
        self.servers.bench.rows
    }

    fn ours(&mut self, round: usize) -> Result<Side> {
        let (side, _) = self.servers.run(round, "kafka", &["stream"])?;
        self.counted(side, &topic("ours", round))
    }

    fn theirs(&mut self, round: usize) -> Result<Side> {
        let topic = topic("theirs", round);
        let (side, _) = self.produce(&topic)?;
        self.counted(side, &topic)
    }
}

fn topic(of: &str, round: usize) -> String {
    format!("{TOPICS}{of}-{round}")
}

/// The first rows of a CSV file, without its header.
fn copy_rows(from: &Path, to: &Path) -> Result<()> {
    let lines = BufReader::new(std::fs::File::open(from)?).lines();
    let mut out = std::io::BufWriter::new(std::fs::File::create(to)?);
    for line in lines.skip(1).take(PAYLOADS) {
        writeln!(out, "{}", line?)?;
    }
    Ok(out.flush()?)
}

/// The records a second of the line at its end, over all of the time.
fn speed(printed: &str) -> Option<f64> {
    let last = printed.lines().rfind(|line| line.contains(" records sent, "))?;
    let (_, rest) = last.split_once(" records sent, ")?;
    rest.split_once(" records/sec")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_line() {
        let printed = "Reading payloads from: /tmp/payloads.csv\n\
            Number of records read: 100000\n\
            72967 records sent, 14515.0 records/sec (1.46 MB/sec), 124.5 ms avg latency, \
            711.0 ms max latency.\n\
            1000000 records sent, 67235.930881 records/sec (6.78 MB/sec), 49.68 ms avg latency, \
            711.00 ms max latency, 26 ms 50th, 148 ms 95th, 211 ms 99th, 550 ms 99.9th.\n";
        assert_eq!(speed(printed), Some(67_235.930881));
        assert_eq!(speed("Number of records read: 100000\n"), None);
        assert_eq!(speed("5 records sent, many records/sec\n"), None);
    }

    #[test]
    fn payloads_are_rows_without_their_header() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a.csv"), directory.path().join("b.csv"));
        std::fs::write(&from, "id,name\n1,a\n2,b\n").unwrap();
        copy_rows(&from, &to).unwrap();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "1,a\n2,b\n");
    }
}
