//! The closed list of services and of the servers, each one process, that they are made of.

use super::ports::{LOOPBACK, Port, Ports};
use clap::ValueEnum;
use std::path::Path;

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// One broker, which is its own controller
    Kafka,
    /// A name node and a data node
    Hdfs,
    /// Master, region server and ZooKeeper in one process, on HDFS; and its Thrift server
    Hbase,
    /// Spark Connect with its executors in the same process
    Spark,
}

/// In the order in which they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    NameNode,
    DataNode,
    Kafka,
    HBase,
    Spark,
    Thrift,
}

/// Servers of one stage start side by side, when those of the stage before are ready.
pub(super) const STAGES: [&[Server]; 3] = [
    &[Server::NameNode, Server::DataNode, Server::Kafka],
    &[Server::HBase, Server::Spark],
    &[Server::Thrift],
];

impl Service {
    pub(super) const ALL: [Service; 4] =
        [Service::Kafka, Service::Hdfs, Service::Hbase, Service::Spark];

    pub(super) fn servers(self) -> &'static [Server] {
        match self {
            Service::Kafka => &[Server::Kafka],
            Service::Hdfs => &[Server::NameNode, Server::DataNode],
            Service::Hbase => &[Server::HBase, Server::Thrift],
            Service::Spark => &[Server::Spark],
        }
    }

    /// These services (all, if none is named) and those that they need.
    pub(super) fn with_needed(named: &[Service]) -> Vec<Service> {
        let needed = |service| service == Service::Hdfs && named.contains(&Service::Hbase);
        Service::select(named, needed)
    }

    /// These services (all, if none is named) and those that need them.
    pub(super) fn with_dependents(named: &[Service]) -> Vec<Service> {
        let depends = |service| service == Service::Hbase && named.contains(&Service::Hdfs);
        Service::select(named, depends)
    }

    fn select(named: &[Service], also: impl Fn(Service) -> bool) -> Vec<Service> {
        let selected =
            |service: &Service| named.is_empty() || named.contains(service) || also(*service);
        Service::ALL.into_iter().filter(selected).collect()
    }

    /// The variable by which tests find the service, and its value.
    pub(super) fn variable(self, ports: &Ports) -> (&'static str, String) {
        match self {
            Service::Kafka => ("TIDEMILL_TEST_KAFKA", ports.address(Port::Kafka)),
            Service::Hdfs => {
                ("TIDEMILL_TEST_HDFS", format!("hdfs://{}", ports.address(Port::NameNode)))
            }
            Service::Hbase => ("TIDEMILL_TEST_HBASE", ports.address(Port::Thrift)),
            Service::Spark => {
                ("TIDEMILL_TEST_SPARK", format!("sc://{}", ports.address(Port::Spark)))
            }
        }
    }
}

