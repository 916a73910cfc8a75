//! What a profile in `tidemill.yaml` says about its servers.

use super::hdfs::HdfsSettings;
use super::kv::HbaseSettings;
use super::spark::SparkSettings;
use super::topics::KafkaSettings;
use orchestrator::attempt::{Profile, TaskError};
use orchestrator::duration::Duration;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The servers of a profile. Datasets of a place that is not named stay in the data directory.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileSettings {
    /// `topic:` datasets.
    pub kafka: Option<KafkaSettings>,
    /// `file:` and `table:` datasets.
    pub hdfs: Option<HdfsSettings>,
    /// `kv:` datasets.
    pub hbase: Option<HbaseSettings>,
    /// How long a task waits for a server that is away before its attempt fails: `2m` if it is left
    /// out. The slowest to come back is HBase, 50 s after it was killed.
    pub patience: Option<Duration>,
    /// What computes etl tasks with `engine: spark`.
    pub spark: Option<SparkSettings>,
}

impl ProfileSettings {
    pub fn of(profile: &Profile) -> Result<Self, TaskError> {
        let settings = Value::Object(profile.settings.clone());
        serde_path_to_error::deserialize(settings).map_err(|error| {
            let path = error.path().to_string();
            TaskError::permanent(format!(
                "the profile `{}` in `tidemill.yaml`: `{path}`: {}",
                profile.name,
                error.into_inner()
            ))
        })
    }
}

/// One further setting of a client: its value, or where that is kept if it is a secret.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Setting {
    Text(String),
    Number(i64),
    Flag(bool),
    /// The value of an environment variable.
    Env {
        env: String,
    },
    /// The text of a file, without the line break at its end.
    File {
        file: PathBuf,
    },
}

impl Setting {
    pub(crate) fn value(&self) -> Result<String, String> {
        match self {
            Setting::Text(text) => Ok(text.clone()),
            Setting::Number(number) => Ok(number.to_string()),
            Setting::Flag(flag) => Ok(flag.to_string()),
            Setting::Env { env } => std::env::var(env)
                .map_err(|_| format!("the environment variable `{env}` is not set")),
            Setting::File { file } => std::fs::read_to_string(file)
                .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|error| format!("can't read `{}`: {error}", file.display())),
        }
    }
}

/// Settings by the client's own names, with their values.
pub(super) fn values(
    settings: &BTreeMap<String, Setting>,
) -> Result<BTreeMap<String, String>, TaskError> {
    let value = |(name, setting): (&String, &Setting)| match setting.value() {
        Ok(value) => Ok((name.clone(), value)),
        Err(why) => Err(TaskError::permanent(format!("the setting `{name}`: {why}"))),
    };
    settings.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(of: Value) -> Result<ProfileSettings, TaskError> {
        let Value::Object(settings) = of else { panic!("not an object") };
        ProfileSettings::of(&Profile { name: "cluster".into(), settings })
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        let check = |of: Value, words: &[&str]| {
            let error = settings(of).unwrap_err().to_string();
            words.iter().for_each(|word| assert!(error.contains(word), "{error}"));
        };
        check(json!({"kafak": {}}), &["`cluster`", "kafak", "`kafka`"]);
        check(json!({"kafka": {"broker": "a:1"}}), &["`kafka.broker`", "brokers"]);
        check(json!({"hdfs": {}}), &["`hdfs`", "url"]);
        check(json!({"spark": {"url": "sc://a"}}), &["`spark.url`", "`remote`"]);
    }

    #[test]
    fn secrets_are_read_where_they_are_used_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, "hunter2\n").unwrap();
        let options: BTreeMap<String, Setting> = serde_json::from_value(json!({
            "a": "text", "b": 5, "c": true, "sasl.password": {"file": file}
        }))
        .unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
        let values = values(&options).unwrap();
        let values: Vec<&str> = values.values().map(String::as_str).collect();
        assert_eq!(values, ["text", "5", "true", "hunter2"]);
        let missing = BTreeMap::from([("p".into(), Setting::Env { env: "TIDEMILL_NONE".into() })]);
        let error = super::values(&missing).unwrap_err().to_string();
        assert_eq!(error, "the setting `p`: the environment variable `TIDEMILL_NONE` is not set");
    }
}
