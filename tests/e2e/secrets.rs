//! What a profile names as secret is in nothing that a run says or leaves behind.

use crate::project::{Project, Said};
use crate::servers::Servers;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// One for each place and each way to name it.
const SECRETS: [&str; 4] =
    ["kafka-env-7c1f93", "kafka-file-b20a4d", "hdfs-env-5e88ac", "hdfs-file-f3197b"];

/// A project whose profiles name secrets, and all that was said in it.
struct Quiet {
    project: Project,
    /// Files with secrets lie beside the project, not in it.
    secrets: TempDir,
    said: Vec<(String, Said)>,
}

impl Quiet {
    fn new(project: Project) -> Quiet {
        let secrets = TempDir::new().unwrap();
        std::fs::write(secrets.path().join("kafka"), format!("{}\n", SECRETS[1])).unwrap();
        std::fs::write(secrets.path().join("hdfs"), SECRETS[3]).unwrap();
        Quiet { project, secrets, said: Vec::new() }
    }

    fn kept(&self, name: &str) -> String {
        format!("{{file: '{}'}}", self.secrets.path().join(name).display())
    }

    fn say(&mut self, words: &[&str]) -> &Said {
        let mut command = self.project.command(words);
        command.env("KAFKA_SECRET", SECRETS[0]).env("HDFS_SECRET", SECRETS[2]);
        let said = crate::project::said(command.output().unwrap());
        self.said.push((words.join(" "), said));
        &self.said.last().unwrap().1
    }

    fn expect(&mut self, code: i32, words: &[&str]) -> &Said {
        let said = self.say(words);
        assert_eq!(said.code, Some(code), "{words:?}: {said:#?}");
        said
    }

    /// All that tells of the newest run.
    fn ask(&mut self) {
        let shown = self.expect(0, &["show", "latest", "-o", "json"]).out.clone();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        for task in shown["tasks"].as_array().unwrap() {
            self.say(&["logs", "latest", task["task"].as_str().unwrap()]);
        }
        for words in [
            &["show", "latest"][..],
            &["history"],
            &["history", "-o", "json"],
            &["datasets"],
            &["datasets", "-o", "json"],
            &["lineage"],
        ] {
            self.say(words);
        }
    }

    /// Nothing that was said, and no file of the project and its data, holds a secret.
    fn told_nothing(&self) {
        for (words, said) in &self.said {
            for secret in SECRETS {
                let told = said.out.contains(secret) || said.err.contains(secret);
                assert!(!told, "`{words}` tells `{secret}`: {said:#?}");
            }
        }
        let files = files(&self.project.path("."));
        let store = files.iter().any(|file| file.ends_with("data/store.db"));
        assert!(store && files.len() > 3, "{files:?}");
        for file in &files {
            let bytes = std::fs::read(file).unwrap();
            for secret in SECRETS {
                let held = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!held, "{} holds `{secret}`", file.display());
            }
        }
    }
}

/// All files in a directory and below it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(below).collect()
}

const PIPELINE: &str = "name: quiet
tasks:
  rows:
    uses: shell
    outputs: {rows: file:rows.csv}
    with:
      env: {NEEDS: KAFKA_SECRET}
      run: |
        test -n \"$KAFKA_SECRET\" && test \"$NEEDS\" = KAFKA_SECRET
        printf 'id,name\\n1,a\\n2,b\\n' > \"$TIDEMILL_OUTPUT_ROWS\"
  send:
    uses: stream
    inputs: {rows: file:rows.csv}
    outputs: {topic: topic:rows}
    with: {key: id}
";

const READS: &str = "name: reads
tasks:
  look:
    uses: shell
    inputs: {rows: file:none.csv}
    with: {run: 'true'}
";

