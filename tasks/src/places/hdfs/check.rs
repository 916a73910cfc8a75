//! Whether an HDFS can be worked with.

use super::errors::Failure;
use super::{Hdfs, HdfsSettings, once, settings};
use crate::places::check::server::{Server, blocking, get};
use crate::places::check::{Finding, size};
use bytes::Bytes;
use hdfs_native::WriteOptions;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use url::Url;
use uuid::Uuid;

pub(in crate::places) const SERVER: Server = Server {
    what: "hdfs",
    compose: "namenode datanode",
    option: "hdfs.url",
    example: "hdfs://namenode:9000/tidemill",
    process: "the NameNode",
    wrong_protocol: "give `hdfs.url` the NameNode's RPC port, that of `fs.defaultFS` in \
                     core-site.xml: 8020 or 9000; 9870 is that of its web pages",
    stuck: "is the NameNode frozen or still starting? its log and `hdfs dfsadmin -report` tell",
};

/// The NameNode's part of the time that the whole check has.
const ANSWER: Duration = Duration::from_secs(4);
const WRITTEN: &[u8] = b"written by tidemill doctor\n";
/// Kerberos refuses more than five minutes; tables and lineage only look wrong.
const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Asks the NameNode, and has a DataNode keep a small file for a moment.
pub(in crate::places) async fn check(settings: HdfsSettings) -> Vec<Finding> {
    if let Err(error) = settings::values(&settings.options) {
        return vec![SERVER.unusable(&error.to_string()).at(&settings.url)];
    }
    let hdfs = match Hdfs::new(&settings, Duration::ZERO) {
        Ok(hdfs) => hdfs,
        Err(error) => {
            let remedy = format!("write `hdfs.url` as in `{}`", SERVER.example);
            return vec![Finding::fail(SERVER.what, error.to_string(), remedy).at(&settings.url)];
        }
    };
    // Without a port it may be a name service.
    let address = hdfs.root.host_str().zip(hdfs.root.port());
    let address = address.map(|(host, port)| format!("{host}:{port}"));
    if let Some(address) = address.clone()
        && let Some(finding) = blocking(move || SERVER.dial(&address)).await
    {
        return vec![finding.at(&settings.url)];
    }
    let begun = Instant::now();
    // Something that is no NameNode may keep silent.
    let asked = tokio::time::timeout(ANSWER, once(hdfs.remote.client.get_file_info("/"))).await;
    if let Err(failure) = asked.unwrap_or(Err(Failure::TimedOut)) {
        let finding = refused(&failure, &settings.url, address).await;
        return vec![finding.at(&settings.url)];
    }
    let latency = begun.elapsed();
    let (kept, report) = tokio::join!(keep(&hdfs), report(&hdfs.root, &settings));
    let mut findings = Vec::new();
    let mut finding = match &kept {
        Ok(kept) => Finding::ok(SERVER.what, format!("writable for `{}`", kept.owner)),
        Err(failure) => not_kept(failure, hdfs.root.path()),
    };
    if let Some(report) = &report {
        finding.found = format!("{}; {}", finding.found, report.told());
        finding.version.clone_from(&report.version);
    }
    findings.push(finding.at(&settings.url).took(latency));
    findings.extend(kept.ok().and_then(|kept| clock(kept.ahead)));
    findings
}

/// What became of the small file.
struct Kept {
    /// Whom HDFS takes tidemill for.
    owner: String,
    /// By how much the NameNode's clock is ahead of that of this machine.
    ahead: SignedDuration,
}

