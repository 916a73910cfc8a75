//! What the tests need beyond Rust.

use crate::cluster::Java;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// A package of Debian, and whether what it brings is there.
type Package = (&'static str, fn() -> bool);

const NEEDED: [Package; 9] = [
    ("openjdk-17-jre-headless", || Java::find().is_ok()),
    ("maven", || answers("mvn")),
    ("protobuf-compiler", || answers("protoc")),
    ("libprotobuf-dev", has_protobuf_files),
    ("chromium", || answers("chromium")),
    ("nodejs", || answers("node")),
    ("npm", || answers("npm")),
    ("python3-venv", has_venv),
    ("tzdata", || Path::new("/usr/share/zoneinfo/UTC").exists()),
];

fn answers(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn has_venv() -> bool {
    let import = Command::new("python3").args(["-c", "import venv, ensurepip"]).output();
    import.is_ok_and(|output| output.status.success())
}

/// The client of Spark Connect is made from files that include those of protobuf itself.
fn has_protobuf_files() -> bool {
    let places = ["/usr/include", "/usr/local/include", "/opt/homebrew/include"];
    let named = std::env::var_os("PROTOC_INCLUDE").into_iter();
    let mut places = named.chain(places.map(Into::into));
    places.any(|place| Path::new(&place).join("google/protobuf/any.proto").exists())
}

/// Installs what is missing, as root on Debian and its kin; else says what to do.
pub fn install() -> Result<()> {
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(_, is_there)| !is_there()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let command = format!("apt-get install --yes --no-install-recommends {}", missing.join(" "));
    if !rustix::process::geteuid().is_root() || !answers("apt-get") {
        bail!(
            "the tests with real servers and in a browser need more than Rust; on Debian:\n  sudo {command}\n\
             or leave them out: `cargo xtask test --fast`"
        );
    }
    eprintln!("== {command}");
    let apt = |words: &[&str]| {
        let status = Command::new("apt-get")
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .context("cannot run apt-get")?;
        match status.success() {
            true => Ok(()),
            false => bail!("`apt-get {}` failed; its output is above", words.join(" ")),
        }
    };
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    // The lists of a fresh machine may be empty or old.
    apt(&words).or_else(|_| apt(&["update"]).and_then(|()| apt(&words)))
}
