//! `bulk_load` beside a Java client of the same Thrift server: the same cells, 1000 rows a call. We
//! read a Delta table on HDFS and sort it by key; the client reads a file, sorted already.

use super::side::{Contest, Side};
use super::{HBASE, Servers, TABLES};
use crate::bench::measure::measure;
use crate::cluster::{Program, Tools};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

const FAMILIES: &str = "basic_info,product,fulfilment";
const MEMORY: &str = "-Xmx512m";

pub(super) struct Puts<'a> {
    servers: &'a Servers<'a>,
    program: Program,
    /// The cells that we have put, as read back: the client puts the same.
    cells: PathBuf,
}

impl<'a> Puts<'a> {
    pub(super) fn prepare(servers: &'a Servers<'a>) -> Result<Self> {
        let program = servers.compile(Tools::Hbase, "HBaseCells")?;
        servers.make_ready("servers", "rows")?;
        // The first load of all would pay for what the region server does only once.
        let warm_up = servers.bench.rounds;
        let names: Vec<String> =
            (0..warm_up).flat_map(|n| [table("ours", n), table("theirs", n)]).collect();
        let mut words = vec!["create", FAMILIES];
        words.extend(names.iter().map(String::as_str));
        servers.tables(&words)?;
        servers.run(warm_up, "servers", &["load"])?;
        let cells = servers.directory.join("cells.tsv");
        dump(servers, &table("ours", warm_up), &cells)?;
        Ok(Puts { servers, program, cells })
    }

    /// What was put is read back, and must be the same, cell by cell.
    fn checked(&self, mut side: Side, table: &str) -> Result<Side> {
        let back = self.servers.directory.join("back.tsv");
        dump(self.servers, table, &back)?;
        side.done.insert("rows", same_lines(&self.cells, &back).with_context(|| table.to_owned())?);
        Ok(side)
    }
}

impl Contest for Puts<'_> {
    const NAMES: (&'static str, &'static str) = ("puts", "java_client");

    fn rounds(&self) -> usize {
        self.servers.bench.rounds
    }

    fn rows(&self) -> u64 {
        self.servers.kv_rows
    }

    fn ours(&mut self, round: usize) -> Result<Side> {
        let (side, _) = self.servers.run(round, "servers", &["load"])?;
        self.checked(side, &table("ours", round))
    }

    fn theirs(&mut self, round: usize) -> Result<Side> {
        let table = table("theirs", round);
        let (host, port) = self.servers.host_and_port(HBASE)?;
        let mut command = self.program.command(&[MEMORY]);
        let run = measure(command.args([host, port, "put", &table]).arg(&self.cells))?;
        self.checked(Side::of_printed(&run)?, &table)
    }
}

fn table(of: &str, round: usize) -> String {
    format!("{TABLES}{of}_{round}")
}

fn dump(servers: &Servers, table: &str, file: &Path) -> Result<()> {
    servers.tables(&["dump", table, &file.display().to_string()])?;
    Ok(())
}

/// How many lines two files have, which must have the same.
fn same_lines(one: &Path, other: &Path) -> Result<u64> {
    let lines = |path| File::open(path).map(|file| BufReader::new(file).lines());
    let (one, mut other) = (lines(one)?, lines(other)?);
    let mut count = 0;
    for line in one {
        let (line, read) = (line?, other.next().transpose()?);
        let read = read.with_context(|| format!("only {count} rows were put"))?;
        ensure!(line == read, "other cells: `{line}` became `{read}`");
        count += 1;
    }
    ensure!(other.next().is_none(), "more than {count} rows were put");
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_cells_are_compared_line_by_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let one = file("one", "1\ta:b\tx\n2\ta:b\ty\n");
        let check = |text: &str| same_lines(&one, &file("other", text)).map_err(|e| e.to_string());
        assert_eq!(check("1\ta:b\tx\n2\ta:b\ty\n"), Ok(2));
        assert_eq!(check("1\ta:b\tx\n"), Err("only 1 rows were put".into()));
        assert!(check("1\ta:b\tx\n2\ta:b\tz\n").unwrap_err().starts_with("other cells"));
        let more = check("1\ta:b\tx\n2\ta:b\ty\n3\ta:b\tz\n");
        assert_eq!(more, Err("more than 2 rows were put".into()));
    }
}
