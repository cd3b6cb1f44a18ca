//! `pg_ident.conf`: read as the server does, edited line by line, and asked who may be whom.

mod mappings;

pub use crate::ident::mappings::{Mapping, MappingError, Mappings, Row};
