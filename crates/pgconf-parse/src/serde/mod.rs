//! Structs and maps out of settings, and settings out of these.

pub(crate) mod de;
pub(crate) mod ser;
