#!/usr/bin/env bash
# Whether a server is ready, asked in its own protocol: an open port says little. Needs bash alone,
# which each of the images has, and starts no Java.
#
#   healthy.sh kafka|namenode|datanode|hbase|thrift|spark [HOST [PORT]]
set -euo pipefail

service=$1
host=${2:-127.0.0.1}

# Opens the connection as file descriptor 3.
open() {
  exec 3<>"/dev/tcp/$host/$1"
}

# The first COUNT bytes of the answer to a request, in hexadecimal digits.
ask() { # PORT COUNT REQUEST, with escapes as printf knows them
  open "$1"
  printf '%b' "$3" >&3
  head -c "$2" <&3 | od -An -v -tx1 | tr -d ' \n'
}

# What the metrics servlet, which all of Hadoop has, knows of a bean.
bean() { # PORT BEAN
  open "$1"
  printf 'GET /jmx?qry=%s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
  cat <&3
}

case $service in
  kafka)
    # A Metadata request: a broker is in the answer's list once it is registered and active.
    answer=$(ask "${3:-9092}" 12 \
      '\x00\x00\x00\x13\x00\x03\x00\x01\x00\x00\x00\x07\x00\x05probe\xff\xff\xff\xff')
    [[ $answer =~ ^.{8}00000007 && ! $answer =~ 00000000$ ]]
    ;;
  namenode)
    answer=$(bean "${3:-9870}" Hadoop:service=NameNode,name=NameNodeInfo)
    [[ $answer =~ \"Safemode\"\ *:\ *\"\" ]]
    ;;
  datanode)
    answer=$(bean "${3:-9864}" Hadoop:service=DataNode,name=DataNodeInfo)
    [[ $answer == *RUNNING* ]]
    ;;
  hbase)
    answer=$(bean "${3:-16010}" Hadoop:service=HBase,name=Master,sub=Server)
    [[ $answer =~ \"masterFinishedInitializationTime\"\ *:\ *[1-9] ]]
    ;;
  thrift)
    # `getTableNames`, which goes through to HBase: a list in field 0 is its answer, any other field
    # an error.
    answer=$(ask "${3:-9090}" 28 \
      '\x80\x01\x00\x01\x00\x00\x00\x0dgetTableNames\x00\x00\x00\x01\x00')
    [[ $answer =~ ^80010002.*0f0000$ ]]
    ;;
  spark)
    # gRPC greets in HTTP/2, with a frame of the type SETTINGS.
    answer=$(ask "${3:-15002}" 9 \
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00')
    [[ $answer =~ ^......04 ]]
    ;;
  *)
    echo "no such server: \`$service\`" >&2
    exit 2
    ;;
esac
