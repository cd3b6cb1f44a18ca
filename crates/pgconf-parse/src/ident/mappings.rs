//! The user name maps of a server, as `pg_ident_file_mappings` shows them.

use std::fmt;
use std::path::Path;

use crate::hba::regex::Regex;
use crate::hba::tokenize::{LinePlace, Sources, Token, TokenLine};
use crate::hba::{ReadError, Server};
use crate::loader::{FileSystem, Loader};

/// The mappings that a server reads in a `pg_ident.conf`.
///
/// ```
/// use pgconf_parse::hba::Server;
/// use pgconf_parse::ident::Mappings;
///
/// let mappings = Mappings::parse(
///     "# comment\nadmins root postgres\nadmins /^(.*)@example\\.com$ \\1\n",
///     &Server::default(),
/// );
/// let second = mappings.mappings().nth(1).unwrap();
/// assert_eq!(second.map(), b"admins");
/// assert_eq!(second.database_user(), br"\1");
/// assert!(mappings.is_accepted());
/// ```
#[derive(Clone, Debug)]
pub struct Mappings {
    sources: Sources,
    entries: Vec<Entry>,
    pub(crate) server: Server,
}

#[derive(Clone, Debug)]
struct Entry {
    place: LinePlace,
    parsed: Parsed,
}

#[derive(Clone, Debug)]
enum Parsed {
    Mapping(Data),
    Error(Box<Failure>),
}

#[derive(Clone, Debug)]
struct Failure {
    message: Vec<u8>,
    at: u32,
}

#[derive(Clone, Debug)]
struct Data {
    map: Token,
    system_user: Token,
    database_user: Token,
    system_regex: Option<Box<Regex>>,
    database_regex: Option<Box<Regex>>,
}

impl Mappings {
    /// Reads the mappings from files of this machine.
    ///
    /// # Errors
    ///
    /// Fails if `file` cannot be read. Every other problem is an error of a [row](Self::rows).
    pub fn read(file: impl AsRef<Path>, server: &Server) -> Result<Self, ReadError> {
        Self::load(&FileSystem, file.as_ref(), server)
    }

    /// Reads the mappings through a loader: see [`Rules::load`].
    ///
    /// [`Rules::load`]: crate::hba::Rules::load
    ///
    /// # Errors
    ///
    /// Fails if `file` cannot be loaded.
    pub fn load(loader: &dyn Loader, file: &Path, server: &Server) -> Result<Self, ReadError> {
        let mut mappings = Self::new(server);
        mappings.sources = Sources::load(loader, file, server.major, &mut |sources, line| {
            mappings.entries.push(parse_line(sources, line, server));
        })?;
        Ok(mappings)
    }

    /// Reads the text of one file, without included files.
    #[must_use]
    pub fn parse(source: impl Into<Vec<u8>>, server: &Server) -> Self {
        let source = source.into();
        let mut mappings = Self::new(server);
        // An estimate that avoids copies while the vector grows.
        mappings.entries.reserve(source.len() / 32);
        let add = &mut |sources: &Sources, line: TokenLine<'_>| {
            mappings.entries.push(parse_line(sources, line, server));
        };
        mappings.sources = Sources::read(None, Path::new(""), source, server.major, add);
        mappings
    }

    fn new(server: &Server) -> Self {
        Self {
            sources: Sources::default(),
            entries: Vec::new(),
            server: server.clone(),
        }
    }

    /// The server that the mappings were read for.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// All lines with a mapping or an error, in the order in which the server reads them.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut number = 0;
        (0..self.entries.len()).map(move |index| {
            let row = Row {
                mappings: self,
                index,
                number: number + 1,
            };
            number += usize::from(row.error().is_none());
            row
        })
    }

    /// The mappings that are valid, in the order in which the server tries them.
    pub fn mappings(&self) -> impl Iterator<Item = Mapping<'_>> {
        self.rows().filter_map(|row| row.mapping())
    }

    /// The errors of all lines.
    pub fn errors(&self) -> impl Iterator<Item = MappingError<'_>> {
        self.rows().filter_map(|row| row.error())
    }

    /// Returns whether the server would use these mappings. It rejects all of them if one line is
    /// in error. After a reload it keeps the mappings that it has. After a start it has none.
    ///
    /// Source: `load_ident` in hba.c.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.errors().next().is_none()
    }

    /// The files that were read, in the order in which they were opened.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.files.iter().map(|file| file.path.as_path())
    }
}

/// A line with a mapping or an error.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    mappings: &'a Mappings,
    index: usize,
    number: usize,
}

