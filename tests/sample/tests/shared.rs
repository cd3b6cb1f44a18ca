//! The same tests, each with a database of its own in one server.

mod hundred;

use hundred::{builder, with_schema};
use pg_fixture::SharedCluster;

fn database() -> SharedCluster {
    with_schema(builder()).share("sample").unwrap()
}
