//! `pg_hba.conf`: read as the server does, edited line by line, and asked who may connect.

mod address;
mod ldap_url;
mod method;
mod options;
pub(crate) mod regex;
mod rules;
pub(crate) mod scan;
mod server;
pub(crate) mod tokenize;

pub use crate::hba::address::{Address, Network};
pub use crate::hba::method::{ConnectionType, Method};
pub(crate) use crate::hba::rules::invalid_regex;
pub use crate::hba::rules::{Row, Rule, RuleError, RuleName, Rules};
pub use crate::hba::server::{Server, Ssl};
