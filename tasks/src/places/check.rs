//! `tidemill doctor`: whether this machine and the places of a profile can do their work, and what
//! to do where they can't.

mod machine;
pub(in crate::places) mod server;

use super::settings::ProfileSettings;
use super::{hdfs, kv, spark, topics};
use futures::future::{BoxFuture, join_all};
use orchestrator::attempt::Profile;
use serde::Serialize;
use server::Server;
use std::path::Path;
use std::time::Duration;

pub use machine::check as check_machine;
pub(in crate::places) use machine::size;

/// How long the check of one server may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How a thing that was checked is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// Runs work, but not as they should, or not for long.
    Warn,
    /// Runs will fail.
    Fail,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub state: State,
    /// Such as `disk` or `kafka`.
    pub what: &'static str,
    /// Where the server is, as the profile says.
    pub address: Option<String>,
    pub found: String,
    /// The server's version, where its protocol tells it.
    pub version: Option<String>,
    /// How long the server took for one simple question.
    pub latency_ms: Option<u64>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    pub fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Finding {
            state: State::Ok,
            what,
            address: None,
            found: found.into(),
            version: None,
            latency_ms: None,
            remedy: None,
        }
    }

    pub fn warn(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Finding { state: State::Warn, remedy, ..Finding::ok(what, found) }
    }

    pub fn fail(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { state: State::Fail, ..Finding::warn(what, found, remedy) }
    }

    pub(in crate::places) fn at(mut self, address: &str) -> Self {
        self.address = Some(address.to_owned());
        self
    }

    pub(in crate::places) fn took(mut self, latency: Duration) -> Self {
        self.latency_ms = Some(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

/// Checks all servers of a profile at the same time. Must be called in a tokio runtime; threads
/// that still wait for a server may outlive it.
pub async fn check_servers(profile: &Profile, data_dir: &Path) -> Vec<Finding> {
    let settings = match ProfileSettings::of(profile) {
        Ok(settings) => settings,
        Err(error) => {
            let remedy = "correct `tidemill.yaml`; docs/profiles.md has every option";
            return vec![Finding::fail("profile", error.to_string(), remedy)];
        }
    };
    let mut here = vec!["report pages"];
    let mut checks: Vec<BoxFuture<'_, Vec<Finding>>> = Vec::new();
    match settings.kafka {
        Some(kafka) => checks.push(Box::pin(limited(&topics::KAFKA, topics::check_kafka(kafka)))),
        None => here.push("topics"),
    }
    match settings.hdfs {
        Some(hdfs) => checks.push(Box::pin(limited(&hdfs::SERVER, hdfs::check(hdfs)))),
        None => here.extend(["files", "tables"]),
    }
    match settings.hbase {
        Some(hbase) => checks.push(Box::pin(limited(&kv::HBASE, kv::check_hbase(hbase)))),
        None => here.push("key-value tables"),
    }
    if let Some(spark) = settings.spark {
        checks.push(Box::pin(limited(&spark::SERVER, spark::check(spark))));
    }
    let kept = format!("{} are kept in {}", here.join(", "), data_dir.display());
    let mut findings = vec![Finding::ok("embedded", kept)];
    findings.extend(join_all(checks).await.into_iter().flatten());
    findings
}

/// A check that ends in time.
async fn limited(
    server: &Server,
    check: impl Future<Output = Vec<Finding>> + Send,
) -> Vec<Finding> {
    match tokio::time::timeout(LIMIT, check).await {
        Ok(findings) => findings,
        Err(_) => {
            let found = format!("no answer within {} s", LIMIT.as_secs());
            vec![Finding::fail(server.what, found, server.stuck)]
        }
    }
}
