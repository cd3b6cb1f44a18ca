//! Conversion between settings and structs or maps.

pub(crate) mod de;
pub(crate) mod ser;
