//! The Spark Connect server of a profile: where it is, and whether it can be worked with.

use super::Setting;
use super::check::Finding;
use super::check::server::{Server, blocking};
use orchestrator::attempt::TaskError;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

/// A Spark Connect server: the key `spark` of a profile. It has to reach the places of files and
/// tables by the same URLs as tidemill.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SparkSettings {
    /// Such as `sc://localhost:15002`; `sc://spark:443/;use_ssl=true` speaks TLS.
    #[schemars(regex(pattern = "^sc://"))]
    pub remote: String,
    /// The bearer token that the server asks for, by reference: `{env: NAME}` or `{file: PATH}`.
    /// Turns TLS on.
    #[serde(default)]
    pub token: Option<Setting>,
}

impl SparkSettings {
    /// Where to connect to, as `HOST:PORT`.
    pub(crate) fn address(&self) -> Result<String, TaskError> {
        const PORT: u16 = 15002;
        let url = Url::parse(&self.remote).ok().filter(|url| url.scheme() == "sc");
        let address = url.as_ref().and_then(|url| Some((url.host_str()?, url.port())));
        match address {
            Some((host, port)) => Ok(format!("{host}:{}", port.unwrap_or(PORT))),
            None => Err(TaskError::permanent(format!(
                "`{}` is no Spark Connect server; in `tidemill.yaml`, `spark.remote` is such as \
                 `sc://localhost:15002`",
                self.remote
            ))),
        }
    }

    /// What the client is given: `remote`, with the token in it.
    pub(crate) fn url(&self) -> Result<String, TaskError> {
        let refused = |why: &str| Err(TaskError::permanent(why));
        if self.remote.contains(";token=") {
            return refused(
                "`spark.remote` holds a token; give it as `token: {env: NAME}` or `{file: PATH}`",
            );
        }
        let token = match &self.token {
            None => return Ok(self.remote.clone()),
            Some(token @ (Setting::Env { .. } | Setting::File { .. })) => token.value(),
            Some(_) => {
                return refused("`spark.token` is given as `{env: NAME}` or `{file: PATH}`");
            }
        };
        let token = token.map_err(|why| TaskError::permanent(format!("`spark.token`: {why}")))?;
        let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        // Encoded as in a form, a blank would be `+`; a token has none.
        let path = if self.remote.contains("/;") { ";" } else { "/;" };
        Ok(format!("{}{path}token={token}", self.remote.trim_end_matches(['/', ';'])))
    }
}

pub(in crate::places) const SERVER: Server = Server {
    what: "spark",
    compose: "spark",
    option: "spark.remote",
    example: "sc://localhost:15002",
    process: "the Spark Connect server (`start-connect-server.sh`)",
    wrong_protocol: "give `spark.remote` the port of Spark Connect, 15002 by default: neither that \
                     of web pages (4040, 8080) nor that of a master (7077)",
    stuck: "the port takes connections but Spark Connect does not answer: is it the one of \
            `start-connect-server.sh`, and does its log say that the server has started?",
};

/// Asks for the version, by a session that is ended at once.
pub(in crate::places) async fn check(settings: SparkSettings) -> Vec<Finding> {
    vec![blocking(move || find(&settings)).await]
}

fn find(settings: &SparkSettings) -> Finding {
    let (address, url) = match (settings.address(), settings.url()) {
        (Ok(address), Ok(url)) => (address, url),
        (Err(error), _) | (_, Err(error)) => return SERVER.unusable(&error.to_string()),
    };
    // The client goes on for minutes with what is no Spark.
    let wrong = SERVER.dial(&address).or_else(|| SERVER.web_server(&address));
    wrong.unwrap_or_else(|| ask(&address, &url).at(&address))
}

#[cfg(feature = "spark")]
#[expect(clippy::result_large_err, reason = "the client's error is large")]
fn ask(address: &str, url: &str) -> Finding {
    use spark_connect::SparkSession;
    let begun = std::time::Instant::now();
    let session = SparkSession::builder().remote(url).get_or_create();
    let asked = session.and_then(|session| {
        let version = session.version()?;
        let latency = begun.elapsed();
        // The server would forget it by itself, in an hour.
        let _ = session.stop();
        Ok((version, latency))
    });
    match asked {
        Ok((version, latency)) => {
            let found = Finding::ok(SERVER.what, "takes queries of `engine: spark`").took(latency);
            Finding { version: Some(version), ..found }
        }
        Err(error) => SERVER.speaks_otherwise(address, &error.to_string()),
    }
}

#[cfg(not(feature = "spark"))]
fn ask(_address: &str, _url: &str) -> Finding {
    Finding::warn(
        SERVER.what,
        "something listens there, and this tidemill can't speak to it: it was built without Spark",
        "for `engine: spark`, build tidemill with `--features spark`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::check::State;

    fn settings(remote: &str, token: Option<Setting>) -> SparkSettings {
        SparkSettings { remote: remote.to_owned(), token }
    }

    #[test]
    fn tokens_are_given_by_reference() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "a;b=c\n").unwrap();
        let secret = || Some(Setting::File { file: file.clone() });
        for (remote, url) in [
            ("sc://a:1", "sc://a:1/;token=a%3Bb%3Dc"),
            ("sc://a:1/", "sc://a:1/;token=a%3Bb%3Dc"),
            ("sc://a:1/;user_id=x", "sc://a:1/;user_id=x;token=a%3Bb%3Dc"),
        ] {
            assert_eq!(settings(remote, secret()).url().unwrap(), url);
        }
        let refused = |settings: SparkSettings| settings.url().unwrap_err().to_string();
        assert!(refused(settings("sc://a", Some(Setting::Text("x".into())))).contains("env: NAME"));
        assert!(refused(settings("sc://a/;token=x", None)).contains("holds a token"));
    }

    #[test]
    fn addresses() {
        for (remote, address) in [
            ("sc://a:1", "a:1"),
            ("sc://a", "a:15002"),
            ("sc://a:1/;use_ssl=true", "a:1"),
            ("sc://[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(settings(remote, None).address().unwrap(), address);
        }
        for remote in ["localhost:15002", "http://a:1", "sc://", ""] {
            let error = settings(remote, None).address().unwrap_err().to_string();
            assert!(error.contains("`sc://localhost:15002`"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_has_its_remedy() {
        for (remote, words) in
            [("sc://127.0.0.1:9", "start-connect-server.sh"), ("127.0.0.1:9", "docs/profiles.md")]
        {
            let finding = check(settings(remote, None)).await.remove(0);
            assert_eq!(finding.state, State::Fail);
            assert!(finding.remedy.as_ref().unwrap().contains(words), "{finding:?}");
        }
    }

    #[cfg(feature = "spark")]
    #[tokio::test]
    async fn a_real_one() {
        let Ok(remote) = std::env::var("TIDEMILL_TEST_SPARK") else {
            eprintln!("skipped: no Spark; `cargo xtask test` starts one");
            return;
        };
        let finding = check(settings(&remote, None)).await.remove(0);
        assert_eq!(finding.state, State::Ok, "{finding:?}");
        assert!(finding.version.is_some_and(|version| version.starts_with('4')));
    }
}
