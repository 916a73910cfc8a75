//! Standard output: results get there as text or as JSON, and where they are long and somebody looks
//! at them, by way of a pager, as git's do.

use crate::CANCELLED;
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ends at once where all fits on the screen, keeps colours, and leaves the text there.
const LESS: (&str, &str) = ("LESS", "FRX");

/// Where results go.
enum To {
    Stdout,
    /// A pager, as soon as there is something to show.
    NewPager,
    Pager(Child),
}

static TO: Mutex<To> = Mutex::new(To::Stdout);

fn lock() -> MutexGuard<'static, To> {
    TO.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on results go through a pager, if standard output is a terminal.
pub fn page() {
    if io::stdout().is_terminal() {
        *lock() = To::NewPager;
    }
}

/// Waits until the reader has left the pager.
pub fn close() {
    if let To::Pager(mut pager) = std::mem::replace(&mut *lock(), To::Stdout) {
        drop(pager.stdin.take());
        // How it ended is of no interest: the reader has seen enough.
        let _ = pager.wait();
    }
}

/// The words of the pager: what `TIDEMILL_PAGER` or `PAGER` says, else `less`. Empty: no pager.
fn words(variable: impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    let chosen = ["TIDEMILL_PAGER", "PAGER"].into_iter().find_map(variable);
    let chosen = chosen.map_or("less".to_owned(), |text| text.to_string_lossy().into_owned());
    let words: Vec<String> = chosen.split_whitespace().map(str::to_owned).collect();
    if words == ["cat"] { Vec::new() } else { words }
}

/// Starts the pager; where there is none, standard output is left.
fn start() -> To {
    let words = words(|name| std::env::var_os(name));
    let [program, arguments @ ..] = words.as_slice() else { return To::Stdout };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped());
    if std::env::var_os(LESS.0).is_none() {
        command.env(LESS.0, LESS.1);
    }
    match command.spawn() {
        Ok(pager) => {
            outlive_the_pager();
            To::Pager(pager)
        }
        Err(error) => {
            // `less` is not everywhere; whoever names another one wants to know.
            if error.kind() != ErrorKind::NotFound || program != "less" {
                anstream::eprintln!(
                    "cannot start the pager `{program}`: {error}; TIDEMILL_PAGER or PAGER names it"
                );
            }
            To::Stdout
        }
    }
}

/// Ctrl-C ends the program, yet not before the pager: that would be left alone with the terminal.
fn outlive_the_pager() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Ok(runtime) = runtime {
        std::thread::spawn(move || {
            while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                // Else somebody waits already: for the end of the pager, or until it takes more.
                if let Ok(To::Pager(pager)) = TO.try_lock().as_deref_mut() {
                    drop(pager.stdin.take());
                    let _ = pager.wait();
                    std::process::exit(CANCELLED.into());
                }
            }
        });
    }
}

/// Standard output, or the pager before it.
pub struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut to = lock();
        if matches!(*to, To::NewPager) {
            *to = start();
        }
        watched(match &mut *to {
            To::Pager(Child { stdin: Some(pager), .. }) => pager.write(bytes),
            _ => io::stdout().write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        watched(match &*lock() {
            To::Pager(_) => Ok(()),
            _ => io::stdout().flush(),
        })
    }
}

static LEFT: AtomicBool = AtomicBool::new(false);

/// Whether the reader of our output has seen enough (`tidemill history | head`): what could not be
/// written then is no error.
pub fn has_been_left() -> bool {
    LEFT.load(Ordering::Relaxed)
}

/// Notes that the reader has gone: not all errors that come of it still say so.
fn watched<T>(done: io::Result<T>) -> io::Result<T> {
    if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        LEFT.store(true, Ordering::Relaxed);
    }
    done
}

/// Prints a text, in colour where that is wanted.
pub fn print(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    match anstream::AutoStream::choice(&io::stdout()) {
        anstream::ColorChoice::Never => {
            let plain = anstream::adapter::strip_str(text).to_string();
            Out.write_all(plain.as_bytes())?;
        }
        _ => Out.write_all(text.as_bytes())?,
    }
    Out.flush()
}

/// Prints a value as JSON over several lines.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(value)?))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_is_that_of_tidemill_then_of_all_then_less() {
        let words = |own: Option<&str>, all: Option<&str>| {
            words(|name| if name == "PAGER" { all } else { own }.map(OsString::from)).join("+")
        };
        assert_eq!(words(None, None), "less");
        assert_eq!(words(None, Some("more -s")), "more+-s");
        assert_eq!(words(Some("most"), Some("more")), "most");
        assert_eq!(words(Some(""), Some("more")), "");
        assert_eq!(words(None, Some("cat")), "");
    }
}
