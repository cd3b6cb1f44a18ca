//! The rules of a server: `pg_hba.conf` with all included files, as `pg_hba_file_rules` shows it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::hba::address::{self, Address, Network};
use crate::hba::method::{ConnectionType, Method};
use crate::hba::options::Key;
use crate::hba::parse_line::{AddressData, Data, Entry, Failure, Names, Parsed, parse_line};
use crate::hba::read_error::ReadError;
use crate::hba::regex::Regex;
use crate::hba::server::Server;
use crate::hba::tokenize::{LinePlace, Sources, Token, TokenLine};
use crate::loader::{FileSystem, Loader};

/// The rules that a server reads in a `pg_hba.conf`.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::path::{Path, PathBuf};
/// use pgconf_parse::hba::{Method, Rules, Server};
///
/// let files = BTreeMap::from([
///     (
///         PathBuf::from("/data/pg_hba.conf"),
///         b"local @dbs all peer\nhost all all all md6\n".to_vec(),
///     ),
///     (PathBuf::from("/data/dbs"), b"app, test\n".to_vec()),
/// ]);
/// let rules = Rules::load(&files, Path::new("/data/pg_hba.conf"), &Server::default())?;
/// let rule = rules.rules().next().unwrap();
/// assert_eq!((rule.line(), rule.method()), (1, Method::Peer));
/// assert_eq!(
///     rule.databases().map(|name| name.text()).collect::<Vec<_>>(),
///     [b"app".as_slice(), b"test"]
/// );
///
/// assert!(!rules.is_accepted());
/// let error = rules.rows().find_map(|row| row.error()).unwrap();
/// assert_eq!(error.to_string(), "invalid authentication method \"md6\"");
/// assert_eq!((error.line(), error.column()), (2, 18));
/// # Ok::<(), pgconf_parse::hba::ReadError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rules {
    sources: Sources,
    entries: Vec<Entry>,
    names: Names,
    pub(crate) server: Server,
}

impl Rules {
    /// Reads the rules from files of this machine.
    ///
    /// # Errors
    ///
    /// Fails if `file` cannot be read. Every other problem is an error of a [row](Self::rows).
    pub fn read(file: impl AsRef<Path>, server: &Server) -> Result<Self, ReadError> {
        Self::load(&FileSystem, file.as_ref(), server)
    }

    /// Reads the rules through a loader. Lists (`@file`) and included files are loaded by paths
    /// that are relative to the file that names them, or absolute.
    ///
    /// DIFFERENCE: more than 10,000 files or 16 MiB of text, and before PostgreSQL 16 lists that
    /// are nested more than 100 deep, are an error of the line. The server continues until it can
    /// open no more files or runs out of memory.
    ///
    /// # Errors
    ///
    /// Fails if `file` cannot be loaded.
    pub fn load(loader: &dyn Loader, file: &Path, server: &Server) -> Result<Self, ReadError> {
        let mut rules = Self::new(server);
        rules.sources = Sources::load(loader, file, server.major, &mut |sources, line| {
            let entry = parse_line(sources, line, server, &mut rules.names);
            rules.entries.push(entry);
        })?;
        Ok(rules)
    }

    /// Reads the text of one file. Names of lists keep their `@`. Directives to include files are
    /// errors, as before PostgreSQL 16. Only the first 4 GiB are read.
    #[must_use]
    pub fn parse(source: impl Into<Vec<u8>>, server: &Server) -> Self {
        let source = source.into();
        let mut rules = Self::new(server);
        // An estimate that avoids copies while the vectors grow.
        rules.entries.reserve(source.len() / 64);
        rules.names.tokens.reserve(source.len() / 32);
        let add = &mut |sources: &Sources, line: TokenLine<'_>| {
            let entry = parse_line(sources, line, server, &mut rules.names);
            rules.entries.push(entry);
        };
        rules.sources = Sources::read(None, Path::new(""), source, server.major, add);
        rules
    }

    fn new(server: &Server) -> Self {
        Self {
            sources: Sources::default(),
            entries: Vec::new(),
            names: Names::default(),
            server: server.clone(),
        }
    }

    /// The server that the rules were read for.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// All lines with a rule or an error, in the order in which the server reads them.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut number = 0;
        (0..self.entries.len()).map(move |index| {
            let row = Row {
                rules: self,
                index,
                number: number + 1,
            };
            number += usize::from(row.shown_error().is_none());
            row
        })
    }

    /// The rules that are valid, in the order in which the server tries them.
    pub fn rules(&self) -> impl Iterator<Item = Rule<'_>> {
        self.rows().filter_map(|row| row.rule())
    }

    /// The errors of all lines.
    pub fn errors(&self) -> impl Iterator<Item = RuleError<'_>> {
        self.rows().filter_map(|row| row.error())
    }

    /// Returns whether the server would use these rules. It rejects all of them if one line is in
    /// error or if there is no rule. After a reload it keeps the rules that it has. It does not
    /// start with such a file.
    ///
    /// Source: `load_hba` in hba.c.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        let mut entries = self.entries.iter();
        let all_valid = entries.all(|entry| matches!(entry.parsed, Parsed::Rule(..)));
        all_valid && !self.entries.is_empty()
    }

    /// The files that were read, in the order in which they were opened.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.files.iter().map(|file| file.path.as_path())
    }

    fn place(&self, index: usize) -> &LinePlace {
        &self.entries[index].place
    }

    fn names(&self, range: Range<u32>) -> impl Iterator<Item = RuleName<'_>> + Clone {
        range.map(|name| RuleName { rules: self, name })
    }
}

