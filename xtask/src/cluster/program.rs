//! Java programs that go with the servers: those that come with them, and our own.

use super::Running;
use super::java::Java;
use super::tool::Tools;
use crate::root;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A class with the jars and the configuration of a service.
pub struct Program {
    java: Java,
    class_path: String,
    class: String,
}

impl Running {
    /// A class that comes with a service.
    pub fn program(&self, tools: Tools, class: &str) -> Result<Program> {
        let java = Java::find()?;
        let class_path = self.cluster.class_path(tools, &java)?;
        Ok(Program { java, class_path, class: class.to_owned() })
    }

    /// `xtask/java/CLASS.java`, compiled into the directory `classes`.
    pub fn compile(&self, tools: Tools, class: &str, classes: &Path) -> Result<Program> {
        let mut program = self.program(tools, class)?;
        let source = root().join("xtask/java").join(class).with_extension("java");
        program.java.compile(&source, &program.class_path, classes)?;
        program.class_path += &format!(":{}", classes.display());
        Ok(program)
    }

    /// Removes a directory of HDFS with all that is in it, if it is there.
    pub fn remove_directory(&self, path: &str) -> Result<()> {
        let request = format!("{path}?op=DELETE&recursive=true");
        self.cluster
            .web_hdfs("DELETE", &request, Duration::from_secs(60))
            .with_context(|| format!("cannot remove `{path}` from HDFS"))
    }
}

impl Program {
    /// The program with options for Java itself, such as `-Xmx2g`. Of what it logs, errors remain.
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = self.java.unlimited();
        command.arg("-Dcluster.log=ERROR").args(options);
        command.args(["-cp", &self.class_path, &self.class]);
        command
    }
}
