//! Drawings of runs: SVG made on the server, with sizes as attributes and colours by class.

mod graph;

pub use graph::graph;

use crate::words::{Clock, escaped};
use askama::filters::HtmlSafe;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::fmt::{self, Write as _};

/// An SVG element. All texts in it are escaped.
#[derive(Clone, Debug, Default)]
pub struct Svg(pub(crate) String);

impl HtmlSafe for Svg {}

impl fmt::Display for Svg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One run among the last ones of its pipeline.
pub struct Bar {
    pub href: String,
    pub state: &'static str,
    pub title: String,
    pub took: SignedDuration,
}

/// How many runs are drawn.
pub const BARS: usize = 30;

/// The last runs as bars, oldest first: the height is the duration, the colour the result, and
/// trouble also has a mark below the line.
pub fn bars(runs: &[Bar]) -> Svg {
    let mut svg = String::from("<svg class=\"bars\" viewBox=\"0 0 240 36\" aria-hidden=\"true\">");
    svg.push_str("<line x1=\"0\" x2=\"240\" y1=\"29.5\" y2=\"29.5\"/>");
    let longest = runs.iter().map(|run| run.took.as_secs_f64()).fold(0.001, f64::max);
    let first = BARS.saturating_sub(runs.len());
    for (place, run) in (first..).zip(runs) {
        let x = place as f64 * 8.0 + 1.0;
        let height = (run.took.as_secs_f64() / longest * 27.0).clamp(2.0, 27.0);
        let (x_rect, width) = if run.state == "running" { (x + 0.25, 4.5) } else { (x, 5.0) };
        let _ = write!(
            svg,
            "<a href=\"{}\" tabindex=\"-1\"><title>{}</title><rect class=\"{}\" x=\"{x_rect}\" \
             y=\"{:.2}\" width=\"{width}\" height=\"{height:.2}\" rx=\"1\"/>",
            escaped(&run.href),
            escaped(&run.title),
            run.state,
            29.0 - height,
        );
        let middle = x + 2.5;
        match run.state {
            "failed" => {
                let _ = write!(
                    svg,
                    "<path class=\"failed\" d=\"M{:.1} 31l2.5 2 2.5-2 1 1-2.3 1.7 2.3 1.8-1 1-2.5-2-2.5 \
                     2-1-1 2.3-1.8-2.3-1.7z\"/>",
                    middle - 2.5
                );
            }
            "crashed" => {
                let _ =
                    write!(svg, "<path class=\"crashed\" d=\"M{middle:.1} 30.5l3 3-3 3-3-3z\"/>");
            }
            _ => {}
        }
        svg.push_str("</a>");
    }
    svg.push_str("</svg>");
    Svg(svg)
}

/// The bar at the head of a column of the grid of runs by tasks.
pub fn bar(state: &str, took: SignedDuration, longest: SignedDuration) -> Svg {
    let share = took.as_secs_f64() / longest.as_secs_f64().max(0.001);
    let height = (share * 46.0).clamp(2.0, 46.0);
    Svg(format!(
        "<svg class=\"bar\" width=\"10\" height=\"46\" aria-hidden=\"true\"><rect class=\"{state}\" \
         y=\"{:.2}\" width=\"10\" height=\"{height:.2}\" rx=\"1.5\"/></svg>",
        46.0 - height
    ))
}

/// A span of time, drawn from left to right.
#[derive(Clone, Debug)]
pub struct Scale {
    start: Timestamp,
    end: Timestamp,
    ticks: Vec<Timestamp>,
    /// Seconds are shown.
    fine: bool,
}

/// Distances between ticks, in seconds.
const STEPS: [i64; 16] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400];
/// Ticks at most.
const TICKS: f64 = 7.0;

impl Scale {
    pub fn new(start: Timestamp, end: Timestamp, zone: &TimeZone) -> Scale {
        let shortest = start.checked_add(SignedDuration::from_millis(100)).unwrap_or(start);
        let end = end.max(shortest);
        let seconds = start.duration_until(end).as_secs_f64();
        let days = (seconds / 86_400.0 / TICKS).ceil() as i64 * 86_400;
        let fits = |step: &&i64| seconds / **step as f64 <= TICKS;
        let step = STEPS.iter().find(fits).copied().unwrap_or(days);
        // Ticks stand at round times of the zone.
        let offset = i64::from(zone.to_offset(start).seconds());
        let local = start.as_second() + offset;
        let first = (local.div_euclid(step) + 1) * step - offset;
        let ticks = (0..32)
            .filter_map(|count| Timestamp::from_second(first + count * step).ok())
            .take_while(|tick| *tick < end)
            .collect();
        Scale { start, end, ticks, fine: step % 60 != 0 }
    }

    fn percent(&self, at: Timestamp) -> f64 {
        let all = self.start.duration_until(self.end).as_secs_f64();
        (self.start.duration_until(at).as_secs_f64() / all * 100.0).clamp(0.0, 100.0)
    }

