//! One file: its text, the index of its assignments, and edits.

mod commented;
pub(crate) mod edit;
pub(crate) mod error;
mod line;
mod names;
pub(crate) mod place;
mod rewrite;
pub(crate) mod session;
pub(crate) mod text;
