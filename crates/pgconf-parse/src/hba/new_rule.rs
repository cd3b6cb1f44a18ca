//! New rules.

use std::net::IpAddr;

use crate::hba::address;
use crate::hba::edit_error::EditErrorKind;
use crate::hba::method::{ConnectionType, Method};
use crate::hba::rules::Rules;
use crate::hba::scan;
use crate::hba::server::Server;
use crate::hba::text;

/// A rule that is to be written into a file.
///
/// ```
/// use pgconf_parse::hba::{ConnectionType, Method, Name, NewRule};
///
/// let rule = NewRule::host(
///     Name::of("my app"),
///     Name::members_of("staff"),
///     "10.0.0.0/8",
///     Method::ScramSha256,
/// )
/// .connection(ConnectionType::HostSsl)
/// .option("clientcert", "verify-ca");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRule {
    connection: ConnectionType,
    databases: Vec<Name>,
    users: Vec<Name>,
    address: Vec<u8>,
    method: Method,
    options: Vec<(Vec<u8>, Vec<u8>)>,
    /// A token in the syntax of the file, kept as it is.
    written: Option<Vec<(usize, Vec<u8>)>>,
}

/// A name for a list of databases or users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Kind, Vec<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Keyword,
    Literal,
    MembersOf,
    Regex,
    List,
}

impl Name {
    /// `all`.
    #[must_use]
    pub fn all() -> Self {
        Self(Kind::Keyword, b"all".to_vec())
    }

    /// `sameuser`: the database with the name of the user.
    #[must_use]
    pub fn same_user() -> Self {
        Self(Kind::Keyword, b"sameuser".to_vec())
    }

    /// `samerole`: a database with the name of a role that the user is a member of.
    #[must_use]
    pub fn same_role() -> Self {
        Self(Kind::Keyword, b"samerole".to_vec())
    }

    /// `replication`: connections for physical replication.
    #[must_use]
    pub fn replication() -> Self {
        Self(Kind::Keyword, b"replication".to_vec())
    }

    /// Exactly this name, quoted if needed.
    pub fn of(name: impl Into<Vec<u8>>) -> Self {
        Self(Kind::Literal, name.into())
    }

    /// `+role`: users that are members of a role.
    pub fn members_of(role: impl Into<Vec<u8>>) -> Self {
        Self(Kind::MembersOf, role.into())
    }

    /// `/regex`: names that match a regular expression; since PostgreSQL 16.
    pub fn regex(pattern: impl Into<Vec<u8>>) -> Self {
        Self(Kind::Regex, pattern.into())
    }

    /// `@file`: the names in a list.
    pub fn list(file: impl Into<Vec<u8>>) -> Self {
        Self(Kind::List, file.into())
    }

    fn written(&self, major: u16) -> Result<Vec<u8>, EditErrorKind> {
        const KEYWORDS: [&[u8]; 5] = [
            b"all",
            b"sameuser",
            b"samerole",
            b"samegroup",
            b"replication",
        ];
        let Self(kind, text) = self;
        match kind {
            Kind::Keyword => Ok(text.clone()),
            // A quoted name that begins with a slash is a regular expression as well.
            Kind::Literal if major >= 16 && text.starts_with(b"/") => {
                Err(EditErrorKind::Unwritable)
            }
            Kind::Literal => {
                let means_more = KEYWORDS.contains(&text.as_slice())
                    || text.first().is_some_and(|first| b"+@".contains(first));
                quoted(text, means_more, major)
            }
            Kind::MembersOf => Ok([b"+", quoted(text, false, major)?.as_slice()].concat()),
            Kind::List => Ok([b"@", quoted(text, false, major)?.as_slice()].concat()),
            Kind::Regex if major < 16 => Err(EditErrorKind::Unwritable),
            Kind::Regex => quoted(&[b"/", text.as_slice()].concat(), false, major),
        }
    }
}

/// A token that is read as this text, quoted if needed.
pub(crate) fn quoted(text: &[u8], always: bool, major: u16) -> Result<Vec<u8>, EditErrorKind> {
    if text.iter().any(|byte| matches!(byte, b'\n' | 0)) {
        return Err(EditErrorKind::Unwritable);
    }
    if scan::longest_token(major).is_some_and(|longest| text.len() >= longest) {
        return Err(EditErrorKind::Unwritable);
    }
    let is_plain = |&byte: &u8| !scan::is_separator(byte) && !matches!(byte, b'"' | b'#');
    let needs_none = !text.is_empty() && text.iter().all(is_plain) && !text.ends_with(b"\\");
    if needs_none && !always {
        return Ok(text.to_vec());
    }
    let mut written = vec![b'"'];
    for &byte in text {
        written.push(byte);
        if byte == b'"' {
            written.push(byte);
        }
    }
    written.push(b'"');
    Ok(written)
}

