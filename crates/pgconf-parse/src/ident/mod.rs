//! `pg_ident.conf`: read as the server does, edited line by line, and asked who may be whom.
//!
//! * [`Document`]: one file, for editing.
//! * [`Mappings`]: a file with the files that it includes, as the view `pg_ident_file_mappings`
//!   shows it, and where each mapping comes from.
//! * [`Mappings::decide`] and [`Mappings::users`]: which database users a system user may become.
//!
//! Regular expressions are evaluated as far as those of [access rules](crate::hba#limits) are.
//! What parentheses enclose is given only if the expression leaves no choice.
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
