//! The text of a `pg_ident.conf`, changed line by line.

use std::fmt;

use crate::hba::layout::Columns;
use crate::hba::text::{self, Text};
use crate::hba::{EditError, EditErrorKind, Place, Server, quoted, with_comment_of};
use crate::ident::mappings::Mappings;

/// The text of a `pg_ident.conf`.
///
/// Any bytes are accepted and returned unchanged. An edit changes one line. Lines have the numbers
/// that [`Mappings`] and the server's view report.
///
/// ```
/// use pgconf_parse::hba::Place;
/// use pgconf_parse::ident::{DatabaseUser, Document, NewMapping, SystemUser};
///
/// let mut doc = Document::parse("admins    root    postgres    # us\n");
/// let mapping = NewMapping::new(
///     "admins",
///     SystemUser::regex("^(.*)@example$"),
///     DatabaseUser::of("\\1"),
/// );
/// doc.insert(Place::End, &mapping)?;
/// doc.replace(1, &NewMapping::new("admins", SystemUser::of("a b"), DatabaseUser::of("all")))?;
/// assert_eq!(doc.to_string(), "\
/// admins    \"a b\"   \"all\"       # us
/// admins    /^(.*)@example$ \\1
/// ");
/// # Ok::<(), pgconf_parse::hba::EditError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    text: Text,
}

/// A mapping that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMapping {
    map: Vec<u8>,
    system_user: SystemUser,
    database_user: DatabaseUser,
}

/// The system users of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemUser(Vec<u8>, bool);

impl SystemUser {
    /// The user of that name.
    pub fn of(name: impl Into<Vec<u8>>) -> Self {
        Self(name.into(), false)
    }

    /// Users whose names match a regular expression.
    pub fn regex(pattern: impl Into<Vec<u8>>) -> Self {
        Self(pattern.into(), true)
    }
}

/// The database users that a system user may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUser(Vec<u8>, Meaning);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Name,
    All,
    MembersOf,
    Regex,
}

impl DatabaseUser {
    /// The user of that name, in which `\1` stands for the first parentheses of the system user's
    /// regular expression.
    pub fn of(name: impl Into<Vec<u8>>) -> Self {
        Self(name.into(), Meaning::Name)
    }

    /// Any user; since PostgreSQL 16.
    #[must_use]
    pub fn all() -> Self {
        Self(Vec::new(), Meaning::All)
    }

    /// Members of a role; since PostgreSQL 16.
    pub fn members_of(role: impl Into<Vec<u8>>) -> Self {
        Self(role.into(), Meaning::MembersOf)
    }

    /// Users whose names match a regular expression; since PostgreSQL 16.
    pub fn regex(pattern: impl Into<Vec<u8>>) -> Self {
        Self(pattern.into(), Meaning::Regex)
    }
}

impl NewMapping {
    /// A mapping with that name, from these system users to these database users.
    pub fn new(
        map: impl Into<Vec<u8>>,
        system_user: SystemUser,
        database_user: DatabaseUser,
    ) -> Self {
        Self {
            map: map.into(),
            system_user,
            database_user,
        }
    }

    fn fields(&self, major: u16) -> Result<Vec<(usize, Vec<u8>)>, EditErrorKind> {
        let regex = |pattern: &[u8]| quoted(&[b"/", pattern].concat(), false, major);
        let name = |text: &[u8]| match text.first() {
            // A quoted name that begins with a slash is a regular expression as well.
            Some(b'/') => Err(EditErrorKind::Unwritable),
            first => {
                let means_more = text == b"all" || first.is_some_and(|byte| b"+@".contains(byte));
                quoted(text, means_more, major)
            }
        };
        let map_is_list = self.map.starts_with(b"@");
        let SystemUser(system_user, is_regex) = &self.system_user;
        let DatabaseUser(database_user, meaning) = &self.database_user;
        Ok(vec![
            (0, quoted(&self.map, map_is_list, major)?),
            (
                1,
                if *is_regex {
                    regex(system_user)?
                } else {
                    name(system_user)?
                },
            ),
            (
                2,
                match meaning {
                    Meaning::Name if major < 16 => {
                        quoted(database_user, database_user.starts_with(b"@"), major)?
                    }
                    Meaning::Name => name(database_user)?,
                    _ if major < 16 => return Err(EditErrorKind::Unwritable),
                    Meaning::All => b"all".to_vec(),
                    Meaning::MembersOf => {
                        [b"+", quoted(database_user, false, major)?.as_slice()].concat()
                    }
                    Meaning::Regex => regex(database_user)?,
                },
            ),
        ])
    }
}

const STOCK: [(usize, usize); 3] = [(0, 0), (1, 16), (2, 40)];

