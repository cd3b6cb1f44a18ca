//! Values: how the server reads them, and how they are written.

pub(crate) mod error;
pub(crate) mod list;
pub(crate) mod number;
mod reading;
pub(crate) mod unit;
mod words;
pub(crate) mod written;
