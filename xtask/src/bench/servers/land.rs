//! `land` beside Spark Structured Streaming: all messages of a topic as typed rows on HDFS, with
//! how far they reach; as a version of a Delta table here, as Parquet and a checkpoint there.

use super::side::{Contest, Side, rows_out};
use super::spark::{SCHEMA, Spark};
use super::{KAFKA, Servers, TOPICS};
use anyhow::Result;

pub(super) struct Land<'a> {
    servers: &'a Servers<'a>,
    spark: Spark,
}

impl<'a> Land<'a> {
    pub(super) fn prepare(servers: &'a Servers<'a>) -> Result<Self> {
        let spark = Spark::prepare(servers, "SparkLand")?;
        servers.make_ready("kafka", "generate")?;
        servers.make_ready("kafka", "fill")?;
        Ok(Land { servers, spark })
    }
}

impl Contest for Land<'_> {
    const NAMES: (&'static str, &'static str) = ("land", "spark");

    fn rounds(&self) -> usize {
        self.servers.bench.rounds
    }

    fn rows(&self) -> u64 {
        self.servers.bench.rows
    }

    fn ours(&mut self, round: usize) -> Result<Side> {
        let (mut side, summary) = self.servers.run(round, "servers", &["land"])?;
        side.done.insert("landed", rows_out(&summary, "land", "orders")?);
        side.done.insert("dead letters", rows_out(&summary, "land", "dead_letters")?);
        Ok(side)
    }

    fn theirs(&mut self, round: usize) -> Result<Side> {
        let out = self.servers.hdfs(&format!("spark/land-{round}"))?;
        let checkpoint = self.servers.hdfs(&format!("spark/checkpoint-{round}"))?;
        let topic = format!("{TOPICS}land");
        let brokers = self.servers.address(KAFKA)?;
        let mut side = self.spark.run(&[brokers, &topic, SCHEMA, &out, &checkpoint])?;
        let is_dead = |not: &str| format!("parquet.`{out}` where dead_letter is {not} null");
        let counts = self.spark.count(&[is_dead(""), is_dead("not")])?;
        side.done.extend(["landed", "dead letters"].into_iter().zip(counts));
        Ok(side)
    }
}
