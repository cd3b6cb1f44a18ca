//! A configuration of several files, and where each setting comes from.

pub(crate) mod configuration;
pub(crate) mod resolver;
