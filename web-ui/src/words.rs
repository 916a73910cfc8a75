//! Times, spans and sentences as people read them on the pages.

use askama::filters::HtmlSafe;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use orchestrator::figures;
use orchestrator::plan::Interval;
use std::fmt::{self, Write as _};

/// The time of a page, and the zone that its times are shown in.
#[derive(Clone, Debug)]
pub struct Clock {
    pub now: Timestamp,
    pub zone: TimeZone,
}

impl Clock {
    pub fn local(&self, at: Timestamp) -> Zoned {
        at.to_zoned(self.zone.clone())
    }

    /// `02:01`
    pub fn minute(&self, at: Timestamp) -> String {
        self.local(at).strftime("%H:%M").to_string()
    }

    /// `02:01:14`
    pub fn second(&self, at: Timestamp) -> String {
        self.local(at).strftime("%H:%M:%S").to_string()
    }

    /// `today 02:01`, `yesterday 02:01`, `Sun 22 Nov, 16:20`
    pub fn when(&self, at: Timestamp) -> String {
        let (local, today) = (self.local(at), self.local(self.now).date());
        let day = local.date();
        let time = local.strftime("%H:%M");
        if day == today {
            format!("today {time}")
        } else if Some(day) == today.yesterday().ok() {
            format!("yesterday {time}")
        } else if Some(day) == today.tomorrow().ok() {
            format!("tomorrow {time}")
        } else {
            format!("{}, {time}", self.day(day))
        }
    }

    /// `Sun 22 Nov`, with the year when it is not this one.
    pub fn day(&self, day: Date) -> String {
        let format = match day.year() == self.local(self.now).year() {
            true => "%a %-d %b",
            false => "%a %-d %b %Y",
        };
        day.strftime(format).to_string()
    }

    /// `in 18 h 48 min`, `now due`
    pub fn until(&self, at: Timestamp) -> String {
        let left = self.now.duration_until(at);
        match left > SignedDuration::ZERO {
            true => format!("in {}", duration(left)),
            false => "now due".to_owned(),
        }
    }

    /// The day that an interval is, of its pipeline's zone `own`, of UTC or of the pages' zone; else
    /// both ends.
    pub fn interval(&self, interval: Interval, own: &TimeZone) -> String {
        for zone in [own, &TimeZone::UTC, &self.zone] {
            let (start, end) =
                (interval.start.to_zoned(zone.clone()), interval.end.to_zoned(zone.clone()));
            let is_day = start.start_of_day().is_ok_and(|day| day == start)
                && start.date().tomorrow().is_ok_and(|next| next == end.date())
                && end.start_of_day().is_ok_and(|day| day == end);
            if is_day {
                return self.day(start.date());
            }
        }
        let (start, end) = (self.local(interval.start), self.local(interval.end));
        let from = format!("{}, {}", self.day(start.date()), start.strftime("%H:%M"));
        match start.date() == end.date() {
            true => format!("{from} to {}", end.strftime("%H:%M")),
            false => format!("{from} to {}, {}", self.day(end.date()), end.strftime("%H:%M")),
        }
    }

    /// The exact instant, for `<time datetime>`.
    pub fn exact(&self, at: Timestamp) -> String {
        self.local(at).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

/// As [`figures::duration`], in one piece.
pub fn duration(duration: SignedDuration) -> String {
    unbroken(&figures::duration(duration))
}

/// As [`figures::bytes`], in one piece; empty for nothing.
pub fn bytes(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { unbroken(&figures::bytes(bytes)) }
}

/// `1,234,567`; empty for nothing.
pub fn rows(rows: u64) -> String {
    if rows == 0 { String::new() } else { figures::exact(rows) }
}

/// Number and unit must not part at the end of a line.
fn unbroken(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// `1 run`, `2 runs`
pub fn plural(count: usize, what: &str) -> String {
    let count = count as u64;
    match count {
        1 => format!("1\u{a0}{what}"),
        _ => format!("{}\u{a0}{what}s", figures::exact(count)),
    }
}

/// `a`, `a and b`, `a, b and c`
pub fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `upstream_failed` as people read it.
pub fn state(state: &str) -> String {
    state.replace('_', " ")
}

/// A text for a query string or a path.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(byte.into());
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// Where the next page of a list begins: behind what was made at a time by a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub at: Timestamp,
    pub run: String,
}

impl Cursor {
    pub fn after(at: Timestamp, run: &str) -> Cursor {
        Cursor { at, run: run.to_owned() }
    }

    /// The cursor of a link, `MICROSECONDS-RUN`; anything else is none.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (at, run) = text.split_once('-')?;
        Some(Cursor::after(Timestamp::from_microsecond(at.parse().ok()?).ok()?, run))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.as_microsecond(), self.run)
    }
}

/// HTML that is made of escaped texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(String);

