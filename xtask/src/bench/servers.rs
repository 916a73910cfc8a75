//! On real servers, beside the tool that a user would otherwise take: both do the same work, in
//! turn, and must have done the same.

mod etl;
mod land;
mod puts;
mod side;
mod spark;
mod stream;

use super::measure::measure;
use super::stages::Bench;
use super::{Gathered, stages};
use crate::cluster::{Program, Running, Service, Tools};
use crate::root;
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use side::Side;
use std::path::PathBuf;
use std::process::Command;

const PREPARE: &str = include_str!("servers/prepare.yaml");
const MEASURED: &str = include_str!("servers/measured.yaml");
/// How the names of our topics begin, and of those that our rivals write.
const TOPICS: &str = "tidemill-bench-";
/// The same for tables of HBase.
const TABLES: &str = "tidemill_bench_";
/// All that is made in HDFS is in here.
const DIRECTORY: &str = "/tidemill/bench";

/// Variables that say where a service is.
const KAFKA: &str = "TIDEMILL_TEST_KAFKA";
const HDFS: &str = "TIDEMILL_TEST_HDFS";
const HBASE: &str = "TIDEMILL_TEST_HBASE";

#[derive(clap::Args)]
pub(super) struct Options {
    /// Only these parts of the stage `servers`; may be repeated
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Rows for HBase, in the stage `servers`
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    kv_rows: u64,
    /// The servers to use, and to start where they don't run: as in `cargo xtask cluster`
    #[arg(long, default_value_t = 0, value_name = "N")]
    port_offset: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A file to Kafka, beside Kafka's ProducerPerformance
    Stream,
    /// Kafka to HDFS, beside Spark Structured Streaming
    Land,
    /// Cleaning and aggregating files of HDFS, beside Spark
    Etl,
    /// Rows to HBase, beside a Java client of the same Thrift server
    Puts,
}

impl Part {
    const ALL: [Part; 4] = [Part::Stream, Part::Land, Part::Etl, Part::Puts];

    fn services(self) -> &'static [Service] {
        match self {
            Part::Stream => &[Service::Kafka],
            Part::Land => &[Service::Kafka, Service::Hdfs],
            Part::Etl => &[Service::Hdfs],
            Part::Puts => &[Service::Hdfs, Service::Hbase],
        }
    }
}

pub(super) fn run(bench: &Bench, options: &Options, gathered: &mut Gathered) -> Result<()> {
    let wanted = |part: &Part| options.part.is_empty() || options.part.contains(part);
    let parts: Vec<Part> = Part::ALL.into_iter().filter(wanted).collect();
    let servers = Servers::prepare(bench, options, &parts)?;
    for part in parts {
        eprintln!("== servers: {part:?}");
        match part {
            Part::Stream => side::alternate(&mut stream::Stream::prepare(&servers)?, gathered)?,
            Part::Land => side::alternate(&mut land::Land::prepare(&servers)?, gathered)?,
            Part::Etl => side::alternate(&mut etl::Etl::prepare(&servers)?, gathered)?,
            Part::Puts => side::alternate(&mut puts::Puts::prepare(&servers)?, gathered)?,
        }
    }
    Ok(())
}

/// The servers, and a directory with a project and pipelines whose places they are.
struct Servers<'a> {
    bench: &'a Bench,
    kv_rows: u64,
    directory: PathBuf,
    services: Vec<Service>,
    env: Vec<(&'static str, String)>,
    topics: Option<Program>,
    tables: Option<Program>,
    running: Running,
}

