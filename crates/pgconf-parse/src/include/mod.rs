//! Configurations of several files, and the origin of each setting.

pub(crate) mod configuration;
pub(crate) mod resolver;