/// Writes a file, reads it and removes it. What it makes of the data directory stays.
async fn keep(hdfs: &Hdfs) -> Result<Kept, Failure> {
    let client = &hdfs.remote.client;
    let path = format!("{}.doctor.{}", hdfs.root.path(), Uuid::new_v4().simple());
    let kept = async {
        let mut writer = once(client.create(&path, WriteOptions::default())).await?;
        once(writer.write(Bytes::from_static(WRITTEN))).await?;
        once(writer.close()).await?;
        let now = Timestamp::now();
        let status = once(client.get_file_info(&path)).await?;
        let reader = once(client.read(&path)).await?;
        once(reader.read_range(0, WRITTEN.len())).await?;
        // The time at which it was closed, to the millisecond.
        let there = i64::try_from(status.modification_time).unwrap_or_default();
        let there = Timestamp::from_millisecond(there).unwrap_or(now);
        Ok(Kept { owner: status.owner, ahead: there.duration_since(now) })
    };
    let kept = kept.await;
    // Also what could not be finished.
    let _ = once(client.delete(&path, false)).await;
    kept
}

/// Why the NameNode has not answered the simplest question.
async fn refused(failure: &Failure, url: &str, address: Option<String>) -> Finding {
    match (failure.kind(), address) {
        (ErrorKind::PermissionDenied | ErrorKind::ResourceBusy, _) => not_kept(failure, url),
        (_, Some(address)) => {
            let said = failure.to_string();
            blocking(move || SERVER.speaks_otherwise(&address, &said)).await
        }
        (_, None) => Finding::fail(
            SERVER.what,
            failure.to_string(),
            "a URL without a port means a name service: `config_dir` or `options` must describe it \
             (dfs.nameservices, dfs.ha.namenodes.*, dfs.namenode.rpc-address.*)",
        ),
    }
}

/// Why the NameNode, which answers, could not take a file.
fn not_kept(failure: &Failure, directory: &str) -> Finding {
    let said = failure.to_string();
    let remedy = match failure.kind() {
        ErrorKind::PermissionDenied => format!(
            "let an administrator run `hdfs dfs -mkdir -p {directory}` and `hdfs dfs -chown USER \
             {directory}`, or act as another user by the environment variable HADOOP_USER_NAME"
        ),
        ErrorKind::ResourceBusy if said.contains("SafeMode") => {
            "a NameNode that starts leaves safe mode when its DataNodes have reported; `hdfs dfsadmin \
             -report` shows them, `hdfs dfsadmin -safemode leave` forces it"
                .to_owned()
        }
        ErrorKind::QuotaExceeded => {
            format!("raise or clear the quota; `hdfs dfs -count -q -h {directory}` shows it")
        }
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::TimedOut => {
            "the NameNode answers, its DataNodes do not: `hdfs dfsadmin -report` shows the live ones \
             and their addresses, which must be reachable from here; where they run in Docker, run \
             tidemill in their network"
                .to_owned()
        }
        _ => format!("look at the NameNode's log, and try `hdfs dfs -touchz {directory}/x`"),
    };
    Finding::fail(SERVER.what, said, remedy)
}

/// What a clock that is wrong there or here does.
fn clock(ahead: SignedDuration) -> Option<Finding> {
    if ahead.abs() <= SKEW {
        return None;
    }
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let found = format!("the NameNode's is {} s {way} this machine's", ahead.abs().as_secs());
    let remedy = "set both clocks by NTP: Kerberos refuses tickets, and times of files mislead";
    Some(Finding::warn("hdfs clock", found, remedy))
}

/// What the NameNode's web server tells beside; nothing needs it.
#[derive(Debug, PartialEq)]
struct Report {
    version: Option<String>,
    free: u64,
    all: u64,
    live: usize,
}

impl Report {
    fn told(&self) -> String {
        let (free, all) = (size(self.free), size(self.all));
        format!("{free} of {all} free; live DataNodes: {}", self.live)
    }
}

/// Asks where `dfs.namenode.http-address` says, else at its default port.
async fn report(root: &Url, settings: &HdfsSettings) -> Option<Report> {
    const QUESTION: &str = "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo";
    let options = settings::values(&settings.options).ok()?;
    let address = match options.get("dfs.namenode.http-address") {
        Some(address) => address.clone(),
        None => format!("{}:9870", root.host_str()?),
    };
    parse(&blocking(move || get(&address, QUESTION)).await.ok()?)
}