impl<'a> Servers<'a> {
    fn prepare(bench: &'a Bench, options: &Options, parts: &[Part]) -> Result<Servers<'a>> {
        let mut services: Vec<Service> = Vec::new();
        for service in parts.iter().flat_map(|part| part.services()) {
            if !services.contains(service) {
                services.push(*service);
            }
        }
        let running = Running::start(options.port_offset, &services)?;
        let directory = bench.fresh("servers")?;
        let classes = directory.join("classes");
        std::fs::create_dir_all(&classes)?;
        let needs = |service, tools, class| match services.contains(&service) {
            true => running.compile(tools, class, &classes).map(Some),
            false => Ok(None),
        };
        let topics = needs(Service::Kafka, Tools::Kafka, "KafkaTopics")?;
        let tables = needs(Service::Hbase, Tools::Hbase, "HBaseCells")?;
        let (env, kv_rows) = (running.env(), options.kv_rows);
        let servers = Servers { bench, kv_rows, directory, services, env, topics, tables, running };
        servers.write_project()?;
        // What an earlier bench has left that was killed.
        servers.clean()?;
        Ok(servers)
    }

    fn write_project(&self) -> Result<()> {
        let project = project(self.find(KAFKA), self.find(HDFS), self.find(HBASE));
        std::fs::write(self.directory.join("tidemill.yaml"), project)?;
        std::fs::write(self.directory.join("prepare.yaml"), PREPARE)?;
        let sql = self.directory.join("sql");
        std::fs::create_dir_all(&sql)?;
        for entry in std::fs::read_dir(root().join("pipelines/sql"))? {
            let entry = entry?;
            std::fs::copy(entry.path(), sql.join(entry.file_name()))?;
        }
        Ok(())
    }

    fn find(&self, variable: &str) -> Option<&str> {
        self.env.iter().find(|(name, _)| *name == variable).map(|(_, address)| &**address)
    }

    /// The address of a service that was started.
    fn address(&self, variable: &str) -> Result<&str> {
        self.find(variable).with_context(|| format!("`{variable}` is not known"))
    }

    fn host_and_port(&self, variable: &str) -> Result<(&str, &str)> {
        let address = self.address(variable)?;
        address.rsplit_once(':').with_context(|| format!("`{address}` has no port"))
    }

    /// A place in HDFS, for Spark.
    fn hdfs(&self, path: &str) -> Result<String> {
        Ok(format!("{}{DIRECTORY}/{path}", self.address(HDFS)?))
    }

    fn compile(&self, tools: Tools, class: &str) -> Result<Program> {
        self.running.compile(tools, class, &self.directory.join("classes"))
    }

    /// Runs tasks that are not measured.
    fn make_ready(&self, profile: &str, task: &str) -> Result<()> {
        eprintln!("preparing: {task}");
        let rows = format!("rows={}", self.bench.rows);
        let kv_rows = format!("kv_rows={}", self.kv_rows);
        let words = ["--set", &rows, "--set", &kv_rows];
        let mut command = self.tidemill("prepare.yaml", profile, &[task], &words);
        measure(&mut command).with_context(|| format!("cannot prepare `{task}`"))?;
        Ok(())
    }

    /// Runs tasks one after the other, in one process. Returns what the run says at its end.
    fn run(&self, round: usize, profile: &str, tasks: &[&str]) -> Result<(Side, Value)> {
        let file = format!("measured-{round}.yaml");
        std::fs::write(self.directory.join(&file), measured(round))?;
        let run = measure(&mut self.tidemill(&file, profile, tasks, &[]))?;
        let summary = stages::summary(&run)?;
        let working = side::task_seconds(&summary)?;
        Ok((Side::new(&run, working), summary))
    }

    fn tidemill(&self, file: &str, profile: &str, tasks: &[&str], words: &[&str]) -> Command {
        let data = self.directory.join("data");
        let mut command = self.bench.tidemill(&data, &["run", file, "--profile", profile]);
        command.args(["-o", "json"]).args(words).current_dir(&self.directory);
        for task in tasks {
            command.args(["--only", task]);
        }
        command
    }

    fn topics(&self, words: &[&str]) -> Result<String> {
        let program = self.topics.as_ref().context("Kafka was not started")?;
        tool(program, &[&[self.address(KAFKA)?], words].concat())
    }

    fn tables(&self, words: &[&str]) -> Result<String> {
        let program = self.tables.as_ref().context("HBase was not started")?;
        let (host, port) = self.host_and_port(HBASE)?;
        tool(program, &[&[host, port], words].concat())
    }

    /// Removes all that a bench makes on the servers.
    fn clean(&self) -> Result<()> {
        if self.topics.is_some() {
            self.topics(&["remove", TOPICS])?;
        }
        if self.services.contains(&Service::Hdfs) {
            self.running.remove_directory(DIRECTORY)?;
        }
        if self.tables.is_some() {
            self.tables(&["remove", TABLES])?;
        }
        Ok(())
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            eprintln!("left on the servers, until the next bench: {error:#}");
        }
    }
}

/// What a program prints that needs little memory.
fn tool(program: &Program, words: &[&str]) -> Result<String> {
    Ok(measure(program.command(&["-Xmx512m"]).args(words))?.out)
}

fn measured(round: usize) -> String {
    let topic = |round| format!("{TOPICS}ours-{round}");
    let table = |round| format!("{TABLES}ours_{round}");
    MEASURED.replace(&topic(0), &topic(round)).replace(&table(0), &table(round))
}

/// The project file, in JSON, which is YAML. With the profile `servers` everything is on servers;
/// with `kafka`, files stay here.
fn project(kafka: Option<&str>, hdfs: Option<&str>, hbase: Option<&str>) -> String {
    let mut servers = Map::new();
    if let Some(brokers) = kafka {
        servers.insert("kafka".into(), json!({"brokers": brokers}));
    }
    let only_kafka = servers.clone();
    if let Some(url) = hdfs {
        servers.insert("hdfs".into(), json!({"url": format!("{url}{DIRECTORY}")}));
    }
    if let Some(thrift) = hbase {
        servers.insert("hbase".into(), json!({"thrift": thrift}));
    }
    json!({"profiles": {"kafka": only_kafka, "servers": servers}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_names_the_servers_that_run() {
        assert_eq!(
            project(Some("h:1"), Some("hdfs://h:2"), None),
            r#"{"profiles":{"kafka":{"kafka":{"brokers":"h:1"}},"#.to_owned()
                + r#""servers":{"kafka":{"brokers":"h:1"},"#
                + r#""hdfs":{"url":"hdfs://h:2/tidemill/bench"}}}}"#
        );
    }

    /// What is cleaned up is found by how its name begins.
    #[test]
    fn what_the_pipelines_make_on_servers_is_removed_again() {
        let mut found = 0;
        for line in [PREPARE, MEASURED].iter().flat_map(|text| text.lines()) {
            for (scheme, prefix) in [(" topic:", TOPICS), (" kv:", TABLES)] {
                if let Some((_, name)) = line.split_once(scheme) {
                    assert!(name.starts_with(prefix), "{line}");
                    found += 1;
                }
            }
        }
        assert_eq!(found, 4);
    }

    #[test]
    fn each_round_has_its_own_topic_and_table() {
        let text = measured(3);
        assert!(text.contains("topic:tidemill-bench-ours-3}"));
        assert!(text.contains("kv:tidemill_bench_ours_3}"));
        assert_eq!(measured(0), MEASURED);
    }
}
