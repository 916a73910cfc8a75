//! `tidemill doctor`: what it finds, and what it says to do.

use crate::project::{Project, Said};
use crate::servers::Servers;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;

fn findings(said: &Said) -> Vec<Value> {
    serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"))
}

/// The state, what was found and the remedy of what was checked.
fn finding<'a>(findings: &'a [Value], what: &str) -> (&'a str, &'a str, &'a str) {
    let found = findings.iter().find(|finding| finding["what"] == what);
    let found = found.unwrap_or_else(|| panic!("no {what} in {findings:#?}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default();
    (text("state"), text("found"), text("remedy"))
}

#[test]
fn a_project_without_servers_is_well_and_stays_untouched() {
    let project = Project::shipped();
    let said = project.ok(&["doctor"]);
    for words in ["machine", "data directory", "is made by the first run", "profile embedded"] {
        assert!(said.out.contains(words), "{words} is not in:\n{}", said.out);
    }
    assert!(!project.data().exists());
    let path = project.data().display().to_string();
    let fits = |line: &&str| line.chars().count() <= 100 || line.contains(&path);
    assert!(said.out.lines().all(|line| fits(&line)), "{}", said.out);
    project.ok(&["run", "pipelines/hello.yaml"]);
    let findings = findings(&project.ok(&["doctor", "-o", "json"]));
    assert!(findings.iter().all(|finding| finding["state"] != "fail"), "{findings:#?}");
    let store = finding(&findings, "store").1;
    assert!(store.starts_with("store.db has format ") && store.ends_with(", 1 runs"), "{store}");
    for what in ["disk", "memory", "open files", "clock", "project file", "embedded"] {
        finding(&findings, what);
    }
}

#[test]
fn a_wrong_project_file_and_profile_are_findings() {
    let project = Project::new();
    project.write("tidemill.yaml", "data_dir: data\nprofiles: {far: {kafak: {}}}\n");
    let check = |profile: &str, found: &str, remedy: &str| {
        let said = project.tidemill(&["doctor", "--profile", profile, "-o", "json"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        let findings = findings(&said);
        let (state, is_found, has_remedy) = finding(&findings, "profile");
        assert_eq!(state, "fail");
        assert!(is_found.contains(found) && has_remedy.contains(remedy), "{findings:#?}");
    };
    check("none", "there is no profile `none`", "`embedded`");
    check("far", "`kafak`", "docs/profiles.md");
    project.write("tidemill.yaml", "data_dir: data\nprofils: {}\n");
    let said = project.tidemill(&["doctor"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("`profils`") && said.out.contains("disk"), "{}", said.out);
}

#[test]
fn a_data_directory_that_is_no_directory() {
    let project = Project::new();
    project.write("data", "");
    let said = project.tidemill(&["doctor", "-o", "json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(finding(&findings(&said), "data directory").2.contains("--data-dir"));
}

/// A web server that answers every request, as the pages of a service do.
fn web_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    port
}

const SERVERS: [&str; 4] = ["kafka", "hdfs", "hbase", "spark"];

/// A port at which nothing listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn profile(kafka: u16, hdfs: u16, hbase: u16, spark: u16) -> String {
    format!(
        "data_dir: data
profiles:
  cluster:
    kafka: {{brokers: '127.0.0.1:{kafka}'}}
    hdfs: {{url: 'hdfs://127.0.0.1:{hdfs}/tidemill'}}
    hbase: {{thrift: '127.0.0.1:{hbase}'}}
    spark: {{remote: 'sc://127.0.0.1:{spark}'}}
"
    )
}

fn all_fail(project: &Project) -> Vec<Value> {
    let said = project.tidemill(&["doctor", "--profile", "cluster", "-o", "json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let findings = findings(&said);
    for what in SERVERS {
        assert_eq!(finding(&findings, what).0, "fail", "{findings:#?}");
    }
    findings
}

#[test]
fn servers_that_are_not_up() {
    let project = Project::new();
    project.write("tidemill.yaml", &profile(free_port(), free_port(), free_port(), free_port()));
    let findings = all_fail(&project);
    for what in SERVERS {
        let (_, found, remedy) = finding(&findings, what);
        assert!(found.contains("refused"), "{found}");
        assert!(remedy.contains(&format!("`cargo xtask cluster up {what}`")), "{remedy}");
        let compose = include_str!("../../docker-compose.yml");
        let (_, services) = remedy.split_once("`docker compose up -d ").unwrap();
        for service in services.split('`').next().unwrap().split(' ') {
            assert!(compose.contains(&format!("\n  {service}:\n")), "{remedy}");
        }
    }
}

#[test]
fn ports_of_web_pages() {
    let project = Project::new();
    project
        .write("tidemill.yaml", &profile(web_server(), web_server(), web_server(), web_server()));
    let findings = all_fail(&project);
    let words = ["9092", "9870", "hbase thrift start", "15002"];
    for (what, words) in SERVERS.into_iter().zip(words) {
        let (_, found, remedy) = finding(&findings, what);
        assert!(found.contains("a web server answers there"), "{what}: {found}");
        assert!(remedy.contains(words), "{what}: {remedy}");
    }
}

#[test]
fn real_servers_are_well() {
    let Some(servers) = Servers::find() else { return };
    let project = Project::on(&servers);
    let said = project.ok(&["doctor", "--profile", "cluster"]);
    for words in ["profile cluster", "transactions work", "writable for", "tables"] {
        assert!(said.out.contains(words), "{words} is not in:\n{}", said.out);
    }
    let findings = findings(&project.ok(&["doctor", "-o", "json"]));
    for what in SERVERS {
        let found = findings.iter().find(|finding| finding["what"] == what).unwrap();
        assert_eq!(found["state"], "ok", "{found}");
        assert!(found["latency_ms"].is_u64() && found["address"].is_string(), "{found}");
    }
}

#[test]
fn servers_in_the_place_of_others() {
    let Some(servers) = Servers::find() else { return };
    let project = Project::new();
    let port = |address: &str| address.rsplit(':').next().unwrap().parse().unwrap();
    let (kafka, hdfs, hbase) = (port(&servers.kafka), port(&servers.hdfs), port(&servers.hbase));
    project.write("tidemill.yaml", &profile(port(&servers.spark), hbase, kafka, hdfs));
    for finding in all_fail(&project).iter().filter(|finding| finding["state"] == "fail") {
        assert!(finding["remedy"].is_string(), "{finding}");
    }
}
