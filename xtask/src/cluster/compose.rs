//! Tests of `docker-compose.yml` and of what it refers to, as far as that goes without Docker.

use super::servers::{HADOOP, HBASE, KAFKA, SPARK};
use crate::{python, root, target_directory};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// It brings the schema of the specification along.
const CHECKER: (&str, &str) = ("check-jsonschema", "0.39.0");

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The services by name.
fn services(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    compose["services"].as_object().unwrap().iter().map(|(name, service)| (name.as_str(), service))
}

/// The texts in a list; none, where there is no list.
fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap())
}

/// Where it comes from and where it goes, of each volume of each service.
fn mounts(compose: &Value) -> Vec<(&str, &str)> {
    services(compose)
        .flat_map(|(_, service)| texts(&service["volumes"]))
        .map(|mount| mount.split_once(':').unwrap())
        .collect()
}

#[test]
fn it_keeps_to_the_specification() {
    if std::env::var_os("TIDEMILL_TEST_FAST").is_some() {
        eprintln!("left out: the schema of the specification comes from PyPI");
        return;
    }
    let programs = python::programs(&target_directory().unwrap(), CHECKER.0, CHECKER.1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("docker-compose.yml");
    let right = text("docker-compose.yml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(programs.join(CHECKER.0));
        command.args(["--builtin-schema", "vendor.compose-spec"]).arg(&file);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (good, words) = check(&right);
    assert!(good, "{words}");
    for (from, to) in [
        ("healthcheck:", "helthcheck:"),
        ("condition: service_healthy", "condition: healthy"),
        ("start_period:", "start_time:"),
        ("\nvolumes:", "\nvolume:"),
    ] {
        assert!(right.contains(from), "{from}");
        let (good, words) = check(&right.replace(from, to));
        let wrong = to.trim().trim_end_matches(':').rsplit(' ').next().unwrap();
        assert!(!good && words.contains(wrong), "{to}: {words}");
    }
}

#[test]
fn every_image_is_pinned_to_the_version_that_the_tests_run_with() {
    let compose = yaml("docker-compose.yml");
    let hbase = HBASE.version().trim_end_matches("-hadoop3");
    let image = |name, version| format!("{name}:{version}");
    let wanted = |service: &str| match service {
        "kafka" => image("apache/kafka", KAFKA.version()),
        "namenode" | "datanode" | "hdfs-directories" => image("apache/hadoop", HADOOP.version()),
        "hbase" | "thrift" => image("tidemill-hbase", hbase),
        "spark" => image("apache/spark", SPARK.version()),
        "tidemill" | "daemon" => image("tidemill", env!("CARGO_PKG_VERSION")),
        _ => image("debian", "bookworm-slim"),
    };
    for (name, service) in services(&compose) {
        let image = service["image"].as_str().unwrap();
        let rest = image.strip_prefix(&wanted(name)).unwrap_or_else(|| panic!("{name}: {image}"));
        assert!(rest.is_empty() || rest.starts_with('-'), "{name}: {image}");
    }
    for (path, wanted) in [
        ("docker/hbase/Dockerfile", format!("ARG HBASE_VERSION={hbase}\n")),
        ("Dockerfile", concat!("FROM rust:", env!("CARGO_PKG_RUST_VERSION"), ".").to_owned()),
    ] {
        let text = text(path);
        assert!(text.contains(&wanted), "{path}: no `{wanted}`");
        for from in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
            let tag = from.split(' ').next().unwrap().split_once(':').map_or("", |(_, tag)| tag);
            assert!(!tag.is_empty() && tag != "latest", "{path}: {from}");
        }
    }
}

#[test]
fn every_port_is_of_this_machine_alone() {
    let compose = yaml("docker-compose.yml");
    let ports: Vec<&str> =
        services(&compose).flat_map(|(_, service)| texts(&service["ports"])).collect();
    for port in &ports {
        let parts: Vec<&str> = port.split(':').collect();
        assert!(matches!(parts[..], ["127.0.0.1", host, inside] if host == inside), "{port}");
    }
    // What the profile `cluster` outside of the containers goes to.
    for port in ["9092", "9000", "9866", "9090", "15002", "5000"] {
        assert!(ports.iter().any(|published| published.ends_with(port)), "{port}");
    }
}

#[test]
fn whoever_is_waited_for_exists_and_can_become_ready() {
    let compose = yaml("docker-compose.yml");
    let mut waits = 0;
    for (name, service) in services(&compose) {
        for (awaited, wait) in service["depends_on"].as_object().into_iter().flatten() {
            let other = &compose["services"][awaited];
            let has_check = other["healthcheck"]["test"].is_array();
            let fits = match wait["condition"].as_str().unwrap() {
                "service_healthy" => has_check,
                "service_completed_successfully" => other.is_object() && !has_check,
                _ => other.is_object(),
            };
            assert!(fits, "{name} waits for {awaited}: {wait}");
            waits += 1;
        }
        // The script knows the server by its service's name.
        let check: Vec<&str> = texts(&service["healthcheck"]["test"]).collect();
        assert!(check.is_empty() || check == ["CMD", "bash", "/healthy.sh", name], "{check:?}");
    }
    assert!(waits > 8, "{waits}");
}

#[test]
fn what_is_mounted_and_copied_is_there() {
    let compose = yaml("docker-compose.yml");
    let declared = compose["volumes"].as_object().unwrap();
    let mounts = mounts(&compose);
    for (from, to) in &mounts {
        match from.strip_prefix("./") {
            Some(path) => {
                assert_eq!(to.ends_with(":ro"), root().join(path).is_file(), "{from}:{to}");
            }
            None => assert!(declared.contains_key(*from), "{from}"),
        }
    }
    for volume in declared.keys() {
        assert!(mounts.iter().any(|(from, _)| from == volume), "nobody uses `{volume}`");
    }
    let ignored = text(".dockerignore");
    for (file, context) in [("Dockerfile", ""), ("docker/hbase/Dockerfile", "docker/hbase")] {
        let text = text(file);
        let copies = text.lines().filter_map(|line| line.strip_prefix("COPY "));
        for copy in copies.filter(|copy| !copy.starts_with("--from")) {
            let (sources, _) = copy.rsplit_once(' ').unwrap();
            for source in sources.split(' ') {
                assert!(root().join(context).join(source).exists(), "{file}: {copy}");
                assert!(!ignored.lines().any(|line| line == source), "{source} is ignored");
            }
        }
    }
    // Cargo asks for the manifest of each member.
    let manifest = text("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    for member in serde_json::from_str::<Vec<String>>(members).unwrap() {
        assert!(text("Dockerfile").contains(&format!("COPY {member} {member}\n")), "{member}");
    }
}

#[test]
fn all_of_it_fits_a_machine_of_8_gb() {
    let compose = yaml("docker-compose.yml");
    let mebibytes = |(name, service): (&str, &Value)| -> u32 {
        let limit = service["mem_limit"].as_str().unwrap_or_else(|| panic!("{name}: no limit"));
        limit.strip_suffix('m').and_then(|number| number.parse().ok()).unwrap()
    };
    // Who is waited for until it has ended uses nothing any more.
    let ends = |name: &str| {
        services(&compose).any(|(_, service)| {
            service["depends_on"][name]["condition"] == "service_completed_successfully"
        })
    };
    let stays = services(&compose).filter(|(name, _)| !ends(name));
    let total: u32 = stays.map(mebibytes).sum();
    assert!(total <= 7 * 1024, "{total} MiB");
}

#[test]
fn its_profile_is_that_of_the_project_with_the_names_of_services() {
    let compose = yaml("docker-compose.yml");
    let outside = &yaml("tidemill.yaml")["profiles"]["cluster"];
    let inside = &yaml("docker/tidemill.yaml")["profiles"]["cluster"];
    let keys = |profile: &Value| profile.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(inside), keys(outside));
    for (place, settings) in inside.as_object().unwrap() {
        let addresses = settings.as_object().unwrap().values().filter_map(Value::as_str);
        for address in addresses {
            let address = address.split_once("://").map_or(address, |(_, rest)| rest);
            let host = address.split(':').next().unwrap();
            assert!(compose["services"][host].is_object(), "{place}: {host}");
        }
    }
}

