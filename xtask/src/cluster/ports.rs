//! Which port each server listens on: a default, a variable that moves it, an offset for all.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::TcpListener;

/// The servers know no passwords: they listen nowhere else.
pub(super) const LOOPBACK: &str = "127.0.0.1";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Port {
    Kafka,
    KafkaController,
    NameNode,
    NameNodeHttp,
    DataNode,
    DataNodeHttp,
    DataNodeIpc,
    ZooKeeper,
    HBaseMaster,
    HBaseMasterHttp,
    HBaseRegionServer,
    Thrift,
    Spark,
}

const PORTS: [(Port, &str, u16); 13] = [
    (Port::Kafka, "TIDEMILL_CLUSTER_KAFKA_PORT", 9092),
    (Port::KafkaController, "TIDEMILL_CLUSTER_KAFKA_CONTROLLER_PORT", 9093),
    (Port::NameNode, "TIDEMILL_CLUSTER_NAMENODE_PORT", 9000),
    (Port::NameNodeHttp, "TIDEMILL_CLUSTER_NAMENODE_HTTP_PORT", 9870),
    (Port::DataNode, "TIDEMILL_CLUSTER_DATANODE_PORT", 9866),
    (Port::DataNodeHttp, "TIDEMILL_CLUSTER_DATANODE_HTTP_PORT", 9864),
    (Port::DataNodeIpc, "TIDEMILL_CLUSTER_DATANODE_IPC_PORT", 9867),
    (Port::ZooKeeper, "TIDEMILL_CLUSTER_ZOOKEEPER_PORT", 2181),
    (Port::HBaseMaster, "TIDEMILL_CLUSTER_HBASE_MASTER_PORT", 16000),
    (Port::HBaseMasterHttp, "TIDEMILL_CLUSTER_HBASE_MASTER_HTTP_PORT", 16010),
    (Port::HBaseRegionServer, "TIDEMILL_CLUSTER_HBASE_REGIONSERVER_PORT", 16020),
    (Port::Thrift, "TIDEMILL_CLUSTER_THRIFT_PORT", 9090),
    (Port::Spark, "TIDEMILL_CLUSTER_SPARK_PORT", 15002),
];

impl Port {
    /// The environment variable that moves it.
    pub(super) fn variable(self) -> &'static str {
        PORTS.iter().find(|(port, ..)| *port == self).map_or("", |(_, variable, _)| variable)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ports(BTreeMap<Port, u16>);

impl Ports {
    /// The ports that were asked for: `variable` looks up an environment variable.
    pub(super) fn wanted(offset: u16, variable: impl Fn(&str) -> Option<String>) -> Result<Ports> {
        let mut ports = BTreeMap::new();
        for (port, name, default) in PORTS {
            let base = match variable(name) {
                Some(text) => {
                    text.parse().with_context(|| format!("`{name}={text}` is no port"))?
                }
                None => default,
            };
            let moved = base.checked_add(offset).filter(|number| *number > 0);
            let moved = moved.with_context(|| {
                format!("port {base} and an offset of {offset} are no port together")
            })?;
            if let Some((other, _)) = ports.iter().find(|(_, number)| **number == moved) {
                bail!("port {moved} is given twice: {} and {name}", Port::variable(*other));
            }
            ports.insert(port, moved);
        }
        Ok(Ports(ports))
    }

    pub(super) fn of(&self, port: Port) -> u16 {
        self.0.get(&port).copied().unwrap_or_default()
    }

    /// Host and port, as clients write it.
    pub(super) fn address(&self, port: Port) -> String {
        format!("{LOOPBACK}:{}", self.of(port))
    }

    /// The ports that are elsewhere in `other`, as `name: port, not port`.
    pub(super) fn differences(&self, other: &Ports) -> Vec<String> {
        let moved = self.0.iter().filter(|(port, number)| other.of(**port) != **number);
        moved
            .map(|(port, number)| format!("{}: {number}, not {}", port.variable(), other.of(*port)))
            .collect()
    }

    /// Whether nobody listens there. Binding asks the kernel; connecting could end at a server
    /// that is just too busy to answer.
    pub(super) fn is_free(&self, port: Port) -> bool {
        TcpListener::bind((LOOPBACK, self.of(port))).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(offset: u16, variables: &[(&str, &str)]) -> Result<Ports> {
        Ports::wanted(offset, |name| {
            let set = variables.iter().find(|(variable, _)| *variable == name);
            set.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_offset_moves_all_ports_and_a_variable_one() {
        let plain = ports(0, &[]).unwrap();
        assert_eq!((plain.of(Port::Kafka), plain.of(Port::Spark)), (9092, 15002));
        let moved = ports(100, &[("TIDEMILL_CLUSTER_KAFKA_PORT", "19092")]).unwrap();
        assert_eq!((moved.of(Port::Kafka), moved.of(Port::Spark)), (19192, 15102));
        assert_eq!(moved.address(Port::NameNode), "127.0.0.1:9100");
        let one = ports(0, &[("TIDEMILL_CLUSTER_KAFKA_PORT", "19092")]).unwrap();
        assert_eq!(one.differences(&plain), ["TIDEMILL_CLUSTER_KAFKA_PORT: 19092, not 9092"]);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for (offset, variables) in [
            (60_000, [("", "")]),
            (0, [("TIDEMILL_CLUSTER_THRIFT_PORT", "9O90")]),
            (0, [("TIDEMILL_CLUSTER_THRIFT_PORT", "0")]),
            (0, [("TIDEMILL_CLUSTER_THRIFT_PORT", "9092")]),
        ] {
            assert!(ports(offset, &variables).is_err(), "{offset} {variables:?}");
        }
    }

    #[test]
    fn a_port_that_someone_listens_on_is_not_free() {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let number = listener.local_addr().unwrap().port().to_string();
        let ports = ports(0, &[("TIDEMILL_CLUSTER_KAFKA_PORT", &number)]).unwrap();
        assert!(!ports.is_free(Port::Kafka));
    }

    #[test]
    fn ports_are_stored_by_name() {
        let plain = ports(7, &[]).unwrap();
        let stored = serde_json::to_string(&plain).unwrap();
        assert!(stored.starts_with(r#"{"kafka":9099,"kafka_controller":9100,"#), "{stored}");
        assert_eq!(serde_json::from_str::<Ports>(&stored).unwrap(), plain);
    }
}