/// A line with a rule, an error, or both.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    rules: &'a Rules,
    index: usize,
    number: usize,
}

impl<'a> Row<'a> {
    /// The server that the line was read for.
    #[must_use]
    pub fn server(&self) -> &'a Server {
        &self.rules.server
    }

    /// The number of the rule, counted from 1 over all files, as the view shows it since
    /// PostgreSQL 16. None if the view shows an error.
    #[must_use]
    pub fn number(&self) -> Option<usize> {
        self.shown_error().is_none().then_some(self.number)
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &'a Path {
        let place = self.rules.place(self.index);
        &self.rules.sources.files[place.file as usize].path
    }

    /// The number of the first line, counted from 1, as the server counts.
    #[must_use]
    pub fn line(&self) -> usize {
        self.rules.place(self.index).number as usize
    }

    /// The rule, if the line has one.
    #[must_use]
    pub fn rule(&self) -> Option<Rule<'a>> {
        match &self.rules.entries[self.index].parsed {
            Parsed::Rule(data, _) => Some(Rule { row: *self, data }),
            Parsed::Error(_) => None,
        }
    }

    /// The error, if there is one. A line can have both: a rule for TLS on a server without TLS.
    #[must_use]
    pub fn error(&self) -> Option<RuleError<'a>> {
        let failure = match &self.rules.entries[self.index].parsed {
            Parsed::Rule(_, failure) => failure.as_deref()?,
            Parsed::Error(failure) => failure,
        };
        Some(RuleError {
            row: *self,
            failure,
        })
    }

    /// The error as the server's view shows it. In a few cases the view has other words than the
    /// log, or none.
    #[must_use]
    pub fn shown_error(&self) -> Option<&'a [u8]> {
        self.error()?.failure.rejection.shown.as_deref()
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("file", &self.file())
            .field("line", &self.line())
            .field("rule", &self.rule())
            .field("error", &self.error())
            .finish()
    }
}

/// A line that the server rejects.
#[derive(Clone, Copy)]
pub struct RuleError<'a> {
    row: Row<'a>,
    failure: &'a Failure,
}

impl<'a> RuleError<'a> {
    /// The reason in the words of the server's log.
    #[must_use]
    pub fn message(&self) -> &'a [u8] {
        &self.failure.rejection.logged
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &'a Path {
        self.row.file()
    }

    /// The number of the line with the error, counted from 1. It is greater than [`Row::line`] if
    /// the error is in a continuation line.
    #[must_use]
    pub fn line(&self) -> usize {
        self.position().0
    }

    /// The column of the error, counted in bytes from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.position().1
    }

    fn position(&self) -> (usize, usize) {
        let place = self.row.rules.place(self.row.index);
        let sources = &self.row.rules.sources;
        sources.position(place.file, self.failure.at)
    }

    /// Advice, in the words of the server's hint where the server has one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let hint = match self.message() {
            b"hostssl record cannot match because SSL is disabled" => {
                "set \"ssl = on\" in postgresql.conf"
            }
            b"multiple values specified for connection type" => {
                "specify exactly one connection type per line"
            }
            b"multiple values specified for host address" => "specify one address range per line",
            b"multiple values specified for authentication type" => {
                "specify exactly one authentication type per line"
            }
            b"end-of-line before netmask specification" => {
                "specify an address range in CIDR notation, or provide a separate netmask"
            }
            _ => return None,
        };
        Some(hint)
    }

    /// Returns whether the server uses the rule in spite of the error. Such a rule can never match.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.row.rule().is_some()
    }
}

impl fmt::Display for RuleError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.message()))
    }
}

impl fmt::Debug for RuleError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {self}",
            self.file().display(),
            self.line(),
            self.column()
        )
    }
}

impl std::error::Error for RuleError<'_> {}

/// A rule that the server accepts.
#[derive(Clone, Copy)]
pub struct Rule<'a> {
    row: Row<'a>,
    data: &'a Data,
}

