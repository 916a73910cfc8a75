//! Cutting text into records.

use memchr::{memchr, memchr2};
use std::borrow::Cow;
use std::ops::Range;

/// A quoted field that is still open after so many bytes was never meant to be one: the stray
/// quote would otherwise swallow all that follows.
const LONGEST_QUOTED: usize = 1 << 20;

/// The record at the beginning of `text`: its bytes without the line break, and where the next
/// one begins. `None` if more text is needed to tell; with `last`, there is no more.
///
/// A CSV record is a line, or several where a quoted field holds line breaks. Where the quotes do
/// not fit together, it is the first line alone: the damage stays with it. What comes out does
/// not depend on how the text is divided into pieces.
pub(super) fn csv_record(text: &[u8], last: bool) -> Option<(Range<usize>, usize)> {
    let line = line(text, last)?;
    if memchr(b'"', &text[line.0.clone()]).is_none() {
        return Some(line);
    }
    let within = text.len() <= LONGEST_QUOTED;
    match quoted_record(&text[..text.len().min(LONGEST_QUOTED)], last && within) {
        Quoted::Ends(end) => Some(end),
        Quoted::Broken => Some(line),
        Quoted::Open if last || !within => Some(line),
        Quoted::Open => None,
    }
}

/// The line at the beginning of `text`, in the same form.
pub(super) fn line(text: &[u8], last: bool) -> Option<(Range<usize>, usize)> {
    match memchr(b'\n', text) {
        Some(end) => Some((0..without_return(text, end), end + 1)),
        None if last && !text.is_empty() => Some((0..without_return(text, text.len()), text.len())),
        None => None,
    }
}

fn without_return(text: &[u8], end: usize) -> usize {
    if text[..end].ends_with(b"\r") { end - 1 } else { end }
}

enum Quoted {
    Ends((Range<usize>, usize)),
    Broken,
    Open,
}

/// Reads a record field by field. A quote opens a field only at its beginning; inside, two stand
/// for one, and behind the closing one there is a comma or the end. `last`: the text's end is
/// that of a line too.
fn quoted_record(text: &[u8], last: bool) -> Quoted {
    let mut at = 0;
    loop {
        if text.get(at) == Some(&b'"') {
            at += 1;
            loop {
                let Some(quote) = memchr(b'"', &text[at..]) else { return Quoted::Open };
                at += quote + 1;
                match text.get(at) {
                    Some(b'"') => at += 1,
                    _ => break,
                }
            }
            match &text[at..] {
                [b',', ..] | [b'\n', ..] | [b'\r', b'\n', ..] => {}
                [] | [b'\r'] if last => {}
                [] | [b'\r'] => return Quoted::Open,
                _ => return Quoted::Broken,
            }
        }
        let Some(found) = memchr2(b',', b'\n', &text[at..]) else {
            let end = (0..without_return(text, text.len()), text.len());
            return if last { Quoted::Ends(end) } else { Quoted::Open };
        };
        let end = at + found;
        if text[end] == b'\n' {
            return Quoted::Ends((0..without_return(text, end), end + 1));
        }
        at = end + 1;
    }
}

/// The field number `index` of a CSV record, without its quotes; `None` if there are fewer.
pub(super) fn csv_field(record: &[u8], index: usize) -> Option<Cow<'_, [u8]>> {
    let mut rest = record;
    for _ in 0..index {
        let end = field_end(rest);
        rest = rest.get(end + 1..)?;
    }
    let field = &rest[..field_end(rest)];
    match field {
        [b'"', inner @ .., b'"'] => Some(unescape(inner)),
        field => Some(field.into()),
    }
}

/// All fields of a CSV record.
pub(super) fn csv_fields(record: &[u8]) -> Vec<Cow<'_, [u8]>> {
    (0..).map_while(|index| csv_field(record, index)).collect()
}

/// All fields of a CSV record that is whole; `None` if its quotes do not fit together.
pub(crate) fn csv_record_fields(record: &str) -> Option<Vec<Cow<'_, str>>> {
    match quoted_record(record.as_bytes(), true) {
        Quoted::Ends((_, next)) if next == record.len() => {}
        _ => return None,
    }
    let fields = csv_fields(record.as_bytes()).into_iter().map(|field| match field {
        Cow::Borrowed(field) => std::str::from_utf8(field).ok().map(Cow::Borrowed),
        Cow::Owned(field) => String::from_utf8(field).ok().map(Cow::Owned),
    });
    fields.collect()
}

