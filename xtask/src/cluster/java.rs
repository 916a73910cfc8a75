//! The Java that the servers run on, and how it is told to stay small.

use super::ports::LOOPBACK;
use anyhow::{Result, bail, ensure};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that all the servers support.
const VERSION: u32 = 17;

/// For every server: what keeps it small, and dead rather than half dead.
const SMALL: [&str; 4] = [
    "-XX:+UseSerialGC",
    "-XX:CICompilerCount=2",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
];

/// Inner parts of Java that Hadoop, HBase and Spark reach into.
const OPENED: [&str; 16] = [
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
];

#[derive(Clone, Debug)]
pub struct Java {
    program: PathBuf,
    /// The directory that JAVA_HOME shall name; none for a `java` of the PATH.
    home: Option<PathBuf>,
}

impl Java {
    /// Looks in JAVA_HOME, in /usr/lib/jvm, then along the PATH.
    pub fn find() -> Result<Java> {
        let mut homes: Vec<PathBuf> =
            std::env::var_os("JAVA_HOME").into_iter().map(PathBuf::from).collect();
        if let Ok(entries) = std::fs::read_dir("/usr/lib/jvm") {
            let mut installed: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            installed.sort();
            homes.extend(installed);
        }
        for home in homes {
            let program = home.join("bin/java");
            if is_right(&program) {
                return Ok(Java { program, home: Some(home) });
            }
        }
        let program = PathBuf::from("java");
        if is_right(&program) {
            return Ok(Java { program, home: None });
        }
        bail!(
            "no Java {VERSION} in JAVA_HOME, in /usr/lib/jvm or on the PATH: \
             `apt-get install openjdk-{VERSION}-jre-headless`"
        )
    }

    /// A Java with the options that all servers share.
    pub(super) fn command(&self) -> Command {
        let mut command = self.unlimited();
        command.args(SMALL);
        // The C library's arena for each thread would cost more than the heap saves.
        command.env("MALLOC_ARENA_MAX", "2");
        command
    }

    /// A Java that is as fast as it can be.
    pub(super) fn unlimited(&self) -> Command {
        let mut command = Command::new(&self.program);
        self.set_home(&mut command);
        command.args(OPENED.map(|package| format!("--add-opens={package}=ALL-UNNAMED")));
        // Spark asks the machine for its name otherwise, and warns of what it hears.
        command.env("SPARK_LOCAL_IP", LOOPBACK);
        command
    }

    /// Compiles classes into a directory.
    pub(super) fn compile(&self, source: &Path, class_path: &str, classes: &Path) -> Result<()> {
        let compiler = self.program.with_file_name("javac");
        let output = Command::new(&compiler)
            .args(["-nowarn", "-cp", class_path, "-d"])
            .args([classes, source])
            .output();
        let output = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "no `{}`: `apt-get install openjdk-{VERSION}-jdk-headless`",
                compiler.display()
            ),
            output => output?,
        };
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cannot compile `{}`:\n{words}", source.display());
        Ok(())
    }

    pub(super) fn set_home(&self, command: &mut Command) {
        if let Some(home) = &self.home {
            command.env("JAVA_HOME", home);
        }
    }
}

fn is_right(program: &Path) -> bool {
    let output = Command::new(program).arg("-version").output();
    output.is_ok_and(|output| major(&String::from_utf8_lossy(&output.stderr)) == Some(VERSION))
}

/// 17 of `openjdk version "17.0.15" 2025-04-15`; before 9 the number began with `1.`.
fn major(text: &str) -> Option<u32> {
    let version = text.split('"').nth(1)?;
    version.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_the_first_number() {
        for (text, expected) in [
            ("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime", Some(17)),
            ("openjdk version \"21\" 2023-09-19", Some(21)),
            ("openjdk version \"25-ea\" 2025-09-16", Some(25)),
            ("java version \"1.8.0_412\"", Some(1)),
            ("java: not found", None),
        ] {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}