fn parse(answer: &str) -> Option<Report> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let body: Value = serde_json::from_str(body).ok()?;
    let bean = &body["beans"][0];
    // A map from each node to what is known of it, as text.
    let live: Value = serde_json::from_str(bean["LiveNodes"].as_str()?).ok()?;
    Some(Report {
        version: bean["SoftwareVersion"].as_str().map(str::to_owned),
        free: bean["Free"].as_u64()?,
        all: bean["Total"].as_u64()?,
        live: live.as_object()?.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::check::State;
    use hdfs_native::HdfsError;
    use std::collections::BTreeMap;

    fn settings(url: &str) -> HdfsSettings {
        HdfsSettings { url: url.into(), config_dir: None, options: BTreeMap::new() }
    }

    #[test]
    fn each_failure_has_its_remedy() {
        let rpc = |class: &str, text: &str, remedy: &str| {
            let failure = Failure::Hdfs(HdfsError::RPCError(class.into(), text.into()));
            let finding = not_kept(&failure, "/data");
            assert!(finding.remedy.as_ref().unwrap().contains(remedy), "{finding:?}");
        };
        rpc("a.AccessControlException", "Permission denied: user=eve", "HADOOP_USER_NAME");
        rpc("a.SafeModeException", "Name node is in safe mode.", "-safemode leave");
        rpc("a.DSQuotaExceededException", "The DiskSpace quota", "-count -q -h /data");
        rpc("java.io.IOException", "could only be written to 0 of the 1", "reachable from here");
        rpc("a.Other", "something", "-touchz /data/x");
    }

    #[test]
    fn a_clock_that_is_off() {
        assert_eq!(clock(SignedDuration::from_secs(-30)), None);
        let found = |seconds| clock(SignedDuration::from_secs(seconds)).unwrap().found;
        assert_eq!(found(-90), "the NameNode's is 90 s behind this machine's");
        assert_eq!(found(31), "the NameNode's is 31 s ahead of this machine's");
    }

    #[test]
    fn what_the_web_server_tells() {
        let answer = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n{\"beans\": [{\"SoftwareVersion\": \"3.4.2\",\
                      \"Free\": 47000000000, \"Total\": 252000000000, \
                      \"LiveNodes\": \"{\\\"a:9866\\\": {}}\"}]}";
        let report = parse(answer).unwrap();
        assert_eq!(report.told(), "47.0 GB of 252.0 GB free; live DataNodes: 1");
        assert_eq!(report.version.unwrap(), "3.4.2");
        assert_eq!(parse("HTTP/1.1 404 Not Found\r\n\r\n<html>"), None);
    }

    #[tokio::test]
    async fn wrong_addresses() {
        let finding = check(settings("http://127.0.0.1:9870/")).await.remove(0);
        assert!(finding.remedy.unwrap().contains("hdfs://namenode:9000"));
        let finding = check(settings("hdfs://127.0.0.1:9/x")).await.remove(0);
        assert!(finding.found.contains("refused"), "{finding:?}");
        let mut secret = settings("hdfs://127.0.0.1:9/x");
        let setting = serde_json::from_value(serde_json::json!({"env": "TIDEMILL_NONE"})).unwrap();
        secret.options.insert("a.password".into(), setting);
        let finding = check(secret).await.remove(0);
        assert!(finding.found.contains("`TIDEMILL_NONE` is not set"), "{finding:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_real_one() {
        let Ok(server) = std::env::var("TIDEMILL_TEST_HDFS") else {
            eprintln!("skipped: no HDFS; `cargo xtask test` starts one");
            return;
        };
        let directory = format!("/tidemill/tests/doctor-{}", Uuid::now_v7().simple());
        let url = format!("{server}{directory}");
        let findings = check(settings(&url)).await;
        assert!(findings.iter().all(|finding| finding.state == State::Ok), "{findings:?}");
        assert!(findings[0].found.contains("writable for `"), "{findings:?}");
        let hdfs = Hdfs::new(&settings(&url), Duration::ZERO).unwrap();
        let left = hdfs.remote.client.list_status(&directory, true).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}
