//! A pipeline's YAML with its keys, expressions, datasets and comments told apart, and problems at
//! their lines.

use crate::words::{Markup, plural};
use askama::filters::HtmlSafe;
use orchestrator::dataset::Scheme;
use std::fmt;

/// A line of the file, or a problem below one.
#[derive(Clone, Debug)]
pub struct Line {
    /// From 1; `None` for a problem.
    number: Option<usize>,
    class: &'static str,
    text: Markup,
}

impl HtmlSafe for Line {}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class;
        match self.number {
            Some(number) => {
                write!(f, "<span class=\"line{class}\" id=\"L{number}\"")?;
                // Behind a gap, the style sheet can't count.
                if number > MOST_LINES {
                    write!(f, " data-line=\"{number}\"")?;
                }
                write!(f, ">{}</span>", self.text)
            }
            None => write!(f, "<span class=\"line says{class}\">{}</span>", self.text),
        }
    }
}

/// What is wrong at a line.
#[derive(Clone, Debug)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
    pub is_error: bool,
    pub message: String,
}

/// Lines that are shown of a long file, beside those with problems.
const MOST_LINES: usize = 500;

/// A line that stands for those that are left out.
fn left_out(text: &str) -> Option<Line> {
    let more = text.lines().count().saturating_sub(MOST_LINES);
    let text = format!("... and {} more", plural(more, "line"));
    (more > 0).then(|| Line { number: None, class: "", text: Markup::new().text(&text) })
}

/// The lines of a text; those numbered in `failed` are marked.
pub fn lines(text: &str, failed: &[usize]) -> Vec<Line> {
    let line = |(index, line): (usize, &str)| {
        let number = index + 1;
        let class = if failed.contains(&number) { " error" } else { "" };
        Line { number: Some(number), class, text: highlight(line) }
    };
    let shown = |(index, _): &(usize, &str)| *index < MOST_LINES || failed.contains(&(index + 1));
    text.lines().enumerate().filter(shown).map(line).chain(left_out(text)).collect()
}

/// The lines of a text, with problems below those that they are at.
pub fn lines_with(text: &str, marks: &[Mark]) -> Vec<Line> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let here = || marks.iter().filter(|mark| mark.line == number);
        if index >= MOST_LINES && here().next().is_none() {
            continue;
        }
        let class = match here().map(|mark| mark.is_error).max() {
            Some(true) => " error",
            Some(false) => " warn",
            None => "",
        };
        all.push(Line { number: Some(number), class, text: highlight(line) });
        for mark in here() {
            let class = if mark.is_error { " error" } else { " warn" };
            let text = format!("{}^ {}", " ".repeat(mark.column.saturating_sub(1)), mark.message);
            all.push(Line { number: None, class, text: Markup::new().text(&text) });
        }
    }
    all.extend(left_out(text));
    all
}

fn highlight(line: &str) -> Markup {
    let mut markup = Markup::new();
    let mut plain = String::new();
    let mut rest = line;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let found = match c {
            '#' if before.is_whitespace() => Some(("comment", rest.len())),
            '$' if rest.starts_with("${{") => {
                Some(("expression", rest.find("}}").map_or(rest.len(), |end| end + 2)))
            }
            c if is_word(c) && !is_word(before) && before != ':' => word(rest),
            _ => None,
        };
        let (class, length) = found.unwrap_or(("", c.len_utf8()));
        let (part, after) = rest.split_at(length);
        if class.is_empty() {
            plain.push_str(part);
        } else {
            markup = raw(markup, &std::mem::take(&mut plain)).span(class, part);
        }
        before = part.chars().next_back().unwrap_or(' ');
        rest = after;
    }
    raw(markup, &plain)
}

/// A text in which backticks mean nothing.
fn raw(markup: Markup, text: &str) -> Markup {
    if text.is_empty() { markup } else { markup.plain(text) }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

/// A key, or the name of a dataset, at the beginning of a text.
fn word(text: &str) -> Option<(&'static str, usize)> {
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    let after = text[end..].strip_prefix(':')?;
    let is_scheme = Scheme::ALL.into_iter().any(|scheme| scheme.as_str() == &text[..end]);
    if is_scheme && after.starts_with(is_word) {
        let rest = after.find(|c: char| !is_word(c) && c != '=').unwrap_or(after.len());
        return Some(("dataset", end + 1 + rest));
    }
    (after.is_empty() || after.starts_with([' ', ','])).then_some(("key", end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let check = |line: &str, expect: &str| assert_eq!(highlight(line).to_string(), expect);
        check("name: x", "<span class=\"key\">name</span>: x");
        check(
            "  a: 1 # b: `c`",
            "  <span class=\"key\">a</span>: 1 <span class=\"comment\"># b: `c`</span>",
        );
        check(
            "    with: {rows: \"${{ params.rows }}\"}",
            "    <span class=\"key\">with</span>: {<span class=\"key\">rows</span>: &quot;<span \
             class=\"expression\">${{ params.rows }}</span>&quot;}",
        );
        check(
            "  inputs: {a: file:raw/x.csv}",
            "  <span class=\"key\">inputs</span>: {<span class=\"key\">a</span>: <span \
             class=\"dataset\">file:raw/x.csv</span>}",
        );
        check("run: echo '<b>'", "<span class=\"key\">run</span>: echo &#39;&lt;b&gt;&#39;");
        check("ä#: ö", "ä#: ö");
    }

    #[test]
    fn of_a_long_file_the_lines_with_problems_are_shown() {
        let text: String = (1..=2000).map(|line| format!("# {line}\n")).collect();
        let mark = Mark { line: 1500, column: 1, is_error: false, message: "x".into() };
        let lines = lines_with(&text, &[mark]);
        assert_eq!(lines.len(), MOST_LINES + 3);
        let shown = lines[MOST_LINES].to_string();
        assert!(shown.contains("data-line=\"1500\"") && shown.contains("# 1500"), "{shown}");
        assert!(lines[MOST_LINES + 2].to_string().contains("1,500\u{a0}lines"));
    }

    #[test]
    fn problems_stand_below_their_lines() {
        let mark = Mark { line: 2, column: 3, is_error: true, message: "no `x`".into() };
        let lines = lines_with("a: 1\nb: 2\n", &[mark]);
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[2].to_string(),
            "<span class=\"line says error\">  ^ no <code>x</code></span>"
        );
    }
}
