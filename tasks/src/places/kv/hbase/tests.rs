//! Against a real HBase: `cargo xtask test` starts one and names it in `TIDEMILL_TEST_HBASE`.

use super::*;
use crate::places::kv::conformance::{self, NewFamily};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let Ok(thrift) = std::env::var("TIDEMILL_TEST_HBASE") else {
        eprintln!("skipped: no HBase; `cargo xtask test` starts one");
        return;
    };
    let kv = HbaseKeyValues::new(
        HbaseSettings { thrift, namespace: None, batch_rows: 1000, connections: 2 },
        Duration::ZERO,
    );
    let prefix = format!("conforms-{}", uuid::Uuid::now_v7().simple());
    conformance::all(&kv, &prefix, NewFamily::Refused).await;
}

#[tokio::test]
async fn a_server_that_is_away() {
    let thrift = "127.0.0.1:9".into();
    let settings = HbaseSettings { thrift, namespace: None, batch_rows: 1, connections: 1 };
    let error = HbaseKeyValues::new(settings, Duration::ZERO).names().await.unwrap_err();
    assert!(matches!(error, TaskError::Transient(_)), "{error}");
    assert!(error.to_string().contains("HBase at `127.0.0.1:9`: it can't be reached"), "{error}");
}
