//! The real servers of the tests. `cargo xtask test` starts them, and names them in the environment;
//! without it, what needs them says that it is left out.

use std::process::Command;

pub(crate) struct Servers {
    pub(crate) kafka: String,
    pub(crate) hdfs: String,
    pub(crate) hbase: String,
    pub(crate) spark: String,
}

impl Servers {
    pub(crate) fn find() -> Option<Servers> {
        let address = |service: &str| std::env::var(format!("TIDEMILL_TEST_{service}")).ok();
        let found = || {
            Some(Servers {
                kafka: address("KAFKA")?,
                hdfs: address("HDFS")?,
                hbase: address("HBASE")?,
                spark: address("SPARK")?,
            })
        };
        let found = found();
        if found.is_none() {
            eprintln!("left out: no servers; `cargo xtask test` starts them");
        }
        found
    }

    /// A `tidemill.yaml` whose pipelines run on these servers.
    pub(crate) fn project_file(&self, id: &str) -> String {
        let Servers { kafka, hdfs, hbase, spark } = self;
        format!(
            "data_dir: data
profile: cluster
profiles:
  cluster:
    kafka: {{brokers: '{kafka}'}}
    hdfs: {{url: '{hdfs}/tidemill/{id}'}}
    hbase: {{thrift: '{hbase}'}}
    spark: {{remote: '{spark}'}}
"
        )
    }

    /// What a Java program of a service's own prints; see `cargo xtask cluster tool`.
    pub(crate) fn tool(&self, service: &str, class: &[&str]) -> String {
        let output = xtask(&[&["tool", service][..], class].concat()).output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{class:?}: {out}{err}");
        out.into_owned()
    }

    /// SIGKILL, as the kernel or an operator in a hurry would.
    pub(crate) fn kill(&self, server: &str) {
        let status = xtask(&["status"]).output().unwrap();
        let status = String::from_utf8(status.stdout).unwrap();
        let is_it =
            |words: &Vec<&str>| words.get(1) == Some(&server) && words.get(2) == Some(&"up");
        let mut lines = status.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(is_it).unwrap_or_else(|| panic!("{server} is not up:\n{status}"));
        let pid = rustix::process::Pid::from_raw(line[3].parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Starts what does not run.
    pub(crate) fn up(&self) {
        let output = xtask(&["up"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// `cargo xtask cluster`, for the servers of these tests.
pub(crate) fn xtask(words: &[&str]) -> Command {
    let variable = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by `cargo xtask test`"))
    };
    let mut command = Command::new(variable("TIDEMILL_TEST_XTASK"));
    command.args(["cluster", "--port-offset", &variable("TIDEMILL_TEST_PORT_OFFSET")]).args(words);
    command
}
