//! Bad input through the binary: a clear error, and nothing half-written.

use crate::project::{Project, Said, end, wait_until};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

const HEADER: &str = "id,price,at\n";

/// A project whose only task cleans `data/files/orders.csv`.
fn cleaning(csv: &str, from: &str, rule: &str) -> Project {
    let project = Project::new();
    project.write("data/files/orders.csv", csv);
    project.write(
        "p.yaml",
        &format!(
            "name: p\ntasks:\n  clean:\n    uses: etl\n    inputs: {{orders: file:orders.csv}}\n    \
             outputs: {{valid: table:clean, rejected: table:rejected}}\n    with:\n      \
             columns: {{orders: {{id: integer, price: number, at: timestamp}}}}\n      \
             from: {from}\n      rules: {{ok: {rule}}}\n"
        ),
    );
    project
}

fn datasets(project: &Project) -> Value {
    serde_json::from_str(&project.ok(&["datasets", "-o", "json"]).out).unwrap()
}

/// It ends with this code and says all of this.
fn complains(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:#?}");
    for word in words {
        assert!(said.err.contains(word), "`{word}` is not said in {said:#?}");
    }
}

/// Neither a version nor a file of a table is left by what failed.
fn left_nothing(project: &Project) {
    if project.data().join("store.db").exists() {
        assert_eq!(datasets(project), Value::Array(Vec::new()));
    }
    let tables = project.data().join("tables");
    assert!(!tables.exists() || std::fs::read_dir(&tables).unwrap().next().is_none());
}

#[test]
fn a_file_or_a_query_that_does_not_fit() {
    let check = |csv: &str, from: &str, rule: &str, code: i32, words: &[&str]| {
        let project = cleaning(csv, from, rule);
        complains(&project.tidemill(&["run", "p.yaml"]), code, words);
        left_nothing(&project);
    };
    let good = &format!("{HEADER}1,2.5,2026-01-01T00:00:00Z\n");
    let all = "select * from orders";
    check("", all, "id > 0", 1, &["`file:orders.csv` is empty; not even a header is there"]);
    let words = ["has the header `a,b`", "`id`, `price`, `at` are missing", "`a`, `b` are not"];
    check("a,b\n1,2\n", all, "id > 0", 1, &words);
    check(good, "select * fro orders", "id > 0", 2, &["p.yaml:9:22", "found: fro"]);
    check(good, "select idd from orders", "id > 0", 2, &["p.yaml:9:20", "`idd`", "`id`"]);
    check(good, "select id from order", "id > 0", 2, &["p.yaml:9:28", "`order`", "`orders`"]);
    check(good, all, "pricee > 0", 2, &["p.yaml:10:19", "`pricee`", "`price`"]);
    check(good, all, "price", 2, &["p.yaml:10:19", "`price` is neither true nor false"]);
}

#[test]
fn a_file_that_is_a_directory() {
    let project = cleaning("", "select * from orders", "id > 0");
    let file = project.path("data/files/orders.csv");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    complains(&project.tidemill(&["run", "p.yaml"]), 2, &["p.yaml:5:22", "file:orders.csv"]);
}

#[test]
fn bad_rows_are_rejected_with_a_reason_each() {
    let rows = format!(
        "{HEADER}1,2.5,2026-01-01T00:00:00Z\n2,2.5,2026-01-01T00:00:00Z,x,y\n3,2.5\n\
         4,2.5,999999-01-01T00:00:00Z\n5,2.5,2026-02-30T00:00:00Z\n6,1e999,2026-01-01T00:00:00Z\n\
         99999999999999999999,2.5,2026-01-01T00:00:00Z\n"
    );
    let project = cleaning(&rows, "select * from orders", "id > 0");
    project.ok(&["run", "p.yaml"]);
    let query = "select reason, count(*) as rows from rejected group by 1 order by 1";
    let counts = project.ok(&["query", query, "-o", "csv"]).out;
    assert_eq!(
        counts,
        "reason,rows\nmalformed_at,2\nmalformed_id,1\nmalformed_price,1\ntoo_few_fields,1\n\
         too_many_fields,1\n"
    );
    assert_eq!(project.ok(&["query", "select id from clean", "-o", "csv"]).out, "id\n1\n");
}

#[test]
fn a_row_key_that_is_missing() {
    let project = Project::new();
    project.write("data/files/rows.csv", "id,name\n1,one\n,two\n");
    project.write(
        "p.yaml",
        "name: p\ntasks:\n  table:\n    uses: etl\n    inputs: {rows: file:rows.csv}\n    \
         outputs: {all: table:rows}\n    with:\n      columns: {rows: {id: integer, name: string}}\n\
         \x20     sql: {all: select * from rows}\n  load:\n    uses: bulk_load\n    \
         inputs: {rows: table:rows}\n    outputs: {table: kv:names}\n    \
         with: {row_key: [id], families: {f: [name]}}\n",
    );
    let said = project.tidemill(&["run", "p.yaml"]);
    let lacks = "1 of 2 rows lack a part of their row key; for example id null, name `two`";
    complains(&said, 1, &["load", lacks, "say `on_missing_key: skip`"]);
    let said = project.tidemill(&["kv", "scan", "names"]);
    complains(&said, 1, &["`kv:names`"]);
}