#[test]
fn the_scripts_and_settings_can_be_read() {
    for script in ["docker/healthy.sh", "docker/hdfs-directories.sh"] {
        let status = Command::new("bash").arg("-n").arg(root().join(script)).status().unwrap();
        assert!(status.success(), "{script}");
    }
    let settings = text("docker/hbase/hbase-site.xml");
    let property = "  <property><name>";
    for line in settings.lines().filter(|line| line.starts_with(property)) {
        let (name, value) = line[property.len()..].split_once("</name><value>").unwrap();
        assert!(!name.contains(['<', '&']), "{line}");
        assert!(value.ends_with("</value></property>") && value.matches('<').count() == 2);
    }
}

/// Asks a server how it is, as Docker does.
fn is_healthy(server: &str, address: &str) -> bool {
    let (host, port) = address.rsplit_once(':').unwrap();
    let script = root().join(Path::new("docker/healthy.sh"));
    let mut command = Command::new("bash");
    command.arg(script).args([server, host, port]);
    command.output().unwrap().status.success()
}

#[test]
fn a_check_of_health_fails_where_nobody_listens_and_where_nobody_answers_rightly() {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let talker = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(&[b'x'; 64]);
        }
    });
    for server in ["kafka", "namenode", "datanode", "hbase", "thrift", "spark"] {
        assert!(!is_healthy(server, "127.0.0.1:1"), "{server}");
        assert!(!is_healthy(server, &talker), "{server}");
    }
}

#[test]
fn a_check_of_health_succeeds_with_the_real_server() {
    for (server, variable) in [
        ("kafka", "TIDEMILL_TEST_KAFKA"),
        ("thrift", "TIDEMILL_TEST_HBASE"),
        ("spark", "TIDEMILL_TEST_SPARK"),
    ] {
        match std::env::var(variable) {
            Ok(url) => assert!(is_healthy(server, url.trim_start_matches("sc://")), "{server}"),
            Err(_) => eprintln!("left out: `{variable}` names no server"),
        }
    }
}
