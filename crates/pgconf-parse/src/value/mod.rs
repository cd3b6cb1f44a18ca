//! Reading and writing of values.

pub(crate) mod error;
pub(crate) mod list;
pub(crate) mod number;
mod reading;
pub(crate) mod unit;
mod words;
pub(crate) mod written;
