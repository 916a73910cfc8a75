//! The pipelines that are shipped, on real Kafka, HDFS and HBase.

use crate::project::{Project, assert_same};
use crate::servers::Servers;

const RUN: [&str; 8] = [
    "run",
    "pipelines/ecommerce.yaml",
    "--set",
    "rows=5000",
    "--set",
    "dirty=0.02",
    "--date",
    "2026-11-20",
];

#[test]
fn the_main_job_gives_the_rows_that_it_gives_without_servers() {
    let Some(servers) = Servers::find() else { return };
    let (here, there) = (Project::shipped(), Project::on(&servers));
    here.ok(&RUN);
    there.ok(&RUN);
    let expected = here.everything();
    assert!(expected.lines().count() > 10_000);
    assert_same("on servers", &expected, &there.everything());
    assert!(!there.data().join("tables").exists() && !there.data().join("topics").exists());
    let page = there.read("data/artifacts/sales/latest/index.html");
    assert!(page.contains("Plotly"), "the page is where it always is");
    // Again: the topic holds the messages of both runs, the tables those of the last.
    there.ok(&RUN);
    assert_same("on servers, twice", &expected, &there.everything());
}

#[test]
fn spark_gives_the_rows_that_datafusion_gives() {
    let Some(servers) = Servers::find() else { return };
    let (here, there) = (Project::shipped(), Project::on(&servers));
    let pipeline = there.read(RUN[1]);
    let spark = pipeline.replace("      from: sql", "      engine: spark\n      from: sql");
    let spark = spark.replace("      sql:\n", "      engine: spark\n      sql:\n");
    assert_eq!(spark.matches("engine: spark").count(), 2, "clean and aggregate");
    there.write(RUN[1], &spark);
    here.ok(&RUN);
    there.ok(&RUN);
    assert_same("by Spark", &here.everything(), &there.everything());
}

#[test]
fn nights_give_the_rows_that_they_give_without_servers() {
    let Some(servers) = Servers::find() else { return };
    let (here, there) = (Project::shipped(), Project::on(&servers));
    for night in ["2026-11-11", "2026-11-12", "2026-11-11"] {
        let file = "pipelines/ecommerce_nightly.yaml";
        let run = ["run", file, "--date", night, "--set", "rows=1000", "--set", "dirty=0.02"];
        here.ok(&run);
        there.ok(&run);
    }
    assert_same("nights", &here.everything(), &there.everything());
}

/// Of the kill points those around what servers commit.
const POINTS: [&str; 9] = [
    "file.before_rename",
    "file.after_rename",
    "topic.before_commit",
    "topic.after_commit",
    "land.roll_staged",
    "table.before_commit",
    "table.after_commit",
    "kv.before_commit",
    "kv.after_commit",
];

#[test]
fn killed_anywhere_a_run_gives_the_same_rows() {
    let Some(servers) = Servers::find() else { return };
    let small = [&RUN[..3], &["rows=400"], &RUN[4..]].concat();
    let here = Project::shipped();
    here.ok(&small);
    let expected = here.everything();
    for point in POINTS {
        let there = Project::on(&servers);
        assert!(there.killed_at(&format!("{point}:1"), &small), "{point} was never reached");
        there.ok(&["run", "--resume", "latest"]);
        assert_same(point, &expected, &there.everything());
    }
}

#[test]
fn what_a_run_leaves_is_read_by_the_servers_own_clients() {
    let Some(servers) = Servers::find() else { return };
    let project = Project::on(&servers);
    project.ok(&RUN);
    let topic = project.kv().replace("ecommerce_table", "bda_proj");
    let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    let read = ["--from-beginning", "--isolation-level", "read_committed", "--timeout-ms", "15000"];
    let from = ["--bootstrap-server", &servers.kafka, "--topic", &topic];
    let sent = servers.tool("kafka", &[&[class][..], &from, &read].concat());
    let mut sent: Vec<&str> = sent.lines().collect();
    let id = topic.rsplit('_').next().unwrap();
    let file = format!("/tidemill/{id}/files/raw/ecommerce_data_part1.csv");
    let put = servers.tool("hdfs", &["org.apache.hadoop.fs.FsShell", "-cat", &file]);
    let mut put: Vec<&str> = put.lines().skip(1).collect();
    assert_eq!(put.len(), 2_500);
    sent.sort_unstable();
    put.sort_unstable();
    assert!(sent == put, "each line of the file is a message");

    let counts = format!("/tidemill/{id}/counts");
    servers
        .tool("hbase", &["org.apache.hadoop.hbase.mapreduce.CellCounter", project.kv(), &counts]);
    let counts = format!("{counts}/part-*");
    let counts = servers.tool("hdfs", &["org.apache.hadoop.fs.FsShell", "-cat", &counts]);
    let valid = project.show("latest")["tasks"].as_array().unwrap().iter().find_map(|task| {
        task["outputs"]["valid"]["rows"].as_u64().filter(|_| task["task"] == "clean")
    });
    let rows = counts.lines().find_map(|line| line.strip_prefix("Total ROWS\t"));
    assert_eq!(rows.unwrap().trim(), valid.unwrap().to_string(), "{counts}");
}
