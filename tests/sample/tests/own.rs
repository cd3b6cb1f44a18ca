//! A hundred tests, each with a server of its own.

mod hundred;

use hundred::{builder, with_schema};
use pg_fixture::TempCluster;

fn database() -> TempCluster {
    with_schema(builder()).start().unwrap()
}
