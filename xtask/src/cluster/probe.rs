//! Whether a server is ready, asked in its own protocol: an open port says little.

use super::http::{connect, request};
use super::ports::{Port, Ports};
use super::servers::Server;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

/// An error says what is still missing.
pub(super) fn ready(server: Server, ports: &Ports) -> Result<()> {
    let result = match server {
        Server::Kafka => kafka(ports.of(Port::Kafka)),
        Server::NameNode => name_node(ports.of(Port::NameNodeHttp)),
        Server::DataNode => data_node(ports.of(Port::DataNodeHttp), ports.of(Port::NameNodeHttp)),
        Server::HBase => hbase(ports.of(Port::HBaseMasterHttp)),
        Server::Thrift => thrift(ports.of(Port::Thrift)),
        Server::Spark => spark(ports.of(Port::Spark)),
    };
    result.map_err(|error| match error.downcast_ref::<std::io::Error>() {
        // What a read that takes too long ends with, in the words of the system.
        Some(late) if late.kind() == ErrorKind::WouldBlock => anyhow!("no answer in time"),
        _ => error,
    })
}

/// A Metadata request names a broker once it is registered and active.
/// <https://kafka.apache.org/protocol#The_Messages_Metadata>
fn kafka(port: u16) -> Result<()> {
    const METADATA: i16 = 3;
    const CORRELATION: i32 = 7;
    let client = b"probe";
    let mut body = Vec::new();
    body.extend(METADATA.to_be_bytes());
    body.extend(1_i16.to_be_bytes()); // version
    body.extend(CORRELATION.to_be_bytes());
    body.extend((client.len() as i16).to_be_bytes());
    body.extend(client);
    body.extend((-1_i32).to_be_bytes()); // all topics
    let mut stream = connect(port, Duration::from_secs(5))?;
    stream.write_all(&[&(body.len() as i32).to_be_bytes()[..], &body].concat())?;
    let _length = read_i32(&mut stream)?;
    ensure!(read_i32(&mut stream)? == CORRELATION, "the answer is to another question");
    ensure!(read_i32(&mut stream)? > 0, "no broker is registered");
    Ok(())
}

fn name_node(port: u16) -> Result<()> {
    let info = bean(port, "Hadoop:service=NameNode,name=NameNodeInfo")?;
    let safe_mode = info["Safemode"].as_str().context("the name node is starting")?;
    ensure!(safe_mode.is_empty(), "the name node is in safe mode");
    Ok(())
}

/// Both are asked: the name node believes in a dead data node for minutes, and a data node does not
/// know whether it was accepted.
fn data_node(port: u16, name_node: u16) -> Result<()> {
    let info = bean(port, "Hadoop:service=DataNode,name=DataNodeInfo")?;
    let actors = info["BPServiceActorInfo"].as_str().unwrap_or_default();
    ensure!(actors.contains("RUNNING"), "the data node has not registered");
    let state = bean(name_node, "Hadoop:service=NameNode,name=FSNamesystemState")?;
    ensure!(state["NumLiveDataNodes"].as_u64() > Some(0), "the name node knows no live data node");
    Ok(())
}

fn hbase(port: u16) -> Result<()> {
    let master = bean(port, "Hadoop:service=HBase,name=Master,sub=Server")?;
    ensure!(master["tag.isActiveMaster"] == "true", "the master is not active");
    let finished = master["masterFinishedInitializationTime"].as_u64();
    ensure!(finished > Some(0), "the master is initializing");
    ensure!(master["numRegionServers"].as_u64() > Some(0), "no region server");
    Ok(())
}

/// The first bean that matches a query to the servlet that all of Hadoop has.
fn bean(port: u16, query: &str) -> Result<Value> {
    let body = request("GET", port, &format!("/jmx?qry={query}"), Duration::from_secs(5))?;
    let mut answer: Value = serde_json::from_str(&body)?;
    let bean = answer["beans"].as_array_mut().and_then(Vec::pop);
    bean.with_context(|| format!("no bean `{query}` yet"))
}

