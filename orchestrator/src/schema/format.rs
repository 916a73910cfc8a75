//! The formats of texts that schemas name.

use crate::dataset::DatasetName;
use crate::duration;

/// Why a text does not have a format.
#[derive(Debug, PartialEq, Eq)]
pub struct FormatProblem {
    pub message: String,
    pub help: Option<String>,
}

/// Checks a text. A format that is not known here lets everything pass.
///
/// - `duration`: see [`crate::duration`]
/// - `dataset`: see [`DatasetName`]
/// - `rate`: `unlimited`, or as many of something in a time: `1000 rows / 10s`
/// - `sql`: a text that is not blank
/// - `plain`: a text without expressions
/// - `date`: `2026-11-24`
/// - `name`: what a pipeline or task may be called
/// - `identifier`: what a param, an input or an output may be called
pub fn check(format: &str, text: &str) -> Result<(), FormatProblem> {
    let problem = |message: String, help: &str| {
        Err(FormatProblem { message, help: (!help.is_empty()).then(|| help.to_owned()) })
    };
    match format {
        "duration" => duration::parse(text).map(drop).or_else(|error| {
            let (message, help) = error.split_once("; ").unwrap_or((&error, ""));
            problem(message.to_owned(), help)
        }),
        "dataset" => match text.parse::<DatasetName>() {
            Ok(_) => Ok(()),
            Err(error) => problem(error.to_string(), ""),
        },
        "rate" if !is_rate(text) => problem(
            format!("`{text}` is not a rate"),
            "write how many in what time, such as 1000 rows / 10s, or unlimited",
        ),
        "plain" if text.contains("${{") => problem("an expression".to_owned(), ""),
        "sql" if text.trim().is_empty() => problem("the SQL is empty".to_owned(), ""),
        "date" if text.parse::<jiff::civil::Date>().is_err() => {
            problem(format!("`{text}` is not a date"), "write it as 2026-11-24")
        }
        "name" if !is_name(text, true) => problem(
            format!("`{text}` can't be a name"),
            "a name has up to 100 letters, digits, `_` and `-`, and begins with a letter or `_`",
        ),
        "identifier" if !is_name(text, false) => problem(
            format!("`{text}` can't be a name here"),
            "a name has up to 100 letters, digits and `_`, and begins with a letter or `_`",
        ),
        _ => Ok(()),
    }
}

fn is_name(text: &str, dashes: bool) -> bool {
    text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || (dashes && c == '-'))
}

fn is_rate(text: &str) -> bool {
    if text.trim() == "unlimited" {
        return true;
    }
    let Some((amount, time)) = text.split_once('/') else { return false };
    let amount = amount.trim();
    let digits = amount.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(amount.len());
    let (number, unit) = amount.split_at(digits);
    let positive = number.replace('_', "").parse::<u64>().is_ok_and(|number| number > 0);
    let time = time.trim();
    // `rows / s` is short for `rows / 1s`.
    let time = if time.starts_with(|c: char| c.is_ascii_digit()) {
        duration::parse(time)
    } else {
        duration::parse(&format!("1{time}"))
    };
    positive
        && unit.trim().chars().all(char::is_alphabetic)
        && time.is_ok_and(|time| time.is_positive())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for good in ["unlimited", "1000 rows / 10s", "5/s", "1_000 records/1m", "10 rows / min"] {
            assert!(check("rate", good).is_ok(), "{good}");
        }
        for bad in ["", "fast", "1000", "0 rows / s", "x rows / s", "5 / 0s", "5 rows 2 / s"] {
            assert!(check("rate", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        assert!(check("name", "load-orders_2").is_ok());
        assert!(check("identifier", "load-orders").is_err());
        for bad in ["", "2a", "a b", "é", "a.b", "a/b", &"x".repeat(101)] {
            assert!(check("name", bad).is_err(), "{bad}");
        }
    }
}
