//! `cargo xtask fuzz`: a fuzzer writes pipelines, led by which code each of them reaches, and holds
//! what becomes of them to `fuzz/src/check.rs`.

use crate::{cargo_with, root, target_directory};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// libFuzzer needs to be told which code was reached and what was compared. These passes of LLVM are
/// what `-Z sanitizer` would choose; chosen so, they need no nightly Rust.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask fuzz                            for ten minutes; ends at the first finding
  cargo xtask fuzz target/fuzz/found/crash-…  that finding once more
  cargo xtask fuzz FILE -- -minimize_crash=1  makes it smaller, for --minutes
  cargo xtask fuzz -- -help=1                 what else libFuzzer can do")]
pub struct Arguments {
    /// Check only these files
    files: Vec<PathBuf>,
    /// For how long
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Further options of libFuzzer
    #[arg(last = true)]
    options: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let own = root().join("fuzz");
    let target = target_directory()?.join("fuzz");
    let [seeds, corpus, found, project] =
        ["seeds", "corpus", "found", "project"].map(|name| target.join(name));
    for directory in [&seeds, &corpus, &found, &project] {
        fs::create_dir_all(directory)?;
    }
    write_seeds(&seeds)?;
    write_project(&project)?;
    lock(&own)?;
    let mut words = vec![
        format!("-max_total_time={}", arguments.minutes * 60),
        "-timeout=10".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-max_len=8192".to_owned(),
        "-print_final_stats=1".to_owned(),
        format!("-dict={}", own.join("pipeline.dict").display()),
        format!("-artifact_prefix={}/", found.display()),
    ];
    words.extend(arguments.options.iter().cloned());
    if arguments.files.is_empty() {
        words.extend([&corpus, &seeds].map(|directory| directory.display().to_string()));
    }
    for file in &arguments.files {
        words.push(std::path::absolute(file)?.display().to_string());
    }
    let (manifest, target) = (own.join("Cargo.toml"), target.display().to_string());
    let manifest = manifest.display().to_string();
    // With a target named, the flags are not for build scripts.
    let how = ["--release", "--target", "host-tuple", "--target-dir", &target];
    let how = [&how[..], &["--manifest-path", &manifest]].concat();
    let project = project.display().to_string();
    let env = [("RUSTFLAGS", FLAGS.to_owned()), ("TIDEMILL_FUZZ_PROJECT", project)];
    cargo_with(&[&["build"], &how[..]].concat(), &env)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    cargo_with(&[&["run"], &how[..], &["--"], &words].concat(), &env)
        .with_context(|| format!("what was found is in `{}`", found.display()))
}

/// What the fuzzer begins with: the cases, the shipped pipelines, and the YAML of the documents.
fn write_seeds(seeds: &Path) -> Result<()> {
    for directory in ["orchestrator/tests/cases", "pipelines"] {
        for file in files(&root().join(directory), "yaml")? {
            let name = file.file_name().context("a file without a name")?;
            fs::copy(&file, seeds.join(name))?;
        }
    }
    let mut documents = files(&root().join("docs"), "md")?;
    documents.push(root().join("README.md"));
    for document in documents {
        let text = fs::read_to_string(&document)?;
        let stem = document.file_stem().unwrap_or_default().display();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for (at, block) in blocks.enumerate() {
            fs::write(seeds.join(format!("{stem}-{at}.yaml")), whole(block))?;
        }
    }
    Ok(())
}

/// A pipeline that an example is, or is a part of.
fn whole(block: &str) -> String {
    let mut text = block.to_owned();
    for (key, part) in [("name", "name: doc\n"), ("tasks", "tasks: {t: {uses: noop}}\n")] {
        if !block.lines().any(|line| line.starts_with(&format!("{key}:"))) {
            text.push_str(part);
        }
    }
    text
}

/// What the pipelines refer to: the project file and the SQL of the cases.
fn write_project(project: &Path) -> Result<()> {
    let cases = root().join("orchestrator/tests/cases");
    fs::copy(cases.join("tidemill.yaml"), project.join("tidemill.yaml"))?;
    fs::create_dir_all(project.join("sql"))?;
    for file in files(&cases.join("sql"), "sql")? {
        let name = file.file_name().context("a file without a name")?;
        fs::copy(&file, project.join("sql").join(name))?;
    }
    Ok(())
}

/// The files of a directory with an extension.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("cannot read `{}`", directory.display()))?;
    let paths: std::io::Result<Vec<PathBuf>> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect();
    Ok(paths?.into_iter().filter(|path| path.extension().is_some_and(|e| e == extension)).collect())
}

/// Lets the fuzzer be built of the same versions as all else: cargo adds to a copy of the lock file
/// what only it needs.
fn lock(own: &Path) -> Result<()> {
    let (theirs, ours) = (root().join("Cargo.lock"), own.join("Cargo.lock"));
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    if !changed(&ours).is_ok_and(|ours| changed(&theirs).is_ok_and(|theirs| theirs < ours)) {
        fs::write(ours, fs::read(theirs)?)?;
    }
    Ok(())
}
