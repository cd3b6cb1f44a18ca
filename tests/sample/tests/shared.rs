//! The same fifty tests, each with a database of its own in one server.

mod fifty;

use pg_fixture::SharedCluster;

fn database() -> SharedCluster {
    fifty::builder().share("sample").unwrap()
}
