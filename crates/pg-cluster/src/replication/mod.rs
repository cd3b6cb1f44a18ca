//! Standbys: making them, their place in replication, and their way back after a failover.

mod backup;
mod error;
mod follow;
mod position;
mod rewind;

pub use self::backup::{BackupCompression, BaseBackupOptions};
pub use self::error::{ReplicationError, ReplicationErrorKind};
pub use self::position::ReplicationRole;
pub use self::rewind::RewindOptions;
