//! One file: its text, its index, and the edits of both.

mod commented;
pub(crate) mod edit;
pub(crate) mod error;
mod line;
mod names;
pub(crate) mod place;
mod rewrite;
pub(crate) mod session;
pub(crate) mod text;
