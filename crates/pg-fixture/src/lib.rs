//! PostgreSQL servers for tests: [`TempCluster`] is a server of its own in tens of milliseconds,
//! [`SharedCluster`] a database of its own in a server that many processes share.
//!
//! A [`TempCluster`] can be restarted, crashed and frozen. A [`Snapshot`] keeps its state, to
//! restore it or to start other servers from it. A [`TempPool`] keeps servers ready.
//!
//! It is not a client library: bring `postgres`, `tokio-postgres` or `sqlx` and give them
//! [`TempCluster::uri`].
//!
//! ```no_run
//! use pg_fixture::{TempCluster, TempError};
//!
//! const SCHEMA: &str = "CREATE TABLE fruit (name text PRIMARY KEY)";
//!
//! fn server() -> Result<TempCluster, TempError> {
//!     TempCluster::builder()
//!         .setup(SCHEMA, |info| {
//!             postgres::Client::connect(&info.uri(), postgres::NoTls)?.batch_execute(SCHEMA)
//!         })
//!         .start()
//! }
//! # fn main() {}
//! ```
//!
//! # Guarantees
//!
//! Server and files are removed within a second after the program that made them has exited, even
//! if it was killed. Directories without the marker of this crate are never removed. No password is
//! kept in the template cache. Every wait has a limit.
//!
//! # Limitations
//!
//! Unix only; PostgreSQL 10 and later. The limitations of [`pg_cluster`], which is re-exported as
//! [`cluster`], hold here, too.
//!
//! # Features
//!
//! * `serde`: the feature of the same name in the crates below.
//! * `tls`: servers that speak TLS, by `TempClusterBuilder::tls`.
//!
//! Nothing is enabled by default.

mod access;
mod builder;
mod databases;
mod error;
mod extension;
mod future;
mod launch;
mod life;
mod log;
mod plan;
mod pool;
mod reaper;
mod replicas;
mod root;
mod setup;
mod shared;
mod snapshot;
mod sql;
mod storage;
mod temp_cluster;
mod template;
#[cfg(test)]
#[path = "../texts/mod.rs"]
mod texts;
#[cfg(feature = "tls")]
mod tls;
mod tuning;

pub use pg_cluster as cluster;

pub use crate::builder::TempClusterBuilder;
pub use crate::databases::Database;
pub use crate::error::{TempError, TempErrorKind};
pub use crate::life::Frozen;
pub use crate::log::{OnPanic, Statement, StatementsError, StatementsErrorKind};
pub use crate::pool::TempPool;
pub use crate::replicas::{Replica, ReplicaError, ReplicaErrorKind, ReplicaSet, ReplicaSetBuilder};
pub use crate::setup::SetupKey;
pub use crate::shared::SharedCluster;
pub use crate::snapshot::Snapshot;
pub use crate::storage::Storage;
pub use crate::temp_cluster::{Keep, Listen, SystemIdentifier, TempCluster};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
