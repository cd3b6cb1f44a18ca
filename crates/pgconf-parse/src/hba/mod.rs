//! Reads `pg_hba.conf` as the server does, edits it line by line, and decides who may connect.
//!
//! * [`Document`]: one file, for editing.
//! * [`Rules`]: a file with the lists and files that it includes, as the view `pg_hba_file_rules`
//!   shows it: [rows](Rules::rows) with rules and errors, each with its file and line.
//! * [`Rules::decide`]: the rule that decides on an [`Attempt`] to connect, given [`Facts`] that
//!   only the server knows; [`Rules::shadowed`]: the rules that can never apply.
//!
//! Versions and builds of the server accept different rules: see [`Server`].
//!
//! ```
//! use pgconf_parse::hba::{Attempt, Decision, Facts, Method, Rules, Server};
//!
//! let rules = Rules::parse(
//!     "local all postgres peer\nhost all all samenet md5\n",
//!     &Server::new(15),
//! );
//! let Decision::Rule(rule) = rules.decide(&Attempt::local("app", "postgres"), &Facts::new())
//! else {
//!     panic!("a rule for the superuser");
//! };
//! assert_eq!((rule.line(), rule.method()), (1, Method::Peer));
//! assert!(matches!(rules.decide(&Attempt::local("app", "bob"), &Facts::new()), Decision::NoRule));
//! ```
//!
//! # Limits
//!
//! * All regular expressions are checked. Those are evaluated that consist of characters, `.`,
//!   classes, anchors, groups, alternatives and quantifiers. A decision [depends](Fact::Regex) on
//!   an expression with back references, lookaround, word boundaries or embedded options.
//! * Host names and network interfaces are not looked up. Names of RADIUS servers are assumed to
//!   have an address.
//! * Errors of the operating system and of `getaddrinfo` have the words of the GNU C library.
//!   Errors in LDAP URLs have the words of OpenLDAP.

mod address;
mod decide;
mod document;
mod edit_error;
pub(crate) mod layout;
mod ldap_url;
mod method;
mod new_rule;
mod options;
mod parse_line;
mod read_error;
pub(crate) mod regex;
mod rules;
pub(crate) mod scan;
mod server;
mod shadow;
pub(crate) mod text;
pub(crate) mod tokenize;

pub use crate::hba::address::{Address, Network};
pub(crate) use crate::hba::decide::Answer;
pub use crate::hba::decide::{Attempt, Decision, Encryption, Fact, Facts};
pub(crate) use crate::hba::document::with_comment_of;
pub use crate::hba::document::{Document, Place};
pub use crate::hba::edit_error::{EditError, EditErrorKind};
pub use crate::hba::method::{ConnectionType, Method};
pub(crate) use crate::hba::new_rule::quoted;
pub use crate::hba::new_rule::{Name, NewRule};
pub(crate) use crate::hba::parse_line::invalid_regex;
pub use crate::hba::read_error::ReadError;
pub use crate::hba::rules::{Row, Rule, RuleError, RuleName, Rules};
pub use crate::hba::server::{Server, Ssl};
pub use crate::hba::shadow::{Shadow, Shadowed};
