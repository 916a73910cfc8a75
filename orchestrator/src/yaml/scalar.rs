//! What a scalar without quotes stands for: the core schema of YAML 1.2, with `1_000` as a number.

use super::Tree;
use serde_json::Number;

/// The value of a plain scalar.
pub(super) fn plain(text: &str) -> Tree {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Tree::Null,
        "true" | "True" | "TRUE" => return Tree::Bool(true),
        "false" | "False" | "FALSE" => return Tree::Bool(false),
        _ => {}
    }
    let begins =
        text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match begins.then(|| number(text)).flatten() {
        Some(number) => Tree::Number(number),
        None => Tree::Text(text.to_owned()),
    }
}

/// A number, unless its digits begin with a zero that means nothing or it is beyond all bounds:
/// that is more likely a code, and stays a text.
fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            let is_plain =
                digits.chars().all(|c| c.is_digit(radix)) && digits.len() == text.len() - 2;
            let value = is_plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten();
            return value.map(Number::from);
        }
    }
    let leading_zero = digits.len() > 1
        && digits.starts_with('0')
        && digits
            .as_bytes()
            .get(1)
            .is_some_and(|second| second.is_ascii_digit() || *second == b'_');
    if leading_zero {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        return integer(negative, digits);
    }
    let is_float = digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    is_float.then(|| text.parse::<f64>().ok().and_then(Number::from_f64)).flatten()
}

fn integer(negative: bool, digits: &str) -> Option<Number> {
    let is_split_well = digits.split('_').all(|part| !part.is_empty());
    let digits = is_split_well.then(|| digits.replace('_', ""))?;
    let signed = if negative { format!("-{digits}") } else { digits };
    signed
        .parse::<i64>()
        .map(Number::from)
        .or_else(|_| signed.parse::<u64>().map(Number::from))
        .ok()
        .or_else(|| signed.parse::<f64>().ok().and_then(Number::from_f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Node, Span};

    fn check(text: &str, expect: &str) {
        let node = Node { span: Span::default(), tree: plain(text) };
        assert_eq!(node.to_value().to_string(), expect, "{text}");
    }

    #[test]
    fn scalars() {
        for text in ["", "~", "null"] {
            check(text, "null");
        }
        for text in ["5", "-5", "0", "1.5", "-0.5", "1e3"] {
            let expect = serde_json::from_str::<f64>(text).unwrap();
            let node = Node { span: Span::default(), tree: plain(text) };
            assert_eq!(node.to_value().as_f64(), Some(expect), "{text}");
        }
        check("+5", "5");
        check("1_000_000", "1000000");
        check("0x1F", "31");
        check("0o17", "15");
        check("18446744073709551615", "18446744073709551615");
        check("true", "true");
        for text in [
            "yes",
            "on",
            "010",
            "0_1",
            "1__0",
            "_1",
            "1_",
            "-",
            "+",
            ".",
            "1.2.3",
            "e5",
            "1h30m",
            "2026-01-01",
            ".nan",
            ".inf",
            "1e999",
            "0x",
            "-0x1",
            "1-2",
            "5 rows",
            "٣",
        ] {
            check(text, &format!("{text:?}"));
        }
    }
}
