//! The configuration of the servers: plain text, made anew at every start.

use super::ports::{LOOPBACK, Port, Ports};
use std::path::Path;

/// Every file, by its path in the directory of configurations. `home` is where the data goes.
pub(super) fn files(home: &Path, ports: &Ports) -> Vec<(&'static str, String)> {
    let core = core_site(home, ports);
    let hdfs = hdfs_site(home, ports);
    let mapred = mapred_site(home);
    vec![
        ("kafka/server.properties", kafka(home, ports)),
        ("kafka/log4j2.properties", LOG4J2.to_owned()),
        ("hadoop/core-site.xml", core.clone()),
        ("hadoop/hdfs-site.xml", hdfs.clone()),
        ("hadoop/mapred-site.xml", mapred.clone()),
        ("hadoop/log4j.properties", LOG4J.to_owned()),
        // The jars of HDFS lack the pages of its web servers, which will not start without the
        // directories. What we ask them for are servlets: empty ones do.
        ("hadoop/webapps/hdfs/empty", String::new()),
        ("hadoop/webapps/datanode/empty", String::new()),
        ("hadoop/webapps/static/empty", String::new()),
        ("hbase/core-site.xml", core),
        ("hbase/hdfs-site.xml", hdfs),
        ("hbase/mapred-site.xml", mapred),
        ("hbase/hbase-site.xml", hbase_site(home, ports)),
        ("hbase/log4j.properties", LOG4J.to_owned()),
        ("spark/spark.properties", spark(home, ports)),
        ("spark/log4j2.properties", LOG4J2.to_owned()),
    ]
}

/// `-Dcluster.log` sets the level: the tools are quieter than the servers.
const LOG4J2: &str = "\
status = warn
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{2}: %m%n%ex
rootLogger.level = ${sys:cluster.log:-INFO}
rootLogger.appenderRef.console.ref = console
";

const LOG4J: &str = "\
cluster.log=INFO
log4j.rootLogger=${cluster.log}, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %c{2}: %m%n
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.logger.org.apache.zookeeper=WARN
log4j.logger.http.requests=WARN
";

/// One broker: every topic of its own has one partition and one replica.
fn kafka(home: &Path, ports: &Ports) -> String {
    let data = home.join("data/kafka/log");
    let data = data.display();
    let (broker, controller) = (ports.address(Port::Kafka), ports.address(Port::KafkaController));
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{broker}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
log.segment.bytes=134217728
num.network.threads=2
num.io.threads=4
background.threads=2
"
    )
}

fn core_site(home: &Path, ports: &Ports) -> String {
    let home = home.display();
    let name_node = ports.address(Port::NameNode);
    xml(&format!(
        "
        fs.defaultFS hdfs://{name_node}
        hadoop.tmp.dir {home}/tmp
        io.file.buffer.size 65536
        "
    ))
}

/// Who runs the servers is the superuser; everyone else has what permissions give.
fn hdfs_site(home: &Path, ports: &Ports) -> String {
    let home = home.display();
    let (name_node, name_node_http) =
        (ports.address(Port::NameNode), ports.address(Port::NameNodeHttp));
    let (data_node, data_node_http, data_node_ipc) = (
        ports.address(Port::DataNode),
        ports.address(Port::DataNodeHttp),
        ports.address(Port::DataNodeIpc),
    );
    xml(&format!(
        "
        dfs.replication 1
        dfs.permissions.enabled true
        dfs.namenode.name.dir file://{home}/data/hdfs/name
        dfs.datanode.data.dir file://{home}/data/hdfs/data
        dfs.namenode.rpc-address {name_node}
        dfs.namenode.rpc-bind-host {LOOPBACK}
        dfs.namenode.http-address {name_node_http}
        dfs.namenode.http-bind-host {LOOPBACK}
        dfs.datanode.address {data_node}
        dfs.datanode.http.address {data_node_http}
        dfs.datanode.ipc.address {data_node_ipc}
        dfs.namenode.datanode.registration.ip-hostname-check false
        dfs.namenode.safemode.extension 0
        dfs.namenode.safemode.min.datanodes 1
        dfs.namenode.handler.count 4
        dfs.datanode.handler.count 4
        dfs.datanode.max.transfer.threads 512
        dfs.heartbeat.interval 1
        dfs.blocksize 67108864
        "
    ))
}

/// MapReduce, which bulk loads are made with, runs inside the tool that asks for it.
fn mapred_site(home: &Path) -> String {
    let home = home.display();
    xml(&format!(
        "
        mapreduce.framework.name local
        mapreduce.cluster.local.dir {home}/tmp/mapred
        mapreduce.jobtracker.staging.root.dir {home}/tmp/staging
        mapreduce.task.io.sort.mb 128
        "
    ))
}