#[test]
fn a_data_directory_that_can_not_be_used() {
    let project = Project::shipped();
    project.write("taken", "");
    for arguments in [
        &["run", "pipelines/hello.yaml", "--data-dir", "taken"][..],
        &["history", "--data-dir", "taken"],
    ] {
        complains(&project.tidemill(arguments), 1, &["taken` is not a directory"]);
    }
}

/// As root, nothing is without permission: then somebody else runs it.
#[test]
fn a_data_directory_without_permission() {
    const NOBODY: u32 = 65534;
    let project = Project::shipped();
    let data = project.data();
    std::fs::create_dir(&data).unwrap();
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(&data, mode(0o555)).unwrap();
    std::fs::set_permissions(project.path(""), mode(0o755)).unwrap();
    let mut command = project.command(&["run", "pipelines/hello.yaml"]);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY);
    }
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: another user can't run the binary where it is");
            return;
        }
        output => output.unwrap(),
    };
    let said = crate::project::said(output);
    complains(&said, 1, &["data/store.db`", "unable to open database file"]);
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
}

/// A small disk of its own, as the data directory; taken away at the end.
struct SmallDisk<'a>(&'a Project);

impl<'a> SmallDisk<'a> {
    fn mount(project: &'a Project) -> Option<Self> {
        std::fs::create_dir(project.data()).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(project.data());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: a small tmpfs can't be mounted here");
        }
        mounted.then_some(SmallDisk(project))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.data()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_fails_what_has_no_room_and_keeps_the_rest() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "name: p\nparams: {rows: {type: integer, default: 20000}}\ntasks:\n  generate:\n    \
         uses: generate\n    outputs: {orders: file:orders.csv}\n    \
         with: {rows: '${{ params.rows }}', seed: 1, until: 2026-01-01}\n",
    );
    let Some(_disk) = SmallDisk::mount(&project) else { return };
    project.ok(&["run", "p.yaml"]);
    let before = project.read("data/files/orders.csv");
    let said = project.tidemill(&["run", "p.yaml", "--set", "rows=100000"]);
    complains(&said, 1, &["can't write `file:orders.csv`: No space left on device"]);
    assert!(project.read("data/files/orders.csv") == before, "the file of before is whole");
    assert_eq!(std::fs::read_dir(project.data().join("files")).unwrap().count(), 1);
    project.ok(&["run", "p.yaml", "--set", "rows=10000"]);
}

#[test]
fn a_run_goes_on_where_the_full_disk_of_its_journal_stopped_it() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "name: p\ntasks:\n  fill:\n    uses: shell\n    \
         with: {run: 'test -e data/full || ! head -c 20M /dev/zero > data/full || true'}\n  \
         next: {uses: shell, needs: [fill], with: {run: 'echo next >> next.txt'}}\n",
    );
    let Some(_disk) = SmallDisk::mount(&project) else { return };
    let said = project.tidemill(&["run", "p.yaml"]);
    complains(&said, 1, &["the disk of `", "store.db` is full", "tidemill run --resume latest"]);
    std::fs::write(project.path("data/full"), "").unwrap();
    project.ok(&["run", "--resume", "latest"]);
    assert_eq!(project.states(), ["fill: succeeded", "next: succeeded"]);
    assert_eq!(project.read("next.txt"), "next\n");
}

#[test]
fn a_run_a_query_and_a_history_at_once() {
    let project = cleaning(
        &format!("{HEADER}1,2.5,2026-01-01T00:00:00Z\n"),
        "select * from orders",
        "id > 0",
    );
    project.ok(&["run", "p.yaml"]);
    project.write(
        "slow.yaml",
        "name: slow\ntasks:\n  wait:\n    uses: shell\n    \
         with: {run: 'touch began; while [ ! -e go ]; do sleep 0.02; done'}\n",
    );
    let slow = project.start(&["run", "slow.yaml"]);
    wait_until("the slow run has begun", || project.path("began").exists());
    let beside: Vec<_> = std::iter::repeat_with(|| {
        [
            project.start(&["run", "p.yaml"]),
            project.start(&["query", "select count(*) as rows from clean", "-o", "csv"]),
            project.start(&["history"]),
        ]
    })
    .take(4)
    .collect();
    let mut runs = 0;
    for [run, query, history] in beside {
        // Of one pipeline, only one run at a time.
        match end(run) {
            Said { code: Some(0), .. } => runs += 1,
            refused => complains(&refused, 3, &["is active", "--wait"]),
        }
        assert_eq!(end(query).out, "rows\n1\n");
        let history = end(history);
        assert_eq!(history.code, Some(0), "{history:#?}");
        assert!(history.out.contains("running"), "{history:#?}");
    }
    assert!(runs >= 1);
    project.write("go", "");
    assert_eq!(end(slow).code, Some(0));
}
