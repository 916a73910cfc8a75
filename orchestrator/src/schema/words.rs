//! What people may have meant: near misses, and the words of other tools.

/// What other tools call the keys of a pipeline. A word may mean several keys: the first that the
/// mapping in question knows is meant.
const OTHER_WORDS: &[(&str, &[&str])] = &[
    ("after", &["needs"]),
    ("args", &["with"]),
    ("arguments", &["with", "params"]),
    ("backfill", &["catch_up"]),
    ("catchup", &["catch_up"]),
    ("choices", &["enum"]),
    ("comment", &["description"]),
    ("concurrency", &["max_active_runs"]),
    ("condition", &["when"]),
    ("conditions", &["when"]),
    ("config", &["with"]),
    ("count", &["attempts"]),
    ("cron", &["schedule"]),
    ("crontab", &["schedule", "cron"]),
    ("dag", &["tasks"]),
    ("dag_id", &["name"]),
    ("deadline", &["timeout"]),
    ("default_args", &["defaults"]),
    ("depends", &["needs"]),
    ("depends_on", &["needs"]),
    ("dependencies", &["needs"]),
    ("desc", &["description"]),
    ("doc", &["description"]),
    ("docs", &["description"]),
    ("env", &["with"]),
    ("execution_timeout", &["timeout"]),
    ("from", &["inputs"]),
    ("ge", &["minimum"]),
    ("id", &["name", "key"]),
    ("if", &["when"]),
    ("initial_delay", &["delay"]),
    ("input", &["inputs"]),
    ("interval", &["delay", "every"]),
    ("jobs", &["tasks"]),
    ("keys", &["key"]),
    ("kind", &["uses", "type"]),
    ("le", &["maximum"]),
    ("limit", &["attempts"]),
    ("materialized", &["write"]),
    ("max", &["maximum"]),
    ("max_active", &["max_active_runs"]),
    ("max_attempts", &["attempts"]),
    ("max_retries", &["attempts", "retry"]),
    ("min", &["minimum"]),
    ("mode", &["write"]),
    ("on", &["schedule"]),
    ("operator", &["uses"]),
    ("options", &["with", "enum"]),
    ("output", &["outputs"]),
    ("parameters", &["params", "with"]),
    ("params", &["with"]),
    ("partition", &["partition_by"]),
    ("partitioned_by", &["partition_by"]),
    ("partitions", &["partition_by"]),
    ("period", &["every"]),
    ("plugin", &["uses"]),
    ("primary_key", &["key"]),
    ("properties", &["with"]),
    ("reads", &["inputs"]),
    ("requires", &["needs"]),
    ("retries", &["retry", "attempts"]),
    ("retry_delay", &["delay", "retry"]),
    ("retry_policy", &["retry"]),
    ("retry_strategy", &["retry"]),
    ("run_after", &["needs"]),
    ("run_if", &["when"]),
    ("save_mode", &["write"]),
    ("schedule_interval", &["schedule"]),
    ("settings", &["with"]),
    ("sinks", &["outputs"]),
    ("sources", &["inputs"]),
    ("stages", &["tasks"]),
    ("steps", &["tasks"]),
    ("summary", &["description"]),
    ("task", &["uses", "tasks"]),
    ("timeout_seconds", &["timeout"]),
    ("time_zone", &["timezone"]),
    ("title", &["name", "description"]),
    ("trigger", &["trigger_rule", "schedule"]),
    ("triggers", &["schedule"]),
    ("type", &["uses"]),
    ("tz", &["timezone"]),
    ("unique_key", &["key"]),
    ("upstream", &["needs"]),
    ("value", &["default"]),
    ("values", &["enum"]),
    ("variables", &["params"]),
    ("vars", &["params"]),
    ("wait", &["delay"]),
    ("write_disposition", &["write"]),
    ("write_mode", &["write"]),
    ("writes", &["outputs"]),
];

/// Words for values, as [`OTHER_WORDS`] for keys.
const OTHER_VALUES: &[(&str, &[&str])] = &[
    ("all_complete", &["all_done"]),
    ("all_completed", &["all_done"]),
    ("all_successful", &["all_success"]),
    ("bool", &["boolean"]),
    ("date", &["string"]),
    ("double", &["number"]),
    ("exp", &["exponential"]),
    ("fixed", &["constant"]),
    ("float", &["number"]),
    ("insert", &["append"]),
    ("int", &["integer"]),
    ("one_failed", &["any_failed"]),
    ("replace", &["overwrite"]),
    ("str", &["string"]),
    ("text", &["string"]),
    ("truncate", &["overwrite"]),
    ("upsert", &["merge"]),
];