/// The numbers of the columns.
pub(crate) const ADDRESS: usize = 3;
const MASK: usize = 4;
const METHOD: usize = 5;
const OPTIONS: usize = 6;

impl NewRule {
    /// A rule for connections over a Unix socket.
    #[must_use]
    pub fn local(database: Name, user: Name, method: Method) -> Self {
        Self {
            connection: ConnectionType::Local,
            databases: vec![database],
            users: vec![user],
            address: Vec::new(),
            method,
            options: Vec::new(),
            written: None,
        }
    }

    /// A rule for connections over TCP from an address: `10.0.0.0/8`, `all`, `samenet` or a host
    /// name.
    pub fn host(database: Name, user: Name, address: impl Into<Vec<u8>>, method: Method) -> Self {
        Self {
            connection: ConnectionType::Host,
            address: address.into(),
            ..Self::local(database, user, method)
        }
    }

    /// Restricts the rule to connections of this type.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionType) -> Self {
        self.connection = connection;
        self
    }

    /// Adds a database.
    #[must_use]
    pub fn database(mut self, name: Name) -> Self {
        self.databases.push(name);
        self
    }

    /// Adds a user.
    #[must_use]
    pub fn user(mut self, name: Name) -> Self {
        self.users.push(name);
        self
    }

    /// Adds an option of the method.
    #[must_use]
    pub fn option(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }

    /// Reads a rule in the syntax of the file. Its quotes are kept, but not its columns and
    /// comment.
    ///
    /// # Errors
    ///
    /// Fails if the text is not one line with a rule that the server accepts. Lists that the rule
    /// names are not read. [`EditErrorKind::Rejected`] has the server's reason.
    pub fn parse(line: impl AsRef<[u8]>, server: &Server) -> Result<Self, EditErrorKind> {
        let line = line.as_ref();
        let rules = Rules::parse(line, server);
        if let Some(error) = rules.errors().find(|error| !error.is_warning()) {
            return Err(EditErrorKind::Rejected(error.message().to_vec()));
        }
        let mut found = rules.rules();
        let (Some(rule), None) = (found.next(), found.next()) else {
            return Err(EditErrorKind::NotOneRule);
        };
        let line = scan::Lines::new(line, server.major).find(|line| !line.is_boring());
        let line = line.map(|line| line.text.into_owned()).unwrap_or_default();
        let written = columns(&line).map(|(column, field)| (column, field.written));
        Ok(Self {
            written: Some(written.collect()),
            connection: rule.connection(),
            ..Self::local(Name::all(), Name::all(), rule.method())
        })
    }

    /// Its fields as they are to be written, with the numbers of their columns.
    pub(crate) fn fields(&self, major: u16) -> Result<Vec<(usize, Vec<u8>)>, EditErrorKind> {
        if let Some(written) = &self.written {
            return Ok(written.clone());
        }
        let list = |names: &[Name]| -> Result<Vec<u8>, EditErrorKind> {
            let names: Result<Vec<_>, _> = names.iter().map(|name| name.written(major)).collect();
            Ok(names?.join(&b','))
        };
        let mut fields = vec![
            (0, self.connection.name().into()),
            (1, list(&self.databases)?),
            (2, list(&self.users)?),
        ];
        if self.connection != ConnectionType::Local {
            fields.push((ADDRESS, quoted(&self.address, false, major)?));
        }
        fields.push((METHOD, self.method.name().into()));
        for (name, value) in &self.options {
            let option = [name.as_slice(), b"=", value].concat();
            fields.push((OPTIONS, quoted(&option, option.starts_with(b"@"), major)?));
        }
        Ok(fields)
    }
}

/// The fields of a line with the numbers of their columns. A mask has a column of its own.
pub(crate) fn columns(line: &[u8]) -> impl Iterator<Item = (usize, text::Field)> {
    let mut next = 0;
    let mut is_local = false;
    text::fields(line).into_iter().map(move |field| {
        let column = next;
        is_local |= column == 0 && field.first == b"local";
        next = match column {
            0 => 1,
            1 => 2,
            2 if !is_local => ADDRESS,
            2 => METHOD,
            ADDRESS if is_address_alone(&field.first) => MASK,
            ADDRESS | MASK => METHOD,
            _ => OPTIONS,
        };
        (column, field)
    })
}

/// The beginnings of the columns of a line. Of several options only the first has a column.
pub(crate) fn columns_of(line: &[u8]) -> Vec<(usize, usize)> {
    let mut starts: Vec<_> = columns(line)
        .map(|(column, field)| (column, field.span.start))
        .collect();
    starts.dedup_by_key(|(column, _)| *column);
    starts
}

fn is_address_alone(text: &[u8]) -> bool {
    let found: Option<IpAddr> = address::parse(text);
    found.is_some()
}
