//! The command line tools that come with the servers.

use super::fetch;
use super::java::Java;
use super::lifecycle::Cluster;
use super::servers::{HADOOP, HBASE, KAFKA_TOOLS, Library, SPARK, SPARK_KAFKA};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::os::unix::process::CommandExt;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Tools {
    Hdfs,
    Hbase,
    Kafka,
    /// With its connector for Kafka
    Spark,
}

impl Cluster {
    /// Becomes a Java program on the class path of a service; returns only if that fails.
    pub(super) fn tool(&self, tools: Tools, words: &[String]) -> Result<()> {
        let java = Java::find()?;
        let class_path = self.class_path(tools, &java)?;
        let mut command = java.command();
        command.args(["-Xmx768m", "-Dcluster.log=WARN", "-cp"]);
        command.arg(class_path).args(words);
        Err(command.exec()).context("cannot run Java")
    }

    /// The configuration of a service and the jars of its clients, fetched the first time.
    pub(super) fn class_path(&self, tools: Tools, java: &Java) -> Result<String> {
        let (conf, libraries): (_, &[&Library]) = match tools {
            Tools::Hdfs => ("hadoop", &[&HADOOP]),
            Tools::Hbase => ("hbase", &[&HBASE]),
            Tools::Kafka => ("kafka", &[&KAFKA_TOOLS]),
            Tools::Spark => ("spark", &[&SPARK, &SPARK_KAFKA]),
        };
        for library in libraries {
            fetch::fetch(library, self.home.libraries(), java)?;
        }
        self.home.configure(&self.ports)?;
        Ok(self.home.class_path(conf, libraries))
    }
}
