//! What a YAML parser's errors mean to the person who wrote the file.

use crate::diagnostic::{Code, Diagnostic};
use serde_yaml::granit_parser::{ErrorKind, ScanError};

/// A diagnostic for a text that is not YAML.
pub(super) fn diagnostic(file: &str, text: &str, error: &ScanError) -> Diagnostic {
    let mark = error.marker();
    let start = mark.byte_offset().unwrap_or_else(|| byte_of(text, mark.line(), mark.col() + 1));
    let start = start.min(text.len());
    let kind = error.kind();
    if matches!(kind, ErrorKind::RecursionLimitExceeded) {
        return too_complex(file, start..start + 1);
    }
    let found = tab(text, start, kind)
        .or_else(|| block(text, start))
        .or_else(|| braces(text, start, kind))
        .or_else(|| unclosed(file, text, start, kind))
        .or_else(|| colon(text, start, kind))
        .or_else(|| escape(text, start, kind));
    if let Some(found) = found {
        return found.in_file(file);
    }
    let (message, help) = explain(kind);
    let end = match kind {
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::UnclosedQuotedScalar => start + 1,
        _ => end_of_word(text, start),
    };
    Diagnostic::error(Code::YamlSyntax, message)
        .at(file, start..end)
        .maybe_help(help.map(str::to_owned))
}

/// A document beyond the limits of what is read.
pub(super) fn too_complex(file: &str, span: std::ops::Range<usize>) -> Diagnostic {
    let message =
        "the file holds, with its aliases, more or deeper values than a pipeline can need";
    let help = "remove aliases that repeat aliases (`*name`), or split the pipeline";
    Diagnostic::error(Code::TooComplex, message).at(file, span).help(help)
}

/// A problem at a place of a file that is named later.
fn problem(span: std::ops::Range<usize>, message: String, help: &str) -> Diagnostic {
    Diagnostic::error(Code::YamlSyntax, message).at("", span).help(help)
}

/// A tab in the indentation of the line at a byte or the one after it.
fn tab(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    if !is_about_tabs(kind) {
        return None;
    }
    let mut line_start = line_start(text, at);
    for line in text[line_start..].split_inclusive('\n').take(2) {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..indent].find('\t') {
            let at = line_start + tab;
            let message = "a tab; YAML is indented with spaces only".to_owned();
            return Some(problem(at..at + 1, message, "replace it with spaces"));
        }
        line_start += line.len();
    }
    None
}

/// `run: | sort`: what follows `|` or `>` on its line, where the block of text begins below.
fn block(text: &str, at: usize) -> Option<Diagnostic> {
    let start = line_start(text, at);
    let line = text[start..].lines().next()?;
    let colon = line.find(": ")?;
    let value = line[colon + 2..].trim();
    let rest = value.strip_prefix(['|', '>'])?.trim_start_matches(['+', '-']);
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        return None;
    }
    let sign = &value[..1];
    let begin = start + line.len() - line[colon + 2..].trim_start().len();
    let message = format!("nothing can follow `{sign}` on its line: the text begins below it");
    let help = format!(
        "indent the text in the lines below; or, if it begins with `{sign}`, put it in quotes"
    );
    Some(problem(begin..begin + value.len(), message, &help))
}

/// `{rows: ${{ params.rows }}}`
fn braces(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    let is_flow = matches!(
        kind,
        ErrorKind::ExpectedFlowMappingSeparator
            | ErrorKind::ExpectedFlowSequenceSeparator
            | ErrorKind::MisplacedFlowCollectionEnd
            | ErrorKind::MismatchedFlowCollectionEnd { .. }
    );
    let line = line_start(text, at);
    let near = text.get(line..(at + 3).min(text.len()))?;
    let start = line + near.rfind("${{").filter(|_| is_flow)?;
    let end = text[start..].find("}}").map_or(start + 3, |length| start + length + 2);
    let message = "an expression within `{ }` or `[ ]` needs quotes".to_owned();
    let mut found = problem(start..end, message, &format!("write \"{}\"", &text[start..end]));
    found.code = Code::UnquotedExpression;
    Some(found)
}

/// A bracket on an earlier line that is still open: nobody means to go on in it for long.
fn unclosed(file: &str, text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    let points_at_opening = matches!(
        kind,
        ErrorKind::UnclosedQuotedScalar
            | ErrorKind::UnclosedFlowCollection { .. }
            | ErrorKind::MismatchedFlowCollectionEnd { .. }
    );
    let open = open_bracket(&text[..at])?;
    if points_at_opening || open >= line_start(text, at) {
        return None;
    }
    let bracket = &text[open..=open];
    let message = format!("`{bracket}` is not closed");
    let found = Diagnostic::error(Code::YamlSyntax, message).at("", open..open + 1);
    Some(found.related(file, at..end_of_word(text, at), "this can't be within it"))
}

/// The innermost bracket that a text leaves open.
fn open_bracket(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = Vec::new();
    let mut quote = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
        let begins = before.is_ascii_whitespace() || matches!(before, b'[' | b'{' | b',' | b':');
        match (quote, byte) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') if begins => quote = Some(byte),
            (None, b'#') if before.is_ascii_whitespace() => {
                at += text[at..].find('\n').unwrap_or(text.len() - at);
            }
            (None, b'[' | b'{') if begins || !open.is_empty() => open.push(at),
            (None, b']' | b'}') => drop(open.pop()),
            (None, _) => {}
        }
        at += 1;
    }
    open.pop()
}

