//! Client authentication: reading and changing `pg_hba.conf` and `pg_ident.conf`.

mod error;
mod file;
mod hba;
mod ident;
mod line;

pub use self::error::{AccessError, AccessErrorKind, AccessProblem};
pub use self::file::{AccessDocument, AccessFile};
pub use self::hba::{AccessDecision, Hba};
pub use self::ident::{Ident, MappingDecision};
pub use self::line::{AccessLine, AccessRule};
