//! How figures, times and tables look in the terminal.

use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::fmt::Write as _;

/// `31 ms`, `2.8 s`, `41 s`, `4 min 12 s`, `18 h 48 min`, `18 days`.
pub fn duration(duration: SignedDuration) -> String {
    let millis = duration.as_millis().max(0);
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis} ms"),
        1..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `388`, `12.3 k`, `1.20 M`: three figures that count.
pub fn count(count: u64) -> String {
    scaled(count, &["", " k", " M", " G", " T"])
}

/// `388 B`, `12.3 kB`, `1.04 GB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes, &[" B", " kB", " MB", " GB", " TB"])
}

fn scaled(number: u64, units: &[&str]) -> String {
    let mut value = number as f64;
    let mut unit = 0;
    // 999.5 would be shown as 1000.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match (unit, value) {
        (0, _) => 0,
        (_, value) if value < 9.995 => 2,
        (_, value) if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{}", units[unit])
}

/// `1,234,567`.
pub fn exact(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in the local zone, to the second.
pub fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The name of the local zone, for the head of a table.
pub fn zone() -> String {
    TimeZone::system().iana_name().unwrap_or("local time").to_owned()
}

/// The colour and the mark of a state; it is told apart without colour too.
pub fn state(state: &str) -> (Style, &'static str) {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match state {
        "succeeded" => (colour(AnsiColor::Green), "●"),
        "failed" => (colour(AnsiColor::Red).bold(), "■"),
        "crashed" | "lost" => (colour(AnsiColor::Red).bold(), "◆"),
        "running" => (colour(AnsiColor::Cyan), "◐"),
        "retrying" | "waiting" | "ready" => (colour(AnsiColor::Yellow), "◌"),
        "cancelled" => (colour(AnsiColor::Yellow), "□"),
        _ => (Style::new().dimmed(), "○"),
    }
}

/// `● succeeded`, in colour.
pub fn state_label(name: &str) -> String {
    let (style, mark) = state(name);
    format!("{style}{mark} {}{style:#}", name.replace('_', " "))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A table of text: columns as wide as their widest cell, two spaces apart.
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widest = |column: usize| {
            let cells = self.rows.iter().map(|row| width(&row[column]));
            cells.chain([width(self.columns[column].0)]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        let head = Style::new().dimmed();
        let titles = self.columns.iter().map(|(title, _)| format!("{head}{title}{head:#}"));
        let rows = self.rows.iter().cloned();
        for row in std::iter::once(titles.collect::<Vec<_>>()).chain(rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - width(cell));
                let _ = match self.columns[column].1 {
                    Align::Left => write!(line, "{cell}{pad}  "),
                    Align::Right => write!(line, "{pad}{cell}  "),
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Characters on the screen: escape sequences take no room.
fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        let shown = |millis| duration(SignedDuration::from_millis(millis));
        assert_eq!(shown(31), "31 ms");
        assert_eq!(shown(2_849), "2.8 s");
        assert_eq!(shown(41_999), "41 s");
        assert_eq!(shown(252_000), "4 min 12 s");
        assert_eq!(shown(67_680_000), "18 h 48 min");
        assert_eq!(count(999), "999");
        assert_eq!(count(999_700), "1.00 M");
        assert_eq!(count(12_345), "12.3 k");
        assert_eq!(bytes(1_040_000_000), "1.04 GB");
        assert_eq!(exact(1_234_567), "1,234,567");
        assert_eq!(exact(12), "12");
    }

    #[test]
    fn tables_align_despite_colour() {
        let mut table = Table::new(&[("task", Align::Left), ("rows", Align::Right)]);
        table.row(vec![state_label("succeeded"), "5".into()]);
        table.row(vec!["x".into(), "1,000".into()]);
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(plain, "task          rows\n● succeeded      5\nx            1,000\n");
    }
}