/// A colon where none can be: in a text without quotes, behind a line that is no `key: value`, or
/// in a line that is indented too much.
fn colon(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    let is_colon = matches!(
        kind,
        ErrorKind::MappingValueNotAllowed
            | ErrorKind::MappingKeyNotAllowed
            | ErrorKind::SimpleKeyExpected
            | ErrorKind::InvalidSimpleKey
    );
    if !is_colon {
        return None;
    }
    let start = line_start(text, at);
    if let Some(first) = text[start..at].find(": ") {
        let value = start + first + 2;
        let rest = &text[value..];
        let end = value + rest.find(['\r', '\n']).unwrap_or(rest.len());
        let message = "a text that holds `: ` needs quotes".to_owned();
        let help = format!("write {}\"{}\"", &text[start..value].trim_start(), &text[value..end]);
        return Some(problem(value..end, message, &help));
    }
    let above = text[..start].trim_end();
    let above_start = line_start(text, above.len());
    let above_text = text[above_start..above.len()].trim_start();
    let above_at = above.len() - above_text.len();
    let span = above_at..above.len();
    if let Some((key, value)) = above_text.split_once(':').filter(|(_, v)| !v.is_empty())
        && !above_text.contains(": ")
    {
        let message = format!("`{above_text}` is one word to YAML");
        return Some(problem(
            span,
            message,
            &format!("put a space behind the colon: {key}: {value}"),
        ));
    }
    if !above_text.contains(':') && !above_text.starts_with(['-', '#']) {
        let message = format!("`{above_text}` has no colon");
        return Some(problem(span, message, "write `key: value`"));
    }
    let indent = text[start..].len() - text[start..].trim_start_matches(' ').len();
    if indent > above_at - above_start {
        let message = "this line is indented more than the one above, which has its value already";
        let help = "the keys of one mapping all have the same indentation";
        return Some(problem(start + indent..at, message.to_owned(), help));
    }
    None
}

/// The backslash in double quotes that means nothing.
fn escape(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    if !matches!(kind, ErrorKind::UnknownQuotedScalarEscape) {
        return None;
    }
    let mut chars = text[at..].char_indices();
    while let Some((offset, c)) = chars.next() {
        if c != '\\' {
            continue;
        }
        let (_, next) = chars.next()?;
        if !"0abtnvfre \"/\\N_LPxuU\t\r\n".contains(next) {
            let start = at + offset;
            let message = format!("`\\{next}` means nothing within double quotes");
            let help = "use single quotes, or write `\\\\` for a backslash";
            return Some(problem(start..start + 1 + next.len_utf8(), message, help));
        }
    }
    None
}

fn explain(kind: &ErrorKind) -> (String, Option<&'static str>) {
    let (message, help) = match kind {
        ErrorKind::UnclosedFlowCollection { open } => {
            return (format!("`{open}` is never closed"), None);
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            return (format!("`{open}` is closed by `{close}`"), None);
        }
        ErrorKind::UnexpectedCharacter { character } => {
            return (
                format!("a value without quotes can't begin with `{}`", character.escape_debug()),
                Some("put the text in quotes"),
            );
        }
        ErrorKind::UnclosedQuotedScalar => ("a quote is opened here and never closed", None),
        ErrorKind::MisplacedFlowCollectionEnd => ("nothing is open that this would close", None),
        ErrorKind::ExpectedFlowMappingSeparator => (
            "expected `,` or `}` here",
            Some(
                "commas separate what is within `{ }`; a text with `{`, `}`, `,` or `:` needs quotes",
            ),
        ),
        ErrorKind::ExpectedFlowSequenceSeparator => {
            ("expected `,` or `]` here", Some("items within `[ ]` are separated by commas"))
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::MappingKeyNotAllowed => (
            "a `key: value` can't stand here",
            Some("check the indentation; a text that holds `: ` needs quotes"),
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "a key without `:` behind it",
            Some("write `key: value`, with a space behind the colon"),
        ),
        ErrorKind::ExpectedBlockMappingKey => (
            "this does not line up with the keys above",
            Some("the keys of one mapping all have the same indentation"),
        ),
        ErrorKind::ExpectedBlockSequenceEntry => (
            "expected another `- item` here",
            Some("check the indentation: this line belongs to no open mapping"),
        ),
        ErrorKind::BlockSequenceEntryNotAllowed => (
            "a `- item` can't stand here",
            Some("a list begins on a line of its own, below its key"),
        ),
        ErrorKind::UnknownAnchor => (
            "an alias `*name` without an anchor `&name` before it",
            Some("a text that begins with `*` needs quotes"),
        ),
        ErrorKind::UnknownQuotedScalarEscape => (
            "a backslash in double quotes with a letter that means nothing behind it",
            Some("use single quotes, or write `\\\\` for a backslash"),
        ),
        ErrorKind::InvalidIndentation | ErrorKind::InvalidBlockScalarIndent => (
            "this line's indentation fits nothing above it",
            Some("the lines of one block all have the same indentation"),
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => (
            "something follows the closing quote",
            Some("put the whole text in quotes; within single quotes write '' for a quote"),
        ),
        other => return (other.to_string(), None),
    };
    (message.to_owned(), help)
}

fn is_about_tabs(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::InvalidIndentation
            | ErrorKind::UnexpectedCharacter { character: '\t' }
    )
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn end_of_word(text: &str, start: usize) -> usize {
    let rest = &text[start.min(text.len())..];
    let word = rest.find([' ', '\t', '\r', '\n', ',', ':', '}', ']']).unwrap_or(rest.len());
    start + word.max(rest.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8))
}

fn byte_of(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n');
    let before: usize = lines.take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[before.min(text.len())..];
    rest.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(at, _)| before + at)
}
