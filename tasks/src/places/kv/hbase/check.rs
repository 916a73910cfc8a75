//! Whether an HBase can be worked with.

use super::connection::Connection;
use super::{HbaseSettings, text};
use crate::places::check::Finding;
use crate::places::check::server::{Server, blocking};
use hbase_thrift::hbase::THbaseSyncClient;
use orchestrator::attempt::TaskError;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

pub(in crate::places) const SERVER: Server = Server {
    what: "hbase",
    compose: "thrift",
    option: "hbase.thrift",
    example: "localhost:9090",
    process: "the Thrift server (`hbase thrift start`)",
    wrong_protocol: "give `hbase.thrift` the port of `hbase thrift start`, 9090 by default: neither \
                     that of web pages (9095, 16010) nor `thrift2`; and start it without \
                     `--framed`, `--compact` and `-nonblocking`",
    stuck: "the Thrift server takes connections but HBase behind it does not answer: are ZooKeeper, \
            the master and a region server up? `echo status | hbase shell` tells",
};

/// The part of one question in the time that the whole check has.
const ANSWER: Duration = Duration::from_secs(5);
/// Where HBase 2 keeps the names of its namespaces.
const NAMESPACES: &str = "hbase:namespace";

/// Asks for the tables, and for the namespace if there is one.
pub(in crate::places) async fn check(settings: HbaseSettings) -> Vec<Finding> {
    let address = settings.thrift.clone();
    let findings = blocking(move || find(&settings)).await;
    findings.into_iter().map(|finding| finding.at(&address)).collect()
}

fn find(settings: &HbaseSettings) -> Vec<Finding> {
    if let Some(finding) = SERVER.dial(&settings.thrift) {
        return vec![finding];
    }
    let mut connection =
        Connection::new(&settings.thrift, Duration::ZERO, CancellationToken::new())
            .answering_within(ANSWER);
    let begun = Instant::now();
    let tables = match connection.call("can't list the tables", |c| c.get_table_names()) {
        Ok(tables) => tables.into_iter().map(text).collect::<Vec<_>>(),
        Err(error) => return vec![unanswered(&settings.thrift, &error)],
    };
    let latency = begun.elapsed();
    let own = |name: &&String| match &settings.namespace {
        Some(namespace) => name.split_once(':').is_some_and(|(found, _)| found == namespace),
        None => !name.contains(':'),
    };
    let count = tables.iter().filter(own).count();
    let found = match &settings.namespace {
        Some(namespace) => format!("{count} tables in the namespace `{namespace}`"),
        None => format!("{count} tables"),
    };
    let mut findings = vec![Finding::ok(SERVER.what, found).took(latency)];
    if let Some(namespace) = settings.namespace.as_ref().filter(|_| count == 0) {
        findings.extend(no_namespace(namespace, exists(&mut connection, namespace)));
    }
    findings
}

/// Whether there is a namespace, which Thrift has no question for.
fn exists(connection: &mut Connection, namespace: &str) -> Result<bool, TaskError> {
    let row = connection.call("can't read the namespaces", |client| {
        client.get_row(NAMESPACES.into(), namespace.into(), BTreeMap::new())
    })?;
    Ok(!row.is_empty())
}

fn no_namespace(namespace: &str, exists: Result<bool, TaskError>) -> Option<Finding> {
    let remedy = format!(
        "make it: `echo \"create_namespace '{namespace}'\" | hbase shell`, or correct \
         `hbase.namespace` in tidemill.yaml"
    );
    match exists {
        Ok(true) => None,
        Ok(false) => {
            let found = format!("there is no namespace `{namespace}`");
            Some(Finding::fail(SERVER.what, found, remedy))
        }
        Err(error) => {
            let found = format!("can't tell whether there is a namespace `{namespace}`: {error}");
            Some(Finding::warn(SERVER.what, found, remedy))
        }
    }
}

/// Why something that takes connections did not list its tables.
fn unanswered(address: &str, error: &TaskError) -> Finding {
    let said = error.to_string();
    let behind = ["Zookeeper", "Connection refused", "Call to", "RetriesExhausted", "MasterNot"];
    if behind.iter().any(|word| said.contains(word)) {
        return Finding::fail(SERVER.what, said, SERVER.stuck);
    }
    if said.contains("AccessDenied") {
        let remedy =
            "let an administrator `grant` the user of the Thrift server rights on the tables";
        return Finding::fail(SERVER.what, said, remedy);
    }
    SERVER.speaks_otherwise(address, &said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::check::State;

    fn settings(thrift: &str, namespace: Option<&str>) -> HbaseSettings {
        HbaseSettings {
            thrift: thrift.into(),
            namespace: namespace.map(str::to_owned),
            batch_rows: 1,
            connections: 1,
        }
    }

    #[test]
    fn each_failure_has_its_remedy() {
        let check = |said: &str, remedy: &str| {
            let finding = unanswered("127.0.0.1:9", &TaskError::transient(said));
            assert!(finding.remedy.as_ref().unwrap().contains(remedy), "{finding:?}");
        };
        check("HBase: Zookeeper GET could not be completed in 10000 ms", "a region server up?");
        check("HBase: AccessDeniedException: no", "`grant`");
        check("HBase: Invalid method name: 'getTableNames'", "nor `thrift2`");
        assert_eq!(no_namespace("shop", Ok(true)), None);
        let missing = no_namespace("shop", Ok(false)).unwrap();
        assert!(missing.remedy.unwrap().contains("create_namespace 'shop'"));
        let unknown = no_namespace("shop", Err(TaskError::permanent("no such table"))).unwrap();
        assert_eq!(unknown.state, State::Warn);
    }

    #[tokio::test]
    async fn a_wrong_port() {
        let finding = check(settings("127.0.0.1:9", None)).await.remove(0);
        assert!(finding.remedy.as_ref().unwrap().contains("`hbase thrift start`"), "{finding:?}");
    }

    #[tokio::test]
    async fn a_real_one() {
        let Ok(thrift) = std::env::var("TIDEMILL_TEST_HBASE") else {
            eprintln!("skipped: no HBase; `cargo xtask test` starts one");
            return;
        };
        for namespace in [None, Some("default")] {
            let findings = check(settings(&thrift, namespace)).await;
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].state, State::Ok, "{findings:?}");
        }
        let findings = check(settings(&thrift, Some("no_such_namespace"))).await;
        assert_eq!(findings[1].state, State::Fail, "{findings:?}");
        assert!(findings[1].found.contains("no namespace `no_such_namespace`"), "{findings:?}");
    }
}
