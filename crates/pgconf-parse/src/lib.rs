//! A lossless parser and editor for postgresql.conf, pg_hba.conf and pg_ident.conf.
//!
//! Files are read exactly as the server reads them, and written back byte for byte. An edit changes
//! one line and keeps comments, order and spacing.
//!
//! The crate does not know which settings exist or which values they accept. It does not run
//! programs or connect to servers. It supports Unix only.
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
//! // The last assignment is in effect. Case is ignored.
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
//! * [`Document`]: one file. [`get`](Document::get) reads a setting. [`set`](Document::set),
//!   [`update`](Document::update), [`append`](Document::append) and [`remove`](Document::remove)
//!   edit it. [`edit`](Document::edit) makes many edits at once. [`check`](Document::check) reports
//!   the lines that the server would reject.
//! * [`assignments`] and [`statements`]: iterators over bytes, without allocation.
//! * [`Assignment`]: name, value and place of a setting, with typed readings by the server's rules.
//! * [`Resolver`] and [`Configuration`]: a file with all its includes and `postgresql.auto.conf`,
//!   and [the origin of each setting](Configuration::explain).
//! * [`split_directories`] and similar functions: lists within a value.
//! * [`hba`] and [`ident`]: access rules and user name maps, and which of them applies to a
//!   connection.
//!
//! # Guarantees
//!
//! * Any sequence of bytes can be parsed, and is written as it was read.
//! * An edit changes one line. [`Document::remove`] changes the lines of one setting. An added line
//!   may complete the line before it, if that lacks its newline.
//! * The server reads exactly the values that were set. A value that the file format cannot express
//!   is rejected.
//! * Names, values, line numbers and errors are those of the servers from 10 to 18. Deliberate
//!   differences are listed below, and marked `DIFFERENCE:` in these pages.
//! * No input causes a panic. Time is linear in the size of the file and the number of edits of a
//!   session.
//!
//! # Differences from the server
//!
//! * A syntax error at the end of a last line without a newline has the number of that line. The
//!   server reports the line before. See [`SyntaxError::line`].
//! * A quoted value that begins with a NUL byte is empty. The server reads uninitialized memory.
//! * A configuration is limited to 10,000 files and 16 MiB of text. Beyond that,
//!   [`ProblemKind::TooManyFiles`] is reported.
//! * A pipe or a device in place of a file [is an error](FileSystem).
//! * If several entries of an `include_dir` are unreadable, the first in the order of their names
//!   is reported. The server reports the first in the order of the directory.
//! * [`split_identifiers`] does not truncate names to 63 bytes.
//!
//! # Limits
//!
//! * The old names of a few settings (`sort_mem` for `work_mem`) are treated as different settings.
//! * [`Document::set`] edits one file and does not consider its includes.
//!   [`Configuration::explain`] shows whether another file overrides the setting.
//! * The modules [`hba`] and [`ident`] describe their own limits.
//!
//! # Features
//!
//! * `serde`: `Document::deserialize` and `Configuration::deserialize` read structs of settings,
//!   `to_settings` converts structs to settings, and both types implement `Serialize` as maps.

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
