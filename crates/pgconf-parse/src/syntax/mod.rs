//! The grammar of the file: tokens, names, quotes, assignments, and syntax errors.

pub(crate) mod assignment;
pub(crate) mod error;
pub(crate) mod name;
pub(crate) mod quote;
pub(crate) mod scan;
