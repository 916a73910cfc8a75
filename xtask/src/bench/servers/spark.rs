//! Spark in a process of its own, as `spark-submit --master local[2]` starts it.

use super::Servers;
use super::side::Side;
use crate::bench::measure::measure;
use crate::cluster::{Program, Tools};
use anyhow::{Context, Result};
use std::process::Command;

/// The columns of the orders, with the types that tidemill gives them.
pub(super) const SCHEMA: &str = "order_id bigint, product_id bigint, customer_id bigint, \
    product_category string, price double, quantity bigint, order_timestamp timestamp, \
    user_rating bigint, payment_method string, delivery_status string, is_prime boolean, \
    delivery_days bigint, discount double, country string";

const OPTIONS: [&str; 12] = [
    "-Xmx2g",
    "-Dspark.master=local[2]",
    "-Dspark.app.name=tidemill-bench",
    "-Dspark.ui.enabled=false",
    "-Dspark.driver.host=127.0.0.1",
    "-Dspark.driver.bindAddress=127.0.0.1",
    // Two for each thread; its 200 are for larger data.
    "-Dspark.sql.shuffle.partitions=4",
    // Else it sorts all rows before it writes them to `valid=true` and `valid=false`.
    "-Dspark.sql.maxConcurrentOutputFileWriters=4",
    "-Dspark.sql.parquet.compression.codec=zstd",
    "-Dspark.sql.session.timeZone=UTC",
    "-Dspark.hadoop.dfs.replication=1",
    "-Djava.net.preferIPv4Stack=true",
];

pub(super) struct Spark {
    program: Program,
    count: Program,
    scratch: String,
}

impl Spark {
    pub(super) fn prepare(servers: &Servers, class: &str) -> Result<Self> {
        let scratch = format!("-Dspark.local.dir={}", servers.directory.join("spark").display());
        let program = servers.compile(Tools::Spark, class)?;
        let count = servers.compile(Tools::Spark, "SparkCount")?;
        Ok(Spark { program, count, scratch })
    }

    /// A program that prints the seconds that it took once Spark was up.
    pub(super) fn run(&self, words: &[&str]) -> Result<Side> {
        Side::of_printed(&measure(self.command(&self.program).args(words))?)
    }

    /// How many rows there are, for each of what may stand behind `from` in SQL.
    pub(super) fn count(&self, relations: &[String]) -> Result<Vec<u64>> {
        counts(&measure(self.command(&self.count).args(relations))?.out)
    }

    fn command(&self, program: &Program) -> Command {
        program.command(&[&OPTIONS[..], &[&self.scratch]].concat())
    }
}

fn counts(printed: &str) -> Result<Vec<u64>> {
    let count = |line: &str| line.parse().with_context(|| format!("`{line}` is no count"));
    printed.lines().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_printed_line_by_line() {
        assert_eq!(counts("5\n0\n").unwrap(), [5, 0]);
        assert_eq!(counts("5\nfive\n").unwrap_err().to_string(), "`five` is no count");
    }
}
