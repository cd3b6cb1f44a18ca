//! A data directory as a whole: made so that it is complete or empty, and removed with all that its
//! cluster has made elsewhere.

pub(crate) mod new;
pub(crate) mod removal;
