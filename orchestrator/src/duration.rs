//! Durations as people write them: `500ms`, `2s`, `30m`, `1h30m`, `2d`.

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// A span of time that is not negative, for the options of task kinds: a text in YAML.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub SignedDuration);

impl Duration {
    pub fn to_std(self) -> std::time::Duration {
        self.0.unsigned_abs()
    }
}

/// Reads a duration. A day has 24 hours; months and years have no fixed length and are refused.
pub fn parse(text: &str) -> Result<SignedDuration, String> {
    let bad = || format!("`{text}` is not a duration; write 500ms, 2s, 30m, 1h30m or 2d");
    if text.parse::<f64>().is_ok() {
        return Err(format!("`{text}` has no unit; write {text}s, {text}m or {text}h"));
    }
    // `ago` would make it negative.
    let starts_well = text.starts_with(|c: char| c.is_ascii_digit()) && !text.ends_with("ago");
    let span: Span = text.parse().ok().filter(|_| starts_well).ok_or_else(bad)?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(format!("`{text}` has no fixed length; write it in days, hours or less"));
    }
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| bad())
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Duration).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#}", self.0))
    }
}

impl schemars::JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "duration", "examples": ["30s"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match parse(text) {
            Ok(duration) => format!("{duration:#}"),
            Err(error) => error,
        };
        assert!(got.contains(expect), "{text}: {got}");
    }

    #[test]
    fn durations() {
        check("500ms", "500ms");
        check("2s", "2s");
        check("1h30m", "1h 30m");
        check("2d", "48h");
        check("1w", "168h");
        check("1.5h", "1h 30m");
        check("0s", "0s");
        check("90", "has no unit");
        check("", "is not a duration");
        check("soon", "is not a duration");
        check("-5s", "is not a duration");
        check("5s ago", "is not a duration");
        check("1mo", "no fixed length");
        check("99999999999999d", "is not a duration");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let duration = Duration(SignedDuration::from_millis(5_400_250));
        let text = serde_json::to_string(&duration).unwrap();
        assert_eq!(text, "\"1h 30m 250ms\"");
        assert_eq!(serde_json::from_str::<Duration>(&text).unwrap(), duration);
    }
}