impl<'a> Rule<'a> {
    pub(crate) fn rules(&self) -> &'a Rules {
        self.row.rules
    }

    /// See [`Row::number`].
    #[must_use]
    pub fn number(&self) -> Option<usize> {
        self.row.number()
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &'a Path {
        self.row.file()
    }

    /// The number of its first line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.row.line()
    }

    /// The text in the file, from the first token to the end of the line.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        let rules = self.rules();
        rules.sources.line_text(rules.place(self.row.index))
    }

    /// The connections that the rule is for.
    #[must_use]
    pub fn connection(&self) -> ConnectionType {
        self.data.connection
    }

    /// The databases that the rule is for.
    pub fn databases(&self) -> impl Iterator<Item = RuleName<'a>> + Clone {
        self.rules().names(self.data.databases())
    }

    /// The users that the rule is for.
    pub fn users(&self) -> impl Iterator<Item = RuleName<'a>> + Clone {
        self.rules().names(self.data.users())
    }

    /// The addresses that the rule is for. None for Unix sockets.
    #[must_use]
    pub fn address(&self) -> Option<Address<'a>> {
        match &self.data.address {
            AddressData::None => None,
            AddressData::All => Some(Address::All),
            AddressData::SameHost => Some(Address::SameHost),
            AddressData::SameNet => Some(Address::SameNet),
            AddressData::V4 { address, mask } => {
                Network::new((*address).into(), (*mask).into()).map(Address::Network)
            }
            AddressData::V6(network) => Some(Address::Network(**network)),
            AddressData::Host(token) => {
                Some(Address::Host(self.rules().sources.token_text(**token)))
            }
        }
    }

    /// The address and the mask, as the view shows them.
    #[must_use]
    pub fn address_columns(&self) -> (Option<Cow<'a, [u8]>>, Option<String>) {
        let word = |word: &'static str| (Some(Cow::Borrowed(word.as_bytes())), None);
        match self.address() {
            None => (None, None),
            Some(Address::All) => word("all"),
            Some(Address::SameHost) => word("samehost"),
            Some(Address::SameNet) => word("samenet"),
            Some(Address::Host(name)) => (Some(name.into()), None),
            Some(Address::Network(network)) => (
                Some(address::shown(network.address()).into_bytes().into()),
                Some(address::shown(network.mask())),
            ),
        }
    }

    /// The authentication method. `ident` for Unix sockets is `peer`.
    #[must_use]
    pub fn method(&self) -> Method {
        self.data.method
    }

    /// The options, in the order and with the values that the view shows.
    pub fn options(&self) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        let (data, major) = (self.data, self.rules().server.major);
        let options = data.options.as_deref();
        options
            .into_iter()
            .flat_map(move |options| options.shown(data.method, major))
    }

    /// The user name map in `pg_ident.conf` that the method uses, if the rule names one.
    #[must_use]
    pub fn map(&self) -> Option<&'a [u8]> {
        self.data.options.as_deref()?.get(Key::Map)
    }
}

impl fmt::Debug for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}",
            self.file().display(),
            self.line(),
            String::from_utf8_lossy(self.text())
        )
    }
}

/// A name in the list of databases or of users.
#[derive(Clone, Copy)]
pub struct RuleName<'a> {
    rules: &'a Rules,
    name: u32,
}

impl<'a> RuleName<'a> {
    fn token(&self) -> Token {
        self.rules.names.tokens[self.name as usize]
    }

    /// The name without its quotes.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.rules.sources.token_text(self.token())
    }

    /// Returns whether the name begins with a quote. Then keywords and `+` have no special meaning.
    #[must_use]
    pub fn is_quoted(&self) -> bool {
        self.token().quoted
    }

    /// Returns whether the name is this keyword. A quoted name is not a keyword.
    #[must_use]
    pub fn is_keyword(&self, keyword: &str) -> bool {
        !self.is_quoted() && self.text() == keyword.as_bytes()
    }

    /// The role whose members are meant, if the name begins with `+`.
    #[must_use]
    pub fn members_of(&self) -> Option<&'a [u8]> {
        self.text().strip_prefix(b"+").filter(|_| !self.is_quoted())
    }

    /// The regular expression, if the name begins with a slash and the server is PostgreSQL 16 or
    /// later.
    #[must_use]
    pub fn regex(&self) -> Option<&'a [u8]> {
        let is_known = self.rules.server.major >= 16;
        self.text().strip_prefix(b"/").filter(|_| is_known)
    }

    pub(crate) fn compiled(&self) -> Option<&'a Regex> {
        let regexes = &self.rules.names.regexes;
        let found = regexes.binary_search_by_key(&self.name, |(name, _)| *name);
        found.ok().map(|n| &regexes[n].1)
    }
}

impl fmt::Debug for RuleName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.text());
        if self.is_quoted() {
            fmt::Debug::fmt(&text, f)
        } else {
            f.write_str(&text)
        }
    }
}
