//! The tasks `clean` and `aggregate` over files of HDFS beside the same work by Spark.

use super::side::{Contest, Side, rows_out};
use super::spark::{SCHEMA, Spark};
use super::{DIRECTORY, HDFS, Servers};
use anyhow::Result;

/// The files with SQL, which are also the outputs of `aggregate`.
const QUESTIONS: [&str; 5] =
    ["daily_sales", "category_sales", "satisfaction", "prime_sales", "top_products"];

pub(super) struct Etl<'a> {
    servers: &'a Servers<'a>,
    spark: Spark,
    csv: String,
    sql: String,
}

impl<'a> Etl<'a> {
    pub(super) fn prepare(servers: &'a Servers<'a>) -> Result<Self> {
        let spark = Spark::prepare(servers, "SparkEtl")?;
        servers.make_ready("servers", "generate")?;
        let csv = format!("{}{DIRECTORY}/files/bench/orders.csv", servers.address(HDFS)?);
        let sql = servers.directory.join("sql").display().to_string();
        Ok(Etl { servers, spark, csv, sql })
    }
}

impl Contest for Etl<'_> {
    const NAMES: (&'static str, &'static str) = ("etl", "spark");

    fn rounds(&self) -> usize {
        self.servers.bench.rounds
    }

    fn rows(&self) -> u64 {
        self.servers.bench.rows
    }

    fn ours(&mut self, round: usize) -> Result<Side> {
        let (mut side, summary) = self.servers.run(round, "servers", &["clean", "aggregate"])?;
        for output in ["valid", "rejected"] {
            side.done.insert(output, rows_out(&summary, "clean", output)?);
        }
        for question in QUESTIONS {
            side.done.insert(question, rows_out(&summary, "aggregate", question)?);
        }
        Ok(side)
    }

    fn theirs(&mut self, round: usize) -> Result<Side> {
        let out = self.servers.hdfs(&format!("spark/etl-{round}"))?;
        let words = [&[&*self.csv, SCHEMA, &self.sql, &out], &QUESTIONS[..]].concat();
        let mut side = self.spark.run(&words)?;
        let clean = |valid: bool| format!("parquet.`{out}/clean` where valid = '{valid}'");
        let answers = QUESTIONS.map(|question| format!("parquet.`{out}/{question}`"));
        let counts = self.spark.count(&[&[clean(true), clean(false)], &answers[..]].concat())?;
        side.done.extend(["valid", "rejected"].into_iter().chain(QUESTIONS).zip(counts));
        Ok(side)
    }
}
