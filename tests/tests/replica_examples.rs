//! The example programs about replication, on every server.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

#[path = "../../crates/pg-fixture/examples/failover.rs"]
mod failover;
#[path = "../../crates/pg-fixture/examples/read_your_writes.rs"]
mod read_your_writes;

use pg_fixture::{TempCluster, TempClusterBuilder};
use pg_tests::servers;

fn builders() -> impl Iterator<Item = TempClusterBuilder> {
    let servers = servers().into_iter();
    servers.map(|server| TempCluster::builder().installation(server))
}

#[test]
fn nothing_acknowledged_is_lost() {
    for builder in builders() {
        failover::run(builder).unwrap();
    }
}

#[test]
fn writes_are_read_where_their_position_is_waited_for() {
    for builder in builders() {
        read_your_writes::run(builder).unwrap();
    }
}
