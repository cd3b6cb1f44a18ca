//! Fifty tests, each with a server of its own.

mod fifty;

use pg_fixture::TempCluster;

fn database() -> TempCluster {
    fifty::builder().start().unwrap()
}
