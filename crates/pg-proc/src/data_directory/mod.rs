//! Data directories as a whole, for programs that make and remove clusters: made so that they are
//! complete or empty, and removed with all that their clusters have made elsewhere.
//!
//! `pg-cluster` runs `initdb` in a [`NewDataDirectory`]; who only watches and signals servers needs
//! nothing of this.

mod new;
mod removal;

pub use crate::data_directory::new::{
    NewDataDirectory, NewDataDirectoryError, NewDataDirectoryErrorKind,
};
pub use crate::data_directory::removal::{Removable, Removal, RemovalError};
pub use crate::files::layout;