impl HtmlSafe for Markup {}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Markup {
    pub fn new() -> Markup {
        Markup::default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a plain text; what stands in backticks becomes code.
    #[must_use]
    pub fn text(mut self, text: &str) -> Markup {
        for (index, part) in text.split('`').enumerate() {
            // The last backtick of an odd number is one.
            let is_code = index % 2 == 1 && text.matches('`').count() > index;
            match is_code {
                true => {
                    self.0.push_str("<code>");
                    escape(part, &mut self.0);
                    self.0.push_str("</code>");
                }
                false => {
                    if index % 2 == 1 {
                        self.0.push('`');
                    }
                    escape(part, &mut self.0);
                }
            }
        }
        self
    }

    /// Adds a text in which backticks mean nothing.
    #[must_use]
    pub fn plain(mut self, text: &str) -> Markup {
        escape(text, &mut self.0);
        self
    }

    /// Adds a name or a figure that matters.
    #[must_use]
    pub fn strong(mut self, text: &str) -> Markup {
        self.0.push_str("<b>");
        escape(text, &mut self.0);
        self.0.push_str("</b>");
        self
    }

    #[must_use]
    pub fn link(mut self, href: &str, text: &str) -> Markup {
        self.0.push_str("<a href=\"");
        escape(href, &mut self.0);
        self.0.push_str("\">");
        escape(text, &mut self.0);
        self.0.push_str("</a>");
        self
    }

    /// Adds a part with a class.
    #[must_use]
    pub fn span(mut self, class: &str, text: &str) -> Markup {
        self.0.push_str("<span class=\"");
        escape(class, &mut self.0);
        self.0.push_str("\">");
        escape(text, &mut self.0);
        self.0.push_str("</span>");
        self
    }
}

/// A text within an element or an attribute, of HTML or SVG.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(text, &mut out);
    out
}

fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        Clock { now: "2026-11-24T07:12:00+01:00".parse().unwrap(), zone }
    }

    #[test]
    fn times() {
        let when = |at: &str| clock().when(at.parse().unwrap());
        assert_eq!(when("2026-11-24T02:01:00+01:00"), "today 02:01");
        assert_eq!(when("2026-11-23T23:59:00+01:00"), "yesterday 23:59");
        assert_eq!(when("2026-11-22T16:20:00+01:00"), "Sun 22 Nov, 16:20");
        assert_eq!(when("2025-11-22T16:20:00+01:00"), "Sat 22 Nov 2025, 16:20");
        assert_eq!(when("2026-11-25T02:00:00+01:00"), "tomorrow 02:00");
        assert_eq!(
            clock().until("2026-11-25T02:00:00+01:00".parse().unwrap()),
            "in 18\u{a0}h\u{a0}48\u{a0}min"
        );
    }

    #[test]
    fn intervals() {
        let shown = |start: &str, end: &str| {
            let interval = Interval { start: start.parse().unwrap(), end: end.parse().unwrap() };
            clock().interval(interval, &TimeZone::UTC)
        };
        assert_eq!(shown("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"), "Mon 23 Nov");
        assert_eq!(shown("2026-11-23T00:00:00+01:00", "2026-11-24T00:00:00+01:00"), "Mon 23 Nov");
        assert_eq!(
            shown("2026-11-23T06:00:00Z", "2026-11-23T06:15:00Z"),
            "Mon 23 Nov, 07:00 to 07:15"
        );
        assert_eq!(
            shown("2026-11-22T02:00:00+01:00", "2026-11-23T02:00:00+01:00"),
            "Sun 22 Nov, 02:00 to Mon 23 Nov, 02:00"
        );
    }

    #[test]
    fn markup_is_escaped() {
        let made = Markup::new().text("a `<b>` & \"c").strong("<i>").link("/x?a='\"", "y");
        assert_eq!(
            made.to_string(),
            "a <code>&lt;b&gt;</code> &amp; &quot;c<b>&lt;i&gt;</b><a href=\"/x?a=&#39;&quot;\">y</a>"
        );
        assert_eq!(Markup::new().text("one ` alone").to_string(), "one ` alone");
        assert_eq!(Markup::new().text("`a` and `b").to_string(), "<code>a</code> and `b");
    }

    #[test]
    fn a_cursor_leads_behind_what_it_was_made_of() {
        let cursor = Cursor::after("2026-11-24T02:00:00.000001Z".parse().unwrap(), "0f");
        assert_eq!(cursor.to_string(), "1795485600000001-0f");
        assert_eq!(Cursor::parse("1795485600000001-0f"), Some(cursor));
        assert_eq!(Cursor::parse("x-0f"), None);
        assert_eq!(Cursor::parse("5"), None);
    }

    #[test]
    fn lists() {
        let of = |parts: &[&str]| list(&parts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(&["a"]), "a");
        assert_eq!(of(&["a", "b", "c"]), "a, b and c");
        assert_eq!(plural(1, "run"), "1\u{a0}run");
        assert_eq!(plural(1200, "run"), "1,200\u{a0}runs");
        assert_eq!(encode("a b/ü"), "a%20b%2F%C3%BC");
    }
}
