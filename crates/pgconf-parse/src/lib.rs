//! Round-trip parser and editor of postgresql.conf, pg_hba.conf and pg_ident.conf, exact on bytes
//! and in the server's own reading.
//!
//! It is not a list of PostgreSQL's settings: it knows neither which exist nor what values they
//! may have. It runs no program and talks to no server. Unix only, like the crates beside it.
//!
//! ```
//! use pgconf_parse::{Action, BaseUnit, Document, Removal};
//!
//! let mut doc = Document::parse(
//!     "\
//! listen_addresses = 'localhost'\t# what IP address(es) to listen on
//! #shared_buffers = 128MB\t\t# min 128kB
//! port = 5432
//! Port = 5433
//! ",
//! );
//! // The last assignment is in effect, and case does not matter.
//! assert_eq!(doc.get("port").unwrap().to_int(BaseUnit::None)?, 5433);
//!
//! doc.set("listen_addresses", "*")?;
//! assert_eq!(doc.set("shared_buffers", "1GB")?.action, Action::Uncommented);
//! doc.remove("port", Removal::CommentOut);
//! assert_eq!(
//!     doc.to_string(),
//!     "\
//! listen_addresses = '*'\t\t# what IP address(es) to listen on
//! shared_buffers = 1GB\t\t# min 128kB
//! #port = 5432
//! #Port = 5433
//! ",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Overview
//!
//! * [`Document`]: one file. [`get`](Document::get) and its kin read, [`set`](Document::set),
//!   [`update`](Document::update), [`append`](Document::append) and [`remove`](Document::remove)
//!   edit, [`edit`](Document::edit) makes many edits at once, and [`check`](Document::check)
//!   reports what the server would reject.
//! * [`assignments`] and [`statements`]: the same reading straight from bytes, without allocation.
//! * [`Assignment`]: name, value, place; typed readings by the server's rules.
//! * [`Resolver`] and [`Configuration`]: a file with everything that it includes and
//!   `postgresql.auto.conf`, and [where each setting comes from](Configuration::explain).
//! * [`split_directories`] and the other lists within a value.
//! * [`hba`] and [`ident`]: access rules and user name maps, and who may connect.
//!
//! # Guarantees
//!
//! * Every sequence of bytes is a document, and is written as it was read.
//! * An edit changes one line, and adding one gives the line before its newline if it lacks it;
//!   [`Document::remove`] changes every line that assigns to the setting, and no other.
//! * What was set is what the server reads. Where no file can express it, setting it is an error.
//! * Names, values, line numbers and errors are the server's, for the servers from 10 to 18; what
//!   is different on purpose is marked `DIFFERENCE:` in these pages.
//! * No input makes it panic, and time is linear in the size of the file and the number of edits
//!   of a session. Reading with includes
//!   ends after 10,000 files, or 16 MiB.
//!
//! # Where it differs from the server
//!
//! * An error at the end of a last line without newline has the number of its own line; the
//!   server reports the line before. See [`SyntaxError::line`].
//! * A quoted value that begins with a NUL byte is empty; the server takes what happens to be in
//!   its memory.
//! * More than 10,000 files, or 16 MiB of text, in one configuration are
//!   [an error](ProblemKind::TooManyFiles).
//! * A pipe or device in the place of a file is [an error](FileSystem).
//! * Of several unreadable entries in one `include_dir` the first in the order of their names is
//!   reported; the server takes the first in the order of the directory.
//! * [`split_identifiers`] does not cut names off after 63 bytes.
//! * `Document::set` changes one assignment by its own name; the few old names of settings
//!   (`sort_mem` for `work_mem`) are not taken for the new.
//!
//! The modules [`hba`] and [`ident`] have limits of their own.
//!
//! # Features
//!
//! * `serde`: `Document::deserialize` and `Configuration::deserialize` for structs of settings,
//!   `to_settings` for the other direction, and `Serialize` for both as maps.

mod bytes;
mod document;
pub mod hba;
pub mod ident;
mod include;
mod loader;
mod location;
#[cfg(feature = "serde")]
mod serde;
mod syntax;
mod value;

pub use crate::document::edit::{Action, Change, Removal};
pub use crate::document::error::{EditError, EditErrorKind};
pub use crate::document::place::Place;
pub use crate::document::session::EditSession;
pub use crate::document::text::Document;
pub use crate::include::configuration::{
    Configuration, Event, LocatedAssignment, Problem, ProblemKind, SettingExplanation, SourceFile,
};
pub use crate::include::resolver::{AutoConf, ResolveError, Resolver};
pub use crate::loader::{Edited, FileSystem, LoadError, Loader};
#[cfg(feature = "serde")]
pub use crate::serde::de::DeserializeError;
#[cfg(feature = "serde")]
pub use crate::serde::ser::{SerializeError, to_settings};
pub use crate::syntax::assignment::{Assignment, Statement, assignments, statements};
pub use crate::syntax::error::{CheckError, MAX_ERRORS, SyntaxError};
pub use crate::syntax::name::{Directive, NameError, SettingName};
pub use crate::syntax::scan::Expected;
pub use crate::value::error::ValueError;
pub use crate::value::list::{
    ListError, join_directories, join_guc_list, split_directories, split_guc_list,
    split_identifiers,
};
pub use crate::value::unit::BaseUnit;
pub use crate::value::written::{Memory, Value};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
