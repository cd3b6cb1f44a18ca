//! Reads `pg_ident.conf` as the server does, edits it line by line, and maps users.
//!
//! * [`Document`]: one file, for editing.
//! * [`Mappings`]: a file with the files that it includes, as the view `pg_ident_file_mappings`
//!   shows it, each line with its file and number.
//! * [`Mappings::decide`] and [`Mappings::users`]: the database users that a system user may
//!   become.
//!
//! Regular expressions are evaluated with the [limits](crate::hba#limits) of access rules. The text
//! for `\1` is known only if the expression can match it in a single way.
//!
//! ```
//! use pgconf_parse::hba::{Facts, Server};
//! use pgconf_parse::ident::{Decision, Mappings};
//!
//! let mappings = Mappings::parse("admins root postgres\n", &Server::default());
//! let decision = mappings.decide(b"admins", b"root", b"postgres", &Facts::new());
//! assert!(matches!(decision, Decision::Allowed(mapping) if mapping.line() == 1));
//! ```

mod decide;
mod document;
mod mappings;

pub use crate::ident::decide::{Decision, Users};
pub use crate::ident::document::{DatabaseUser, Document, NewMapping, SystemUser};
pub use crate::ident::mappings::{Mapping, MappingError, Mappings, Row};
