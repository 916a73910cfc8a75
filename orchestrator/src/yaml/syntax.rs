//! What a YAML parser's errors mean to the person who wrote the file.

use crate::diagnostic::{Code, Diagnostic};
use serde_yaml::granit_parser::{ErrorKind, Parser, ScanError};

/// A diagnostic for a text that is not YAML, or not YAML that is accepted here.
pub(super) fn diagnostic(file: &str, text: &str, error: &serde_yaml::Error) -> Diagnostic {
    // The parser beneath tells the sort of error and its byte; what passes it was refused by the
    // layer above for what it means.
    match Parser::new_from_str(text).find_map(Result::err) {
        Some(scan) => scan_diagnostic(file, text, &scan),
        None => refused(file, text, error),
    }
}

fn refused(file: &str, text: &str, error: &serde_yaml::Error) -> Diagnostic {
    use serde_yaml::Error;
    let error = error.without_snippet();
    let start = error.location().map_or(0, |location| {
        location.span().byte_offset().map_or_else(
            || byte_of(text, location.line() as usize, location.column() as usize),
            |byte| byte as usize,
        )
    });
    let (code, message, help) = match error {
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => (
            Code::TooComplex,
            "the file holds, with its aliases, more or deeper values than a pipeline can need"
                .to_owned(),
            Some("remove aliases that repeat aliases (`*name`), or split the pipeline"),
        ),
        Error::MultipleDocuments { .. } => (
            Code::YamlSyntax,
            "a second document begins here".to_owned(),
            Some("a file holds one pipeline; remove the `---` or move what follows elsewhere"),
        ),
        Error::NonFiniteFloat { .. } => (
            Code::YamlSyntax,
            "a number must be finite and fit 64 bits".to_owned(),
            Some("put it in quotes if a text is meant"),
        ),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            (Code::YamlSyntax, "an alias stands inside the value that it names".to_owned(), None)
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            (Code::YamlSyntax, "`<<` merges mappings; this is not one".to_owned(), None)
        }
        other => (Code::YamlSyntax, without_place(&other.to_string()), None),
    };
    Diagnostic::error(code, message)
        .at(file, start..end_of_word(text, start))
        .maybe_help(help.map(str::to_owned))
}

fn scan_diagnostic(file: &str, text: &str, error: &ScanError) -> Diagnostic {
    let mark = error.marker();
    let start = mark.byte_offset().unwrap_or_else(|| byte_of(text, mark.line(), mark.col() + 1));
    let (message, help) = explain(error.kind());
    let line = line_at(text, start);
    let tab = tab_near(text, start).filter(|_| is_about_tabs(error.kind()));
    let (code, start, message, help) = if let Some(tab) = tab {
        let help = Some("replace it with spaces".to_owned());
        (Code::YamlSyntax, tab, "a tab; YAML is indented with spaces only".to_owned(), help)
    } else if is_about_braces(error.kind()) && line.contains("${{") {
        let message = "an expression within `{ }` or `[ ]` needs quotes".to_owned();
        let help = Some("write it as \"${{ … }}\"".to_owned());
        let from = text[..start].rfind("${{").unwrap_or(start);
        (Code::UnquotedExpression, from, message, help)
    } else {
        (Code::YamlSyntax, start, message, help.map(str::to_owned))
    };
    let end = match error.kind() {
        _ if text[start.min(text.len())..].starts_with("${{") => {
            text[start..].find("}}").map_or(start + 3, |at| start + at + 2)
        }
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::UnclosedQuotedScalar => start + 1,
        _ => end_of_word(text, start),
    };
    Diagnostic::error(code, message).at(file, start..end).maybe_help(help)
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
                "entries within `{ }` are separated by commas; a text with `{`, `}`, `,` or `:` in it needs quotes",
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
        ErrorKind::RecursionLimitExceeded => ("nested too deep", None),
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

fn is_about_braces(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ExpectedFlowMappingSeparator
            | ErrorKind::ExpectedFlowSequenceSeparator
            | ErrorKind::MisplacedFlowCollectionEnd
            | ErrorKind::MismatchedFlowCollectionEnd { .. }
    )
}

/// A tab in the indentation of the line at a byte or the one after it.
fn tab_near(text: &str, at: usize) -> Option<usize> {
    let start = text[..at.min(text.len())].rfind('\n').map_or(0, |newline| newline + 1);
    let mut line_start = start;
    for line in text[start..].split_inclusive('\n').take(2) {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..indent].find('\t') {
            return Some(line_start + tab);
        }
        line_start += line.len();
    }
    None
}

fn line_at(text: &str, at: usize) -> &str {
    let at = at.min(text.len());
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    &text[start..end]
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

/// The message without the ` at line 1, column 2` that the diagnostic's place says better.
fn without_place(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    first.rsplit_once(" at line ").map_or(first, |(message, _)| message).to_owned()
}
