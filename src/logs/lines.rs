//! The lines of a log file: each message with its time, its level, and the lines that belong to it.

use crate::output;
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use jiff::Timestamp;
use regex::Regex;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// All
    Info,
    /// Also what commands say on standard error
    Warn,
    /// Errors alone
    Error,
}

impl Level {
    /// By the word in the file.
    fn of(word: &str) -> Option<Level> {
        match word {
            "ERROR" => Some(Level::Error),
            "WARN" => Some(Level::Warn),
            "INFO" | "DEBUG" | "TRACE" => Some(Level::Info),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }

    const fn style(self) -> Style {
        match self {
            Level::Info => Style::new().dimmed(),
            Level::Warn => AnsiColor::Yellow.on_default(),
            Level::Error => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// What was said at once: a line, and the indented ones below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `None`: the file does not say it.
    pub at: Option<Timestamp>,
    pub level: Level,
    /// `stdout` and `stderr` of a command, or the part of tidemill that spoke.
    pub source: String,
    pub text: String,
}

impl Message {
    /// `2026-11-24T02:00:00.123Z  INFO source: text`, as `orchestrator::log` writes it. `None`: the
    /// line belongs to the one before.
    fn parse(line: &str) -> Option<Message> {
        let (at, rest) = line.split_once(' ')?;
        let (word, rest) = rest.trim_start().split_once(' ')?;
        let (source, text) = rest.split_once(": ").unwrap_or(("", rest));
        let at = Some(at.parse().ok()?);
        Some(Message { at, level: Level::of(word)?, source: source.into(), text: text.into() })
    }

    /// Whether who asks for a level wants it: on standard error, a command may warn.
    pub fn is_at_least(&self, level: Level) -> bool {
        self.level >= level || (level == Level::Warn && self.source == "stderr")
    }

    /// For people: the time in the local zone, the level in colour, and what `found` matches.
    pub fn shown(&self, found: Option<&Regex>) -> String {
        let (style, word) = (self.level.style(), self.level.as_str().to_uppercase());
        let mut shown = self.at.map(|at| output::time_ms(at) + " ").unwrap_or_default();
        let _ = write!(shown, "{style}{word:>5}{style:#} ");
        if !self.source.is_empty() {
            let _ = write!(shown, "{}: ", self.source);
        }
        let text = self.text.replace('\n', "\n    ");
        let highlight = AnsiColor::Red.on_default().bold();
        let mut end = 0;
        for part in found.into_iter().flat_map(|regex| regex.find_iter(&text)) {
            let _ = write!(
                shown,
                "{}{highlight}{}{highlight:#}",
                &text[end..part.start()],
                part.as_str()
            );
            end = part.end();
        }
        shown.push_str(&text[end..]);
        shown
    }
}

/// A log that is read as it grows.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// How much of it has been read.
    read: u64,
}

impl Reader {
    pub fn new(path: PathBuf) -> Self {
        Reader { path, read: 0 }
    }

    /// Hands on what has been written since the last call, in whole lines.
    pub fn news(&mut self, mut each: impl FnMut(Message) -> Result<()>) -> Result<()> {
        // An attempt that has said nothing has no file.
        let Ok(mut file) = File::open(&self.path) else { return Ok(()) };
        file.seek(SeekFrom::Start(self.read))?;
        let mut file = BufReader::new(file);
        let mut open: Option<Message> = None;
        let mut line = Vec::new();
        loop {
            line.clear();
            file.read_until(b'\n', &mut line)?;
            let Some(whole) = line.strip_suffix(b"\n") else { break };
            self.read += line.len() as u64;
            let whole = String::from_utf8_lossy(whole);
            match (Message::parse(&whole), &mut open) {
                (None, Some(open)) => {
                    open.text.push('\n');
                    open.text.push_str(whole.strip_prefix("    ").unwrap_or(&whole));
                }
                (parsed, _) => {
                    let next = parsed.unwrap_or_else(|| Message {
                        at: None,
                        level: Level::Info,
                        source: String::new(),
                        text: whole.into_owned(),
                    });
                    if let Some(said) = open.replace(next) {
                        each(said)?;
                    }
                }
            }
        }
        open.map_or(Ok(()), each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut Reader) -> Vec<(Level, bool, String)> {
        let mut all = Vec::new();
        let each = |message: Message| {
            all.push((message.level, message.is_at_least(Level::Warn), message.text));
            Ok(())
        };
        reader.news(each).unwrap();
        all
    }

    #[test]
    fn a_log_is_read_as_it_grows() {
        use std::io::Write;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.1.log");
        let mut reader = Reader::new(path.clone());
        assert_eq!(read(&mut reader), []);
        let mut file = File::create(path).unwrap();
        let begin = "2026-11-24T02:00:00.123Z";
        write!(file, "{begin}  INFO stdout: a: b\n    more\n{begin} ERROR x: bad\n{begin}  WA")
            .unwrap();
        let expect =
            [(Level::Info, false, "a: b\nmore".into()), (Level::Error, true, "bad".into())];
        assert_eq!(read(&mut reader), expect);
        write!(file, "RN x: careful\n{begin}  INFO stderr: hm\n").unwrap();
        let expect = [(Level::Warn, true, "careful".into()), (Level::Info, true, "hm".into())];
        assert_eq!(read(&mut reader), expect);
        assert_eq!(read(&mut reader), []);
    }

    #[test]
    fn what_matches_is_marked() {
        let line = "2026-11-24T02:00:00.123Z ERROR stdout: one two one";
        let mut message = Message::parse(line).unwrap();
        message.at = None;
        let shown = message.shown(Some(&Regex::new("one").unwrap()));
        assert_eq!(shown.matches("\u{1b}[31mone").count(), 2, "{shown:?}");
        let plain = anstream::adapter::strip_str(&shown).to_string();
        assert_eq!(plain, "ERROR stdout: one two one");
    }
}