#[test]
fn a_run_that_fails_tells_no_secret() {
    let mut quiet = Quiet::new(Project::new());
    let (kafka, hdfs) = (quiet.kept("kafka"), quiet.kept("hdfs"));
    let options =
        |env: &str, file: &str| format!("{{{env}: {{env: KAFKA_SECRET}}, {file}: {kafka}}}");
    let wrong = options("sasl.password", "no.such.password");
    let right = options("sasl.username", "sasl.password");
    let file = format!(
        "data_dir: data
profile: wrong
profiles:
  wrong:
    kafka: {{brokers: '127.0.0.1:9', options: {wrong}}}
  away:
    kafka: {{brokers: '127.0.0.1:9', options: {right}}}
    hdfs:
      url: hdfs://127.0.0.1:9/quiet
      options: {{a.password: {{env: HDFS_SECRET}}, a.secret: {hdfs}}}
"
    );
    quiet.project.write("tidemill.yaml", &file);
    quiet.project.write("p.yaml", PIPELINE);
    quiet.project.write("reads.yaml", READS);
    quiet.expect(0, &["validate", "p.yaml"]);
    quiet.expect(0, &["plan", "p.yaml"]);
    // A setting that librdkafka does not know, whose value it would repeat.
    let said = quiet.expect(1, &["-vv", "run", "p.yaml"]);
    assert!(said.out.contains("no.such.password"), "{said:#?}");
    quiet.ask();
    quiet.expect(1, &["doctor"]);
    for words in [&["plan", "p.yaml"][..], &["-vv", "run", "reads.yaml"], &["query", "select 1"]] {
        quiet.say(&[words, &["--profile", "away"]].concat());
    }
    quiet.expect(1, &["-vv", "doctor", "--profile", "away"]);
    quiet.expect(1, &["doctor", "--profile", "away", "-o", "json"]);
    quiet.told_nothing();
}

#[test]
fn a_run_on_servers_tells_no_secret() {
    let Some(servers) = Servers::find() else { return };
    let mut quiet = Quiet::new(Project::on(&servers));
    let file = quiet.project.read("tidemill.yaml");
    let kafka = format!("options: {{sasl.password: {}}}}}", quiet.kept("kafka"));
    let hdfs = format!(
        "options: {{a.password: {{env: HDFS_SECRET}}, a.secret: {}}}}}",
        quiet.kept("hdfs")
    );
    let with = |file: &str, key: &str, options: &str| {
        let lines = file.lines().map(|line| match line.trim_start().starts_with(key) {
            true => format!("{}, {options}\n", line.trim_end_matches('}')),
            false => format!("{line}\n"),
        });
        lines.collect::<String>()
    };
    let file = with(&with(&file, "kafka:", &kafka), "hdfs:", &hdfs);
    quiet.project.write("tidemill.yaml", &file);
    let pipeline = "pipelines/ecommerce.yaml";
    let small = ["--set", "rows=300", "--date", "2026-11-20"];
    quiet.expect(0, &["validate", pipeline]);
    quiet.expect(0, &[&["plan", pipeline][..], &small].concat());
    quiet.expect(0, &[&["-vv", "run", pipeline][..], &small].concat());
    quiet.ask();
    quiet.expect(0, &["query", "select count(*) from clean_orders"]);
    quiet.expect(0, &["-vv", "doctor"]);
    quiet.told_nothing();
}

#[test]
fn a_secret_that_is_written_down_is_refused_and_not_repeated() {
    let mut quiet = Quiet::new(Project::shipped());
    let plain = format!(
        "data_dir: data\nprofiles:\n  far:\n    kafka:\n      brokers: a:1\n      options:\n        \
         sasl.password: {}\n",
        SECRETS[0]
    );
    quiet.project.write("tidemill.yaml", &plain);
    for (code, words) in [
        (2, &["validate", "pipelines/hello.yaml"][..]),
        (2, &["run", "pipelines/hello.yaml"]),
        (1, &["doctor"]),
        (1, &["query", "select 1"]),
    ] {
        let said = quiet.expect(code, words);
        let all = format!("{}{}", said.out, said.err);
        assert!(all.contains("`sasl.password: {env: NAME}`"), "{said:#?}");
        assert!(!all.contains(SECRETS[0]), "{said:#?}");
    }
    assert!(!quiet.project.data().exists());
}