impl Server {
    /// The name of its pid file and its log, and what a person reads.
    pub(super) fn name(self) -> &'static str {
        match self {
            Server::NameNode => "namenode",
            Server::DataNode => "datanode",
            Server::Kafka => "kafka",
            Server::HBase => "hbase",
            Server::Spark => "spark",
            Server::Thrift => "thrift",
        }
    }

    /// Where it listens; the first is where its clients go.
    pub(super) fn ports(self) -> &'static [Port] {
        match self {
            Server::NameNode => &[Port::NameNode, Port::NameNodeHttp],
            Server::DataNode => &[Port::DataNode, Port::DataNodeHttp, Port::DataNodeIpc],
            Server::Kafka => &[Port::Kafka, Port::KafkaController],
            Server::HBase => &[
                Port::HBaseMaster,
                Port::HBaseMasterHttp,
                Port::HBaseRegionServer,
                Port::ZooKeeper,
            ],
            Server::Spark => &[Port::Spark],
            Server::Thrift => &[Port::Thrift],
        }
    }

    pub(super) fn library(self) -> &'static Library {
        match self {
            Server::NameNode | Server::DataNode => &HADOOP,
            Server::Kafka => &KAFKA,
            Server::HBase | Server::Thrift => &HBASE,
            Server::Spark => &SPARK,
        }
    }

    /// The directory of its configuration.
    pub(super) fn conf(self) -> &'static str {
        match self {
            Server::NameNode | Server::DataNode => "hadoop",
            Server::Kafka => "kafka",
            Server::HBase | Server::Thrift => "hbase",
            Server::Spark => "spark",
        }
    }

    /// How much memory Java may take for it.
    pub(super) fn memory(self) -> [&'static str; 3] {
        match self {
            Server::NameNode | Server::DataNode => {
                ["-Xms64m", "-Xmx192m", "-XX:ReservedCodeCacheSize=96m"]
            }
            Server::Kafka => ["-Xms128m", "-Xmx384m", "-XX:ReservedCodeCacheSize=96m"],
            Server::HBase => ["-Xms128m", "-Xmx640m", "-XX:ReservedCodeCacheSize=96m"],
            Server::Spark => ["-Xms128m", "-Xmx1g", "-XX:ReservedCodeCacheSize=160m"],
            Server::Thrift => ["-Xms32m", "-Xmx192m", "-XX:ReservedCodeCacheSize=96m"],
        }
    }

    /// Its main class and the arguments.
    pub(super) fn main(self, conf: &Path, ports: &Ports) -> Vec<String> {
        match self {
            Server::NameNode => words(&["org.apache.hadoop.hdfs.server.namenode.NameNode"]),
            Server::DataNode => words(&["org.apache.hadoop.hdfs.server.datanode.DataNode"]),
            Server::Kafka => words(&["kafka.Kafka", &path(conf, "server.properties")]),
            Server::HBase => words(&["org.apache.hadoop.hbase.master.HMaster", "start"]),
            Server::Spark => words(&[
                "org.apache.spark.deploy.SparkSubmit",
                "--properties-file",
                &path(conf, "spark.properties"),
                "--class",
                "org.apache.spark.sql.connect.service.SparkConnectServer",
                "spark-internal",
            ]),
            Server::Thrift => words(&[
                "org.apache.hadoop.hbase.thrift.ThriftServer",
                "start",
                "-threadpool",
                "--bind",
                LOOPBACK,
                "-p",
                &ports.of(Port::Thrift).to_string(),
                "--infoport",
                "-1",
            ]),
        }
    }

    /// Who makes the empty storage that it starts from, if it does not do so itself: the directory
    /// under `data/`, the main class and its arguments.
    pub(super) fn format(self, conf: &Path) -> Option<(&'static str, Vec<String>)> {
        match self {
            Server::NameNode => {
                let class = "org.apache.hadoop.hdfs.server.namenode.NameNode";
                let words = words(&[class, "-format", "-nonInteractive", "-clusterId", "tidemill"]);
                Some(("hdfs", words))
            }
            Server::Kafka => {
                let properties = path(conf, "server.properties");
                // The id is 16 bytes in base64, which can be read as words.
                let id = "tidemill-on-loopback-A";
                let words =
                    words(&["kafka.tools.StorageTool", "format", "-t", id, "-c", &properties]);
                Some(("kafka", words))
            }
            _ => None,
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn path(directory: &Path, file: &str) -> String {
    directory.join(file).display().to_string()
}

/// Jars that go together on a class path: a Maven project that has nothing but dependencies.
pub(super) struct Library {
    pub(super) name: &'static str,
    pub(super) pom: &'static str,
}

pub(super) const HADOOP: Library = Library { name: "hadoop", pom: include_str!("poms/hadoop.xml") };
pub(super) const HBASE: Library = Library { name: "hbase", pom: include_str!("poms/hbase.xml") };
pub(super) const KAFKA: Library = Library { name: "kafka", pom: include_str!("poms/kafka.xml") };
pub(super) const KAFKA_TOOLS: Library =
    Library { name: "kafka-tools", pom: include_str!("poms/kafka-tools.xml") };
pub(super) const SPARK: Library = Library { name: "spark", pom: include_str!("poms/spark.xml") };
pub(super) const SPARK_KAFKA: Library =
    Library { name: "spark-kafka", pom: include_str!("poms/spark-kafka.xml") };

impl Library {
    /// The version that its project pins in the property of its name.
    pub(super) fn version(&self) -> &'static str {
        let begin = format!("<{}.version>", self.name);
        let after = self.pom.split_once(&begin).map_or("", |(_, after)| after);
        after.split_once('<').map_or("", |(version, _)| version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_pins_its_version() {
        for library in [&HADOOP, &HBASE, &KAFKA, &KAFKA_TOOLS, &SPARK, &SPARK_KAFKA] {
            let version = library.version();
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{}", library.name);
        }
    }

    #[test]
    fn the_connector_is_that_of_the_same_spark() {
        assert_eq!(SPARK_KAFKA.version(), SPARK.version());
    }

    #[test]
    fn every_server_is_in_one_stage_and_one_service() {
        let stages = STAGES.concat();
        let mut services: Vec<Server> =
            Service::ALL.iter().flat_map(|service| service.servers().to_vec()).collect();
        services.sort_by_key(|server| stages.iter().position(|other| other == server));
        assert_eq!(stages, services);
    }

    #[test]
    fn hbase_brings_hdfs_and_hdfs_takes_hbase_along() {
        use Service::{Hbase, Hdfs, Kafka};
        assert_eq!(Service::with_needed(&[]), Service::ALL);
        assert_eq!(Service::with_needed(&[Hbase]), [Hdfs, Hbase]);
        assert_eq!(Service::with_needed(&[Kafka]), [Kafka]);
        assert_eq!(Service::with_dependents(&[Hdfs]), [Hdfs, Hbase]);
        assert_eq!(Service::with_dependents(&[Hbase]), [Hbase]);
    }

    #[test]
    fn tests_find_the_services_by_variables() {
        let ports = Ports::wanted(0, |_| None).unwrap();
        let variables = Service::ALL.map(|service| service.variable(&ports));
        let text = variables.map(|(name, value)| format!("{name}={value}"));
        assert_eq!(
            text,
            [
                "TIDEMILL_TEST_KAFKA=127.0.0.1:9092",
                "TIDEMILL_TEST_HDFS=hdfs://127.0.0.1:9000",
                "TIDEMILL_TEST_HBASE=127.0.0.1:9090",
                "TIDEMILL_TEST_SPARK=sc://127.0.0.1:15002",
            ]
        );
    }
}
