//! How figures, times and tables look in the terminal.

use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
pub use orchestrator::figures::{bytes, count, duration, exact};
use std::fmt::Write as _;

/// A time in the local zone, to the second.
pub fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The same to the millisecond.
pub fn time_ms(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
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

/// A bar as high as `part` is long, beside the longest.
pub fn bar(part: SignedDuration, longest: SignedDuration) -> &'static str {
    const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    let share = part.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE);
    BARS[((share * 8.0).ceil() as usize).clamp(1, 8) - 1]
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Columns of the screen, if standard output is one.
pub fn screen() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into())
}

/// How wide text is set: as the screen, within reason.
pub fn line_width() -> usize {
    screen().unwrap_or(100).clamp(40, 100)
}

/// Text in lines that fit, each indented, those behind the first by `hanging` more.
pub fn wrapped(text: &str, indent: usize, hanging: usize, width: usize) -> Vec<String> {
    let (first, rest) = (" ".repeat(indent), " ".repeat(indent + hanging));
    let options = textwrap::Options::new(width)
        .initial_indent(&first)
        .subsequent_indent(&rest)
        .break_words(false);
    textwrap::wrap(text, options).into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// A run's id for a table: its end alone, which names it as well, where the screen is narrow.
pub fn run_id(id: &str) -> &str {
    let start = id.len().saturating_sub(8);
    if screen().is_some_and(|columns| columns < 120) { id.get(start..).unwrap_or(id) } else { id }
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

    /// Leaves out some columns, the last of them first, until the table fits on the screen.
    #[must_use]
    pub fn without(mut self, columns: &[&str]) -> Self {
        let screen = screen().unwrap_or(usize::MAX);
        for name in columns.iter().rev() {
            if self.widths().iter().sum::<usize>() + 2 * self.columns.len()
                <= screen.saturating_add(2)
            {
                break;
            }
            if let Some(at) = self.columns.iter().position(|(title, _)| title == name) {
                self.columns.remove(at);
                for row in &mut self.rows {
                    row.remove(at);
                }
            }
        }
        self
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |column: usize| {
            let cells = self.rows.iter().map(|row| width(&row[column]));
            cells.chain([width(self.columns[column].0)]).max().unwrap_or(0)
        };
        (0..self.columns.len()).map(widest).collect()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths = self.widths();
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
    fn bars_are_as_high_as_their_share() {
        let millis = SignedDuration::from_millis;
        let bars = [0, 100, 500, 1000].map(|part| bar(millis(part), millis(1000)));
        assert_eq!(bars, ["▁", "▁", "▄", "█"]);
        assert_eq!(bar(millis(0), millis(0)), "▁");
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
