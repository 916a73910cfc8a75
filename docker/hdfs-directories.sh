#!/usr/bin/env bash
# Makes the directories that the others write to. Run as the superuser of HDFS, which is who runs
# the name node; doing it again changes nothing.
set -euo pipefail
dfs=(/opt/hadoop/bin/hdfs dfs -fs hdfs://namenode:9000)
"${dfs[@]}" -mkdir -p /tidemill /hbase
"${dfs[@]}" -chown tidemill /tidemill
"${dfs[@]}" -chown hbase /hbase
# Whoever runs tidemill outside the containers has another name.
"${dfs[@]}" -chmod 777 /tidemill