/// It stops ZooKeeper before the region server, which would go on trying to take leave of it for
/// half a minute: hence one retry.
fn hbase_site(home: &Path, ports: &Ports) -> String {
    let home = home.display();
    let name_node = ports.address(Port::NameNode);
    let (master, master_http) = (ports.of(Port::HBaseMaster), ports.of(Port::HBaseMasterHttp));
    let (region_server, zookeeper) = (ports.of(Port::HBaseRegionServer), ports.of(Port::ZooKeeper));
    xml(&format!(
        "
        hbase.rootdir hdfs://{name_node}/hbase
        hbase.cluster.distributed false
        hbase.tmp.dir {home}/tmp/hbase
        hbase.fs.tmp.dir /tmp/hbase-staging
        hbase.localcluster.assign.random.ports false
        hbase.zookeeper.quorum {LOOPBACK}
        hbase.zookeeper.property.clientPort {zookeeper}
        hbase.zookeeper.property.clientPortAddress {LOOPBACK}
        hbase.zookeeper.property.dataDir {home}/data/zookeeper
        hbase.master.hostname {LOOPBACK}
        hbase.master.port {master}
        hbase.master.ipc.address {LOOPBACK}
        hbase.master.info.port {master_http}
        hbase.master.info.bindAddress {LOOPBACK}
        hbase.master.handler.count 8
        hbase.master.wait.on.regionservers.mintostart 1
        hbase.master.wait.on.regionservers.maxtostart 1
        hbase.regionserver.hostname {LOOPBACK}
        hbase.unsafe.regionserver.hostname {LOOPBACK}
        hbase.regionserver.port {region_server}
        hbase.regionserver.ipc.address {LOOPBACK}
        hbase.regionserver.info.port -1
        hbase.regionserver.msginterval 500
        hbase.regionserver.handler.count 8
        hbase.regionserver.metahandler.count 4
        hbase.regionserver.global.memstore.size 0.3
        hbase.wal.provider filesystem
        zookeeper.recovery.retry 1
        hfile.block.cache.size 0.2
        hbase.client.retries.number 8
        hbase.mapreduce.bulkload.max.hfiles.perRegion.perFamily 1024
        "
    ))
}

fn spark(home: &Path, ports: &Ports) -> String {
    let home = home.display();
    let port = ports.of(Port::Spark);
    format!(
        "\
spark.master                         local[2]
spark.app.name                       tidemill-cluster
spark.connect.grpc.binding.address   {LOOPBACK}
spark.connect.grpc.binding.port      {port}
spark.driver.host                    {LOOPBACK}
spark.driver.bindAddress             {LOOPBACK}
spark.ui.enabled                     false
spark.sql.shuffle.partitions         4
spark.default.parallelism            2
spark.hadoop.dfs.replication         1
spark.local.dir                      {home}/tmp/spark
spark.sql.warehouse.dir              file:{home}/data/spark
"
    )
}

/// Lines of a name and a value, as the XML that Hadoop and HBase read.
fn xml(settings: &str) -> String {
    let mut text = String::from("<configuration>\n");
    for (name, value) in settings.lines().filter_map(|line| line.trim().split_once(' ')) {
        let value = value.replace('&', "&amp;").replace('<', "&lt;");
        text += &format!("  <property><name>{name}</name><value>{value}</value></property>\n");
    }
    text + "</configuration>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_properties() {
        assert_eq!(
            xml("\n  a.b 1\n  path /with space/a&b\n  "),
            "<configuration>\n  \
             <property><name>a.b</name><value>1</value></property>\n  \
             <property><name>path</name><value>/with space/a&amp;b</value></property>\n\
             </configuration>\n"
        );
    }

    /// Two clusters side by side would meet in any port or path that is written out.
    #[test]
    fn no_port_and_no_path_is_shared_with_another_cluster() {
        let ports = |offset| Ports::wanted(offset, |_| None).unwrap();
        let one = files(Path::new("/one"), &ports(0));
        let other = files(Path::new("/other"), &ports(10_000));
        let same = |text: &str| {
            let digits = |word: &&str| word.len() >= 4 && word.chars().all(|c| c.is_ascii_digit());
            let words = text.split(|c: char| !c.is_ascii_alphanumeric());
            let known = ["4194304", "1048576", "134217728", "65536", "67108864", "1024"];
            words.filter(digits).filter(|word| !known.contains(word)).count()
        };
        let mut ports_seen = 0;
        for ((name, one), (_, other)) in one.iter().zip(&other) {
            assert!(!other.contains("/one"), "{name}");
            for (line, other) in one.lines().zip(other.lines()) {
                if line == other {
                    assert_eq!(same(line), 0, "{name}: {line}");
                } else {
                    ports_seen += same(line);
                }
            }
        }
        assert!(ports_seen > 20, "{ports_seen}");
    }

    #[test]
    fn every_port_is_somewhere_in_the_configuration_or_the_command() {
        use super::super::servers::STAGES;
        let ports = Ports::wanted(0, |_| None).unwrap();
        let mut text: String =
            files(Path::new("/home"), &ports).into_iter().map(|(_, text)| text).collect();
        for server in STAGES.concat() {
            text += &server.main(Path::new("/home/conf"), &ports).join(" ");
        }
        for port in STAGES.concat().iter().flat_map(|server| server.ports()) {
            assert!(text.contains(&ports.of(*port).to_string()), "{port:?}");
        }
    }
}