/// A field whose quote is never closed takes all that is left.
fn field_end(text: &[u8]) -> usize {
    let mut at = 0;
    if text.first() == Some(&b'"') {
        at = 1;
        loop {
            let Some(quote) = memchr(b'"', &text[at..]) else { return text.len() };
            at += quote + 1;
            if text.get(at) != Some(&b'"') {
                break;
            }
            at += 1;
        }
    }
    memchr(b',', &text[at..]).map_or(text.len(), |comma| at + comma)
}

fn unescape(inner: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'"', inner).is_none() {
        return inner.into();
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(quote) = memchr(b'"', rest) {
        text.extend_from_slice(&rest[..=quote]);
        rest = rest.get(quote + 2..).unwrap_or_default();
    }
    text.extend_from_slice(rest);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All records, with `|` between them, given the text in pieces of `size`.
    fn cut(text: &str, size: usize) -> String {
        let mut records = Vec::new();
        let (mut buffer, mut given) = (Vec::new(), 0);
        loop {
            let last = given == text.len();
            match csv_record(&buffer, last) {
                Some((record, next)) => {
                    records.push(String::from_utf8(buffer[record].to_vec()).unwrap());
                    buffer.drain(..next);
                }
                None if last => return records.join("|"),
                None => {
                    let more = given.saturating_add(size).min(text.len());
                    buffer.extend_from_slice(&text.as_bytes()[given..more]);
                    given = more;
                }
            }
        }
    }

    fn check(text: &str, expect: &str) {
        for size in [1, 2, 3, 7, usize::MAX / 2] {
            assert_eq!(cut(text, size), expect, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn records() {
        check("", "");
        check("a,b\nc,d\n", "a,b|c,d");
        check("a,b\r\nc,d", "a,b|c,d");
        check("a\n\nb\n", "a||b");
        check("\"a,1\",b\nc\n", "\"a,1\",b|c");
        check("\"a\nb\",c\nd\n", "\"a\nb\",c|d");
        check("\"a\"\"\nb\",c\r\nd\n", "\"a\"\"\nb\",c|d");
        check("\"a\nb\",c", "\"a\nb\",c");
        check("c,\"a\nb\"\r", "c,\"a\nb\"");
        check("1,\"\"\n2,\"\"", "1,\"\"|2,\"\"");
    }

    #[test]
    fn broken_quotes_stay_with_their_line() {
        check("5\" nail,1\nb,2\n", "5\" nail,1|b,2");
        check("\"a,1\nb,2\n", "\"a,1|b,2");
        check("\"a,1\n\"b\",2\nc,3\n", "\"a,1|\"b\",2|c,3");
        check("\"a\"x,1\nb,2\n", "\"a\"x,1|b,2");
        check("x,\"", "x,\"");
    }

    #[test]
    fn an_open_quote_does_not_swallow_the_file() {
        let rows = "b,2\n".repeat(LONGEST_QUOTED / 2);
        let text = format!("\"a,1\n{rows}");
        let (record, next) = csv_record(text.as_bytes(), false).unwrap();
        assert_eq!(&text[record], "\"a,1");
        assert_eq!(next, 5);
        assert!(csv_record(&text.as_bytes()[..LONGEST_QUOTED], false).is_none());
    }

    #[test]
    fn fields() {
        let check = |record: &str, index: usize, expect: Option<&str>| {
            let got = csv_field(record.as_bytes(), index);
            let got = got.map(|field| String::from_utf8(field.into_owned()).unwrap());
            assert_eq!(got.as_deref(), expect, "{record} {index}");
        };
        check("a,b,c", 0, Some("a"));
        check("a,b,c", 2, Some("c"));
        check("a,b,c", 3, None);
        check("a,,c", 1, Some(""));
        check("a,", 1, Some(""));
        check("", 0, Some(""));
        check("\"x,y\",b", 0, Some("x,y"));
        check("\"x,y\",b", 1, Some("b"));
        check("\"say \"\"hi\"\"\",b", 0, Some("say \"hi\""));
        check("\"open,b", 0, Some("\"open,b"));
        assert_eq!(csv_fields(b"a,\"b,c\",d").len(), 3);
        assert_eq!(csv_record_fields("a,\"b\"\"\n,c\",5\" d").unwrap(), ["a", "b\"\n,c", "5\" d"]);
        for broken in ["\"a", "a,\"b\"c", "a,\"b", "\"a\"\nb", "a\nb"] {
            assert_eq!(csv_record_fields(broken), None, "{broken}");
        }
    }
}
