//! The command line tools that come with the servers.

use super::fetch;
use super::java::Java;
use super::lifecycle::Cluster;
use super::servers::{HADOOP, HBASE, KAFKA_TOOLS};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::os::unix::process::CommandExt;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Tools {
    Hdfs,
    Hbase,
    Kafka,
}

impl Cluster {
    /// Becomes a Java program on the class path of a service; returns only if that fails.
    pub(super) fn tool(&self, tools: Tools, words: &[String]) -> Result<()> {
        let (conf, library) = match tools {
            Tools::Hdfs => ("hadoop", &HADOOP),
            Tools::Hbase => ("hbase", &HBASE),
            Tools::Kafka => ("kafka", &KAFKA_TOOLS),
        };
        let java = Java::find()?;
        fetch::fetch(library, self.home.libraries(), &java)?;
        self.home.configure(&self.ports)?;
        let mut command = java.command();
        command.args(["-Xmx768m", "-Dcluster.log=WARN", "-cp"]);
        command.arg(self.home.class_path(conf, library)).args(words);
        Err(command.exec()).context("cannot run Java")
    }
}