    /// The times above the spans.
    pub fn axis(&self, clock: &Clock) -> Svg {
        let mut svg = String::from("<svg class=\"axis\" aria-hidden=\"true\">");
        let room = if self.fine { 22.0 } else { 14.0 };
        let mut last = f64::NEG_INFINITY;
        for tick in &self.ticks {
            let place = self.percent(*tick);
            // A line without a time is better than two times that touch.
            if place - last < room {
                continue;
            }
            last = place;
            let text = if self.fine { clock.second(*tick) } else { clock.minute(*tick) };
            let anchor = match place {
                place if place < 6.0 => "start",
                place if place > 94.0 => "end",
                _ => "middle",
            };
            let _ = write!(
                svg,
                "<text x=\"{place:.2}%\" y=\"12\" text-anchor=\"{anchor}\">{text}</text>"
            );
        }
        svg.push_str("</svg>");
        Svg(svg)
    }

    /// What happened in the span, in words for those who don't see it.
    pub fn span(&self, parts: &[Part], now: Option<Timestamp>, words: &str) -> Svg {
        let mut svg =
            format!("<svg class=\"span\" role=\"img\" aria-label=\"{}\">", escaped(words));
        for tick in &self.ticks {
            let place = self.percent(*tick);
            let _ =
                write!(svg, "<line x1=\"{place:.2}%\" x2=\"{place:.2}%\" y1=\"-11\" y2=\"35\"/>");
        }
        for part in parts {
            let (start, end) = (self.percent(part.start), self.percent(part.end));
            // What was short is seen, too.
            let width = (end - start).max(0.9);
            let start = start.min(100.0 - width);
            if part.state == "wait" {
                if end - start > 0.2 {
                    let _ = write!(
                        svg,
                        "<rect class=\"wait\" x=\"{start:.2}%\" y=\"5\" width=\"{width:.2}%\" \
                         height=\"14\" fill=\"url(#hatch)\"/>"
                    );
                }
                continue;
            }
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{start:.2}%\" y=\"4\" width=\"{width:.2}%\" height=\"16\" \
                 rx=\"2\"/>",
                part.state
            );
            if matches!(part.state, "failed" | "crashed") {
                svg.push_str(&cross(start + width, width > 4.0));
            }
        }
        if let Some(now) = now {
            let place = self.percent(now);
            let _ = write!(
                svg,
                "<line class=\"now\" x1=\"{place:.2}%\" x2=\"{place:.2}%\" y1=\"-11\" y2=\"35\"/>"
            );
        }
        svg.push_str("</svg>");
        Svg(svg)
    }
}

/// A cross at the end of a span: within it, or right of it where there is no room.
fn cross(end: f64, within: bool) -> String {
    let (class, dx) = if within { ("on", -12.2) } else { ("failed", 4.2) };
    // At the right edge there is only room within.
    let (class, dx) = if end > 97.0 && !within { ("failed", -18.0) } else { (class, dx) };
    format!(
        "<svg x=\"{end:.2}%\" y=\"7.3\" width=\"1\" height=\"1\" overflow=\"visible\"><path \
         class=\"{class}\" d=\"M{dx} 0l3.5 3.5 3.5-3.5 1.2 1.2-3.5 3.5 3.5 3.5-1.2 1.2-3.5-3.5-3.5 \
         3.5-1.2-1.2 3.5-3.5-3.5-3.5z\"/></svg>"
    )
}

/// A part of a span: a state, or `wait`.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub start: Timestamp,
    pub end: Timestamp,
    pub state: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let check = |start: &str, end: &str, expect: &[&str]| {
            let zone = TimeZone::get("Asia/Kolkata").unwrap();
            let clock = Clock { now: end.parse().unwrap(), zone: zone.clone() };
            let scale = Scale::new(start.parse().unwrap(), end.parse().unwrap(), &zone);
            let ticks: Vec<String> = scale.ticks.iter().map(|tick| clock.minute(*tick)).collect();
            assert_eq!(ticks, expect);
        };
        check(
            "2026-11-24T00:00:10Z",
            "2026-11-24T00:04:50Z",
            &["05:31", "05:32", "05:33", "05:34"],
        );
        check(
            "2026-11-23T12:30:00Z",
            "2026-11-24T01:42:00Z",
            &["20:00", "22:00", "00:00", "02:00", "04:00", "06:00"],
        );
    }

    #[test]
    fn titles_are_escaped() {
        let bar = Bar {
            href: "/runs/\"><script>".into(),
            state: "failed",
            title: "<b>".into(),
            took: SignedDuration::from_secs(1),
        };
        let svg = bars(&[bar]).to_string();
        assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
        assert_eq!(svg.matches("class=\"failed\"").count(), 2, "a bar and its mark");
    }
}
