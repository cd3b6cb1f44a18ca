//! The grammar of the file: tokens, names, quotes, assignments, and what the server rejects.

pub(crate) mod assignment;
pub(crate) mod error;
pub(crate) mod name;
pub(crate) mod quote;
pub(crate) mod scan;
