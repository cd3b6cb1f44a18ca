//! Who may connect to a cluster: reading and changing `pg_hba.conf` and `pg_ident.conf`.

mod error;
mod hba;
mod ident;
mod line;
mod rule_file;

pub use self::error::{AccessError, AccessErrorKind, AccessProblem};
pub use self::hba::{AccessDecision, Hba};
pub use self::ident::{Ident, MappingDecision};
pub use self::line::{AccessLine, AccessRule};
