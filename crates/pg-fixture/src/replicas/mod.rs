//! A primary and its standbys: clones of one template, which stream from the first moment on.
//!
//! ```text
//! ROOT/s/.s.PGSQL.5432     the socket of a server, as that of every temporary cluster
//! ROOT/.s.PGSQL.5432       the link of a standby: what it takes for the server that it follows
//! ```
//!
//! All members are clones of one cleanly stopped data directory, with the same system identifier,
//! at the same position and timeline, so nothing is copied from the primary. Each standby connects
//! through a relay in this process, its [`Link`](link::Link). The relay can stop forwarding data
//! while both connections stay open. After a failover it leads to another server without a restart,
//! on every version. It also reads the answers of the other server.

mod builder;
mod error;
mod launch;
mod link;
mod replica;
mod set;

pub use self::builder::ReplicaSetBuilder;
pub(crate) use self::builder::Replication;
pub use self::error::{ReplicaError, ReplicaErrorKind};
pub(crate) use self::launch::apply;
pub use self::replica::Replica;
pub use self::set::ReplicaSet;
