//! What is wrong with servers, or with what is asked of them: a clear error of the right class. One
//! that can pass is tried again; one that can't is not.

use crate::project::Project;
use crate::servers::Servers;

const CSV: &str = "order_id,price\n1,2.5\n2,3.5\n";

struct Case<'a> {
    profile: String,
    pipeline: &'a str,
    user: &'a str,
}

/// A transient error is tried again once.
const TRANSIENT: u64 = 2;
const PERMANENT: u64 = 1;

impl Case<'_> {
    fn project(&self) -> Project {
        let project = Project::new();
        project.write(
            "tidemill.yaml",
            &format!(
                "data_dir: data\nprofile: p\nprofiles:\n  p: {{patience: 1s, {}}}\n",
                self.profile
            ),
        );
        project.write("data/files/orders.csv", CSV);
        let retry = "defaults: {retry: {attempts: 2, delay: 0s}}";
        project.write("p.yaml", &format!("name: p\n{retry}\ntasks:\n{}", self.pipeline));
        project
    }

    /// Runs the pipeline: a task fails after so many attempts, and says all of this.
    fn fails(&self, attempts: u64, words: &[&str]) {
        let project = self.project();
        let output =
            project.command(&["run", "p.yaml"]).env("HADOOP_USER_NAME", self.user).output();
        let said = crate::project::said(output.unwrap());
        assert_eq!(said.code, Some(1), "{said:#?}");
        let shown = project.show("latest");
        let tasks = shown["tasks"].as_array().unwrap();
        let failed = tasks.iter().find(|task| task["state"] == "failed").unwrap();
        for word in words {
            assert!(failed["reason"].as_str().unwrap().contains(word), "`{word}`: {failed:#}");
        }
        assert_eq!(failed["attempts"], attempts, "{failed:#}");
    }
}

fn case<'a>(profile: &str, pipeline: &'a str) -> Case<'a> {
    Case { profile: profile.to_owned(), pipeline, user: "root" }
}

const STREAM: &str =
    "  send: {uses: stream, inputs: {rows: file:orders.csv}, outputs: {topic: topic:t}}";
const GENERATE: &str =
    "  make: {uses: generate, outputs: {all: file:made.csv}, with: {rows: 1000}}";
const LOAD: &str = "
  make:
    uses: etl
    inputs: {orders: file:orders.csv}
    outputs: {orders: table:orders}
    with: {sql: {orders: select * from orders}}
  load:
    uses: bulk_load
    inputs: {rows: table:orders}
    outputs: {table: kv:t}
    with: {row_key: [order_id], families: {f: [price]}}
";

#[test]
fn a_server_that_is_not_there() {
    let kafka = |at: &str| format!("kafka: {{brokers: '{at}'}}");
    let hdfs = |at: &str| format!("hdfs: {{url: 'hdfs://{at}/tidemill'}}");
    let hbase = |at: &str| format!("hbase: {{thrift: '{at}'}}");
    for at in ["127.0.0.1:1", "no-such-host.invalid:9092"] {
        let words = [at, "no broker answers"];
        case(&kafka(at), STREAM).fails(TRANSIENT, &words);
    }
    for at in ["127.0.0.1:1", "no-such-host.invalid:9000"] {
        let words = ["can't write `file:made.csv`", "HDFS can't be reached"];
        case(&hdfs(at), GENERATE).fails(TRANSIENT, &words);
    }
    for at in ["127.0.0.1:1", "no-such-host.invalid:9090"] {
        let words = ["`kv:t`", at, "it can't be reached"];
        case(&hbase(at), LOAD).fails(TRANSIENT, &words);
    }
}

#[test]
fn what_a_server_refuses() {
    let Some(servers) = Servers::find() else { return };
    let id = uuid::Uuid::now_v7().simple().to_string();
    let hdfs = |directory: &str| format!("hdfs: {{url: '{}/{directory}'}}", servers.hdfs);

    let denied = Case { user: "eve", ..case(&hdfs(&format!("private-{id}")), GENERATE) };
    denied.fails(PERMANENT, &["can't write `file:made.csv`", "Permission denied: user=eve"]);

    let full = format!("tidemill/{id}");
    servers.tool("hdfs", &["org.apache.hadoop.fs.FsShell", "-mkdir", "-p", &format!("/{full}")]);
    let admin = "org.apache.hadoop.hdfs.tools.DFSAdmin";
    servers.tool("hdfs", &[admin, "-setSpaceQuota", "1m", &format!("/{full}")]);
    let words = ["can't write `file:made.csv`", "quota of", &full, "is exceeded"];
    case(&hdfs(&full), GENERATE).fails(PERMANENT, &words);

    let hbase = format!("hbase: {{thrift: '{}'}}", servers.hbase);
    let load = LOAD.replace("kv:t", &format!("kv:families_{id}"));
    case(&hbase, &load).project().ok(&["run", "p.yaml"]);
    let other = load.replace("{f: [price]}", "{g: [price]}");
    case(&hbase, &other).fails(PERMANENT, &["no family `g`", "alter"]);
}