impl<'a> Row<'a> {
    fn place(&self) -> &'a LinePlace {
        &self.mappings.entries[self.index].place
    }

    /// The number of the mapping, counted from 1 over all files. None for an error.
    #[must_use]
    pub fn number(&self) -> Option<usize> {
        self.error().is_none().then_some(self.number)
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &'a Path {
        &self.mappings.sources.files[self.place().file as usize].path
    }

    /// The number of the first line, counted from 1, as the server counts.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place().number as usize
    }

    /// The mapping, if the line has one.
    #[must_use]
    pub fn mapping(&self) -> Option<Mapping<'a>> {
        match &self.mappings.entries[self.index].parsed {
            Parsed::Mapping(data) => Some(Mapping { row: *self, data }),
            Parsed::Error(_) => None,
        }
    }

    /// The error, if the line has one.
    #[must_use]
    pub fn error(&self) -> Option<MappingError<'a>> {
        match &self.mappings.entries[self.index].parsed {
            Parsed::Mapping(_) => None,
            Parsed::Error(failure) => Some(MappingError {
                row: *self,
                failure,
            }),
        }
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mapping() {
            Some(mapping) => fmt::Debug::fmt(&mapping, f),
            None => fmt::Debug::fmt(&self.error(), f),
        }
    }
}

/// A line that the server rejects.
#[derive(Clone, Copy)]
pub struct MappingError<'a> {
    row: Row<'a>,
    failure: &'a Failure,
}

impl<'a> MappingError<'a> {
    /// The reason in the server's words.
    #[must_use]
    pub fn message(&self) -> &'a [u8] {
        &self.failure.message
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &'a Path {
        self.row.file()
    }

    /// The number of the line with the error, counted from 1.
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
        let sources = &self.row.mappings.sources;
        sources.position(self.row.place().file, self.failure.at)
    }
}

impl fmt::Display for MappingError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.message()))
    }
}

impl fmt::Debug for MappingError<'_> {
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

impl std::error::Error for MappingError<'_> {}

/// A mapping that the server accepts.
#[derive(Clone, Copy)]
pub struct Mapping<'a> {
    row: Row<'a>,
    data: &'a Data,
}

impl<'a> Mapping<'a> {
    fn text_of(&self, token: Token) -> &'a [u8] {
        self.row.mappings.sources.token_text(token)
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
        self.row.mappings.sources.line_text(self.row.place())
    }

    /// The name of the map.
    #[must_use]
    pub fn map(&self) -> &'a [u8] {
        self.text_of(self.data.map)
    }

    /// The system user, or a slash and a regular expression.
    #[must_use]
    pub fn system_user(&self) -> &'a [u8] {
        self.text_of(self.data.system_user)
    }

    /// The database user. `\1` stands for the text that the first parentheses match. Since
    /// PostgreSQL 16 also `all`, `+role`, or a slash and a regular expression.
    #[must_use]
    pub fn database_user(&self) -> &'a [u8] {
        self.text_of(self.data.database_user)
    }

    /// Returns whether the database user is quoted. Then `all` and `+` have no special meaning.
    #[must_use]
    pub fn is_database_user_quoted(&self) -> bool {
        self.data.database_user.quoted
    }

    /// The server that the mapping was read for.
    #[must_use]
    pub fn server(&self) -> &'a Server {
        &self.row.mappings.server
    }

    pub(crate) fn system_regex(&self) -> Option<&'a Regex> {
        self.data.system_regex.as_deref()
    }

    pub(crate) fn database_regex(&self) -> Option<&'a Regex> {
        self.data.database_regex.as_deref()
    }
}

impl fmt::Debug for Mapping<'_> {
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

fn parse_line(sources: &Sources, mut line: TokenLine<'_>, server: &Server) -> Entry {
    let parsed = match line.error.take() {
        Some(error) => Err(Failure {
            message: error.message,
            at: error.at,
        }),
        None => parse_ident_line(sources, &line, server),
    };
    Entry {
        place: line.place,
        parsed: parsed.map_or_else(|failure| Parsed::Error(Box::new(failure)), Parsed::Mapping),
    }
}

/// Source: `parse_ident_line` in hba.c.
fn parse_ident_line(
    sources: &Sources,
    line: &TokenLine<'_>,
    server: &Server,
) -> Result<Data, Failure> {
    let mut fields = line.fields();
    let mut next = || match fields.next() {
        Some([only]) => Ok(*only),
        Some(several) => Err(Failure {
            message: b"multiple values in ident field".to_vec(),
            at: several[1].at,
        }),
        None => Err(Failure {
            // Before PostgreSQL 15 with the file and the line.
            message: b"missing entry at end of line".to_vec(),
            at: line.place.span.end,
        }),
    };
    let (map, system_user, database_user) = (next()?, next()?, next()?);
    let compile = |token: Token| match sources.token_text(token).strip_prefix(b"/") {
        None => Ok(None),
        Some(pattern) => match Regex::new(pattern) {
            Ok(regex) => Ok(Some(Box::new(regex))),
            Err(reason) => Err(Failure {
                message: crate::hba::invalid_regex(pattern, reason).logged,
                at: token.at,
            }),
        },
    };
    Ok(Data {
        map,
        system_user,
        database_user,
        system_regex: compile(system_user)?,
        database_regex: if server.major >= 16 {
            compile(database_user)?
        } else {
            None
        },
    })
}