impl Document {
    /// Takes the text of a file of PostgreSQL 14 or later. Any text is accepted.
    pub fn parse(source: impl Into<Vec<u8>>) -> Self {
        Self::parse_for(source, 18)
    }

    /// Takes the text of a file of this major version. Before 14 a backslash does not continue a
    /// line, and new mappings are limited to the syntax of the version.
    pub fn parse_for(source: impl Into<Vec<u8>>, major: u16) -> Self {
        Self {
            text: Text::new(source.into(), major),
        }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text.source
    }

    /// The bytes of the file.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.text.source
    }

    /// The mappings in this file, without included files: see [`Mappings::parse`].
    #[must_use]
    pub fn mappings(&self, server: &Server) -> Mappings {
        Mappings::parse(self.as_bytes(), server)
    }

    /// The numbers of the lines that are neither empty nor comments, in order.
    pub fn lines(&self) -> impl Iterator<Item = usize> {
        self.text.entries().iter().map(|entry| entry.number)
    }

    /// Adds a mapping in the columns of its neighbor. Returns the number of its line.
    ///
    /// # Errors
    ///
    /// Fails if there is no such place or the mapping cannot be written.
    pub fn insert(&mut self, place: Place, mapping: &NewMapping) -> Result<usize, EditError> {
        let fail = |kind| EditError::new("add a mapping", kind);
        let (before, neighbor) = match place {
            Place::Before(line) => {
                let index = self.find(line).map_err(fail)?;
                (index, Some(index))
            }
            Place::After(line) => {
                let index = self.find(line).map_err(fail)?;
                (index + 1, Some(index))
            }
            Place::End => {
                let count = self.text.entries().len();
                (count, count.checked_sub(1))
            }
        };
        let columns = neighbor.map_or_else(|| Columns::fixed(&STOCK), |index| self.columns(index));
        let line = columns.write(&self.checked(mapping).map_err(fail)?);
        Ok(self.text.insert(before, &line))
    }

    /// Replaces a mapping. The columns and the comment of the line stay. Returns the number of the
    /// line.
    ///
    /// # Errors
    ///
    /// Fails if there is no mapping on that line or the new mapping cannot be written.
    pub fn replace(&mut self, line: usize, mapping: &NewMapping) -> Result<usize, EditError> {
        let fail = |kind| EditError::new("replace a mapping", kind);
        let index = self.find(line).map_err(fail)?;
        let fields = self.checked(mapping).map_err(fail)?;
        let old = self
            .text
            .line(&self.text.entries()[index])
            .text
            .into_owned();
        let new = with_comment_of(&old, &self.columns(index), &fields);
        Ok(self.text.replace(index, &new))
    }

    /// Removes a mapping with its line.
    ///
    /// # Errors
    ///
    /// Fails if there is no mapping on that line.
    pub fn remove(&mut self, line: usize) -> Result<(), EditError> {
        let index = self
            .find(line)
            .map_err(|kind| EditError::new("remove a mapping", kind))?;
        self.text.remove(index);
        Ok(())
    }

    /// Turns a mapping into a comment.
    ///
    /// # Errors
    ///
    /// Fails if there is no mapping on that line.
    pub fn comment_out(&mut self, line: usize) -> Result<(), EditError> {
        let index = self.find(line);
        let index = index.map_err(|kind| EditError::new("comment out a mapping", kind))?;
        self.text.comment_out(index);
        Ok(())
    }

    fn find(&self, line: usize) -> Result<usize, EditErrorKind> {
        self.text
            .find(line)
            .ok_or(EditErrorKind::NoSuchLine { line })
    }

    fn columns(&self, index: usize) -> Columns {
        let line = self.text.line(&self.text.entries()[index]);
        let fields = text::fields(&line.text);
        let starts = fields
            .iter()
            .take(3)
            .map(|field| field.span.start)
            .enumerate();
        Columns::of(&line.text, starts)
    }

    /// The fields of a mapping that the server accepts.
    fn checked(&self, mapping: &NewMapping) -> Result<Vec<(usize, Vec<u8>)>, EditErrorKind> {
        let major = self.text.major;
        let fields = mapping.fields(major)?;
        let line: Vec<&[u8]> = fields.iter().map(|(_, text)| text.as_slice()).collect();
        let found = Mappings::parse(line.join(&b' '), &Server::new(major));
        if let Some(error) = found.errors().next() {
            return Err(EditErrorKind::Rejected(error.message().to_vec()));
        }
        if found.mappings().count() != 1 {
            return Err(EditErrorKind::NotOneRule);
        }
        Ok(fields)
    }
}

impl fmt::Display for Document {
    /// The text of the file, with replacement characters where it is not UTF-8.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Document").field(&self.to_string()).finish()
    }
}
