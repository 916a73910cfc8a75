//! `cargo xtask cluster`: the real servers that tidemill works with, each as small as it can be, on
//! this machine alone. For tests, and for people without Docker; see docs/cluster.md.

#[cfg(test)]
mod compose;
mod conf;
mod fetch;
mod home;
mod http;
mod java;
mod lifecycle;
mod ports;
mod probe;
mod process;
mod program;
mod servers;
mod status;
mod tool;

pub use java::Java;
pub use program::Program;
pub use servers::Service;
pub use tool::Tools;

use anyhow::Result;
use clap::Subcommand;
use lifecycle::Cluster;
use servers::Server;
use std::time::{Duration, Instant};

/// How long a server may take: ten times what it needs where nothing else runs.
const PATIENCE_S: u64 = 300;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask cluster up                              everything: 1.2 GiB of memory
  cargo xtask cluster up kafka
  eval \"$(cargo xtask cluster env)\"                   tell the tests where the servers are
  cargo xtask cluster tool hdfs org.apache.hadoop.fs.FsShell -ls /
  cargo xtask cluster --port-offset 100 up hdfs       beside a cluster that runs already
  cargo xtask cluster down")]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Add this to every port: a cluster of its own, beside the usual one
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    port_offset: u16,
}

#[derive(Subcommand)]
enum Verb {
    /// Start services and wait until they are ready; fetches them the first time
    Up {
        /// Which; all, if none is named
        services: Vec<Service>,
        /// How long a server may take until it is ready
        #[arg(long, default_value_t = PATIENCE_S, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Stop services; what they hold is kept
    Down {
        /// Which; all, if none is named
        services: Vec<Service>,
        /// Remove all data, configuration and logs too
        #[arg(long, conflicts_with = "services")]
        purge: bool,
    },
    /// What runs, where, and how much memory it takes
    Status,
    /// Print the variables that tests find the services by
    Env,
    /// Run a Java class of a service with its configuration
    Tool {
        tools: tool::Tools,
        /// The class and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        class: Vec<String>,
    },
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let mut cluster = Cluster::open(arguments.port_offset)?;
    match &arguments.verb {
        Verb::Up { services, timeout } => {
            let start = Instant::now();
            cluster.up(services, Duration::from_secs(*timeout), &mut Vec::new())?;
            eprintln!("up after {:.0} s", start.elapsed().as_secs_f64());
            Ok(())
        }
        Verb::Down { services, purge } => cluster.down(services, *purge),
        Verb::Status => {
            print!("{}", cluster.status());
            Ok(())
        }
        Verb::Env => {
            match cluster.export() {
                Some(line) => println!("{line}"),
                None => eprintln!("no service is up: `cargo xtask cluster up`"),
            }
            Ok(())
        }
        Verb::Tool { tools, class } => cluster.tool(*tools, class),
    }
}

/// Services that run as long as this value lives. What ran before is used, and left running.
pub struct Running {
    cluster: Cluster,
    services: Vec<Service>,
    started: Vec<Server>,
}

impl Running {
    /// Starts all services without any data of earlier times.
    pub fn start_anew(offset: u16) -> Result<Running> {
        Cluster::open(offset)?.down(&[], true)?;
        Running::start(offset, &[])
    }

    /// Starts these services and those that they need, with an offset of the ports as in
    /// `--port-offset`.
    pub fn start(offset: u16, services: &[Service]) -> Result<Running> {
        let cluster = Cluster::open(offset)?;
        let mut running =
            Running { cluster, services: Service::with_needed(services), started: Vec::new() };
        // After an error it is dropped here, and stops what had started.
        let Running { cluster, started, .. } = &mut running;
        cluster.up(services, Duration::from_secs(PATIENCE_S), started)?;
        Ok(running)
    }

    /// The variables that tests find the services by.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        self.cluster.variables(&self.services)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _lock = self.cluster.home.lock();
        self.cluster.stop(&self.started);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    #[ignore = "starts real servers, which are fetched first: 110 MB and half a minute"]
    fn services_run_as_long_as_the_value_lives() {
        let running = Running::start(300, &[Service::Kafka, Service::Hdfs]).unwrap();
        let expected = [
            ("TIDEMILL_TEST_KAFKA", "127.0.0.1:9392".to_owned()),
            ("TIDEMILL_TEST_HDFS", "hdfs://127.0.0.1:9300".to_owned()),
        ];
        assert_eq!(running.env()[..2], expected);
        assert!(TcpStream::connect("127.0.0.1:9392").is_ok());
        let second = Running::start(300, &[Service::Kafka]).unwrap();
        drop(second);
        assert!(TcpStream::connect("127.0.0.1:9392").is_ok(), "the first started it");
        drop(running);
        for port in [9392, 9300] {
            assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{port}");
        }
    }
}