/// Keys that do not exist on purpose, and what to do without them.
const INSTEAD: &[(&str, &str)] = &[
    ("runs_on", "a task runs in the process of its run; a profile says where the data lies"),
    ("image", "tasks do not run in containers of their own"),
    ("version", "the language has no version; remove the key"),
    ("outputs_from", "a task that reads a dataset depends on the one that writes it"),
];

/// The known word nearest to a misspelt one, if it is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let simple = simplify(word);
    let limit = match simple.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    };
    let distance = |other: &str| {
        let other = simplify(other);
        match other == simple {
            true => 0,
            false => strsim::damerau_levenshtein(&simple, &other),
        }
    };
    let near = known.into_iter().map(|other| (distance(other), other));
    near.filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// ``did you mean `x`?``, if something known is near.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|near| format!("did you mean `{near}`?"))
}

/// What to write instead of a word that is not known: the nearest known one, or any of them.
pub fn instead_of<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> String {
    const MOST: usize = 20;
    let known = known.into_iter();
    did_you_mean(word, known.clone()).unwrap_or_else(|| {
        let all: Vec<&str> = known.clone().take(MOST).collect();
        match (all.as_slice(), known.skip(MOST).count()) {
            ([], _) => "there are none".to_owned(),
            (all, 0) => format!("there are `{}`", all.join("`, `")),
            (all, more) => format!("there are `{}`, and {more} more", all.join("`, `")),
        }
    })
}

/// What to do about an unknown key.
pub(super) fn key_help(key: &str, known: &[&str]) -> String {
    if let Some(word) = translate(key, known) {
        return format!("tidemill's word for it is `{word}`");
    }
    if let Some(near) = nearest(key, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let simple = simplify(key);
    if let Some((_, instead)) = INSTEAD.iter().find(|(word, _)| *word == simple) {
        return (*instead).to_owned();
    }
    match known {
        [] => "no keys can stand here".to_owned(),
        known => format!("there are `{}`", known.join("`, `")),
    }
}

/// What to do about a value that is none of the choices.
pub(super) fn value_help(value: &str, choices: &[String]) -> Option<String> {
    let known: Vec<&str> = choices.iter().map(String::as_str).collect();
    let word = look_up(OTHER_VALUES, value, &known);
    word.map(|word| format!("tidemill's word for it is `{word}`"))
        .or_else(|| did_you_mean(value, known))
}

/// Whether an unknown key was taken to mean the known key `name`.
pub(super) fn means(key: &str, name: &str, known: &[&str]) -> bool {
    !known.contains(&key)
        && translate(key, known).or_else(|| nearest(key, known.iter().copied())) == Some(name)
}

pub(super) fn is_yes_or_no(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "yes" | "no" | "on" | "off" | "y" | "n" | "true" | "false"
    )
}

fn translate<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    look_up(OTHER_WORDS, key, known)
}

fn look_up<'a>(table: &[(&str, &[&str])], word: &str, known: &[&'a str]) -> Option<&'a str> {
    let simple = simplify(word);
    let (_, words) = table.iter().find(|(word, _)| *word == simple)?;
    words.iter().find_map(|word| known.iter().find(|known| *known == word).copied())
}

/// `dependsOn`, `depends-on` and `Depends_On` are all `depends_on`.
fn simplify(word: &str) -> String {
    let mut simple = String::with_capacity(word.len() + 2);
    let mut after_lower = false;
    for c in word.chars() {
        if c.is_uppercase() && after_lower {
            simple.push('_');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        match c {
            '-' | ' ' => simple.push('_'),
            c => simple.extend(c.to_lowercase()),
        }
    }
    simple
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_foreign_words() {
        let known = ["uses", "with", "needs", "when", "retry", "timeout"];
        assert_eq!(key_help("use", &known), "did you mean `uses`?");
        assert_eq!(key_help("dependsOn", &known), "tidemill's word for it is `needs`");
        assert_eq!(key_help("max-retries", &known), "tidemill's word for it is `retry`");
        assert_eq!(key_help("type", &known), "tidemill's word for it is `uses`");
        assert!(key_help("runs-on", &known).starts_with("a task runs in"));
        assert!(key_help("zzz", &known).starts_with("there are `uses`, "));
        assert!(means("type", "uses", &known));
        assert!(!means("when", "uses", &known));
    }
}
