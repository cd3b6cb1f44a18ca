//! Round-trip parser and editor of postgresql.conf, exact on bytes and in the server's own reading.

mod assignment;
mod commented;
mod configuration;
#[cfg(feature = "serde")]
mod de;
mod document;
mod edit;
mod error;
mod list;
mod loader;
mod location;
mod name;
mod place;
mod quote;
mod reading;
mod resolve;
mod scan;
#[cfg(feature = "serde")]
mod ser;
mod value;

pub use crate::assignment::{Assignment, MAX_ERRORS, Statement, assignments, statements};
pub use crate::configuration::{
    Configuration, Event, Explanation, LocatedAssignment, Problem, ProblemKind, SourceFile,
};
#[cfg(feature = "serde")]
pub use crate::de::DeserializeError;
pub use crate::document::Document;
pub use crate::edit::{Action, Change, EditError, EditErrorKind, Removal};
pub use crate::error::{CheckError, SyntaxError};
pub use crate::list::{
    ListError, join_directories, join_guc_list, split_directories, split_guc_list,
    split_identifiers,
};
pub use crate::loader::{FileSystem, LoadError, Loader};
pub use crate::name::{Directive, NameError, SettingName};
pub use crate::place::Place;
pub use crate::reading::{BaseUnit, ValueError};
pub use crate::resolve::{AutoConf, ResolveError, Resolver};
pub use crate::scan::Expected;
#[cfg(feature = "serde")]
pub use crate::ser::{SerializeError, to_settings};
pub use crate::value::{Memory, Value};