/// Calls `getTableNames`, which goes through to HBase: the strict binary protocol, unframed.
/// <https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md>
fn thrift(port: u16) -> Result<()> {
    const VERSION_1: u32 = 0x8001_0000;
    const CALL: u32 = 1;
    const REPLY: u32 = 2;
    let method = b"getTableNames";
    let mut call = Vec::new();
    call.extend((VERSION_1 | CALL).to_be_bytes());
    call.extend((method.len() as u32).to_be_bytes());
    call.extend(method);
    call.extend(1_u32.to_be_bytes()); // sequence number
    call.push(0); // no arguments
    let mut stream = connect(port, Duration::from_secs(20))?;
    stream.write_all(&call)?;
    let kind = read_i32(&mut stream)? as u32;
    ensure!(kind == VERSION_1 | REPLY, "the answer is no reply");
    let mut rest = vec![0; 4 + method.len() + 4 + 3];
    stream.read_exact(&mut rest)?;
    // A list in field 0 is the result; any other field is an error of HBase's.
    match rest[rest.len() - 3..] {
        [15, 0, 0] => Ok(()),
        _ => bail!("HBase does not answer it"),
    }
}

/// The server opens its port when it has a session of Spark, and then greets in HTTP/2 as gRPC
/// does: with a SETTINGS frame. <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>
fn spark(port: u16) -> Result<()> {
    const SETTINGS: u8 = 4;
    let empty_settings = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
    let mut stream = connect(port, Duration::from_secs(5))?;
    stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &empty_settings].concat())?;
    let mut frame = [0; 9];
    stream.read_exact(&mut frame)?;
    ensure!(frame[3] == SETTINGS, "the answer is not HTTP/2");
    Ok(())
}

fn read_i32(stream: &mut impl Read) -> Result<i32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(i32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that answers whatever it is sent with `answer`, once.
    fn answering(answer: &[u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = answer.to_vec();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(&answer).unwrap();
        });
        port
    }

    fn check(probe: fn(u16) -> Result<()>, answer: &[u8], expect: Option<&str>) {
        let error = probe(answering(answer)).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), expect, "{answer:?}");
    }

    #[test]
    fn a_broker_is_ready_when_it_is_in_its_own_metadata() {
        check(kafka, &[0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1], None);
        let none = [0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1];
        check(kafka, &none, Some("no broker is registered"));
        check(kafka, &[0, 0, 0], Some("failed to fill whole buffer"));
    }

    #[test]
    fn a_name_node_is_ready_after_safe_mode() {
        let json = |bean: &str| format!("HTTP/1.1 200 OK\r\n\r\n{{\"beans\": [{bean}]}}");
        check(name_node, json(r#"{"Safemode": ""}"#).as_bytes(), None);
        let waiting = json(r#"{"Safemode": "Safe mode is ON."}"#);
        check(name_node, waiting.as_bytes(), Some("the name node is in safe mode"));
        let missing = "no bean `Hadoop:service=NameNode,name=NameNodeInfo` yet";
        check(name_node, json("").as_bytes(), Some(missing));
    }

    #[test]
    fn a_master_is_ready_with_a_region_server() {
        let master = |active: &str, finished: u64, servers: u64| {
            format!(
                "HTTP/1.1 200 OK\r\n\r\n{{\"beans\": [{{\"tag.isActiveMaster\": \"{active}\", \
                 \"masterFinishedInitializationTime\": {finished}, \
                 \"numRegionServers\": {servers}}}]}}"
            )
        };
        check(hbase, master("true", 9, 1).as_bytes(), None);
        check(hbase, master("false", 9, 1).as_bytes(), Some("the master is not active"));
        check(hbase, master("true", 0, 1).as_bytes(), Some("the master is initializing"));
        check(hbase, master("true", 9, 0).as_bytes(), Some("no region server"));
    }

    #[test]
    fn thrift_is_ready_when_hbase_answers_through_it() {
        let reply = |field: [u8; 3]| {
            let mut reply = vec![0x80, 1, 0, 2, 0, 0, 0, 13];
            reply.extend(b"getTableNames");
            reply.extend([0, 0, 0, 1]);
            reply.extend(field);
            reply
        };
        check(thrift, &reply([15, 0, 0]), None);
        check(thrift, &reply([12, 0, 1]), Some("HBase does not answer it"));
        check(thrift, &[0x80, 1, 0, 3], Some("the answer is no reply"));
    }

    #[test]
    fn spark_greets_in_http_2() {
        check(spark, &[0, 0, 0, 4, 0, 0, 0, 0, 0], None);
        check(spark, b"HTTP/1.1 400 Bad Request\r\n", Some("the answer is not HTTP/2"));
    }
}
