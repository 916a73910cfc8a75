//! `tidemill man`

use crate::{Cli, OK, stdout};
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill man | man -l -                      read the page of tidemill
  tidemill man --dir ~/.local/share/man/man1   then `man tidemill-run`")]
pub struct Arguments {
    /// Write a page for tidemill and one for each verb into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let command = Cli::command();
    match &arguments.dir {
        Some(dir) => {
            let cannot = || format!("cannot write the pages into `{}`", dir.display());
            std::fs::create_dir_all(dir).with_context(cannot)?;
            clap_mangen::generate_to(command, dir).with_context(cannot)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            stdout::Out.write_all(&page)?;
        }
    }
    Ok(OK)
}
