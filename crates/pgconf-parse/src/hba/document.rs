//! The text of a `pg_hba.conf`, changed line by line.

use std::fmt;

use crate::hba::decide::{self, Answer, Attempt, Facts};
use crate::hba::edit_error::{EditError, EditErrorKind};
use crate::hba::layout::{self, Columns};
use crate::hba::new_rule::{self, NewRule};
use crate::hba::rules::Rules;
use crate::hba::server::Server;
use crate::hba::text::{self, Text};

/// The text of a `pg_hba.conf`.
///
/// Any bytes are accepted and returned unchanged. An edit changes one line. Lines have the numbers
/// that [`Rules`] and the server's view report.
///
/// ```
/// use pgconf_parse::hba::{Attempt, Document, Facts, Method, Name, NewRule, Place, Server};
///
/// let server = Server::default();
/// let mut doc = Document::parse("\
/// ## TYPE  DATABASE        USER            ADDRESS                 METHOD
/// local   all             all                                     peer
/// host    all             all             127.0.0.1/32            scram-sha-256  # here
/// ");
/// let rule = NewRule::host(Name::of("app"), Name::of("a b"), "127.0.0.1/32", Method::Trust);
/// let attempt = Attempt::host([127, 0, 0, 1], "app", "a b");
/// assert_eq!(doc.insert_before_match(&attempt, &Facts::new(), &server, &rule)?, 3);
/// assert_eq!(doc.to_string(), "\
/// ## TYPE  DATABASE        USER            ADDRESS                 METHOD
/// local   all             all                                     peer
/// host    app             \"a b\"           127.0.0.1/32            trust
/// host    all             all             127.0.0.1/32            scram-sha-256  # here
/// ");
/// doc.comment_out(2)?;
/// doc.insert(Place::End, &NewRule::parse("local all all md5", &server)?)?;
/// assert_eq!(doc.rules(&server).rules().count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    text: Text,
}

/// The place of a new rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Before the rule on this line.
    Before(usize),
    /// After the rule on this line.
    After(usize),
    /// At the end of the file.
    End,
}

/// The columns of the file that `initdb` writes.
const STOCK: [(usize, usize); 5] = [(0, 0), (1, 8), (2, 24), (3, 40), (5, 64)];

impl Document {
    /// Takes the text of a file of PostgreSQL 14 or later. Any text is accepted.
    pub fn parse(source: impl Into<Vec<u8>>) -> Self {
        Self::parse_for(source, 18)
    }

    /// Takes the text of a file of this major version. Before 14 a backslash does not continue a
    /// line, and new rules are limited to the syntax of the version.
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

    /// The rules in this file, without included files: see [`Rules::parse`].
    #[must_use]
    pub fn rules(&self, server: &Server) -> Rules {
        Rules::parse(self.as_bytes(), server)
    }

    /// The numbers of the lines that are neither empty nor comments, in order.
    pub fn lines(&self) -> impl Iterator<Item = usize> {
        self.text.entries().iter().map(|entry| entry.number)
    }

    /// Adds a rule in the columns of its neighbor. Returns the number of its line.
    ///
    /// # Errors
    ///
    /// Fails if there is no such place or the rule cannot be written.
    pub fn insert(&mut self, place: Place, rule: &NewRule) -> Result<usize, EditError> {
        let fail = |kind| EditError::new("add a rule", kind);
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
        let line = columns.write(&self.checked(rule).map_err(fail)?);
        Ok(self.text.insert(before, &line))
    }

    /// Adds a rule before the first line that applies to an attempt or may apply to it: a rule that
    /// depends on a missing fact may apply, and so may an included file. Without such a line the
    /// rule is added at the end. Returns the number of its line.
    ///
    /// # Errors
    ///
    /// Fails if the rule cannot be written.
    pub fn insert_before_match(
        &mut self,
        attempt: &Attempt,
        facts: &Facts,
        server: &Server,
        rule: &NewRule,
    ) -> Result<usize, EditError> {
        let rules = self.rules(server);
        let first = rules.rows().find(|row| match row.rule() {
            Some(rule) => decide::applies(&rule, attempt, facts) != Answer::No,
            None => self.includes(row.line()),
        });
        let place = first.map_or(Place::End, |row| Place::Before(row.line()));
        self.insert(place, rule)
    }

    /// Replaces a rule. The columns and the comment of the line stay. Returns the number of the
    /// line.
    ///
    /// # Errors
    ///
    /// Fails if there is no rule on that line or the new rule cannot be written.
    pub fn replace(&mut self, line: usize, rule: &NewRule) -> Result<usize, EditError> {
        let fail = |kind| EditError::new("replace a rule", kind);
        let index = self.find(line).map_err(fail)?;
        let fields = self.checked(rule).map_err(fail)?;
        let old = self
            .text
            .line(&self.text.entries()[index])
            .text
            .into_owned();
        let new = with_comment_of(&old, &self.columns(index), &fields);
        Ok(self.text.replace(index, &new))
    }

    /// Removes a rule with its line.
    ///
    /// # Errors
    ///
    /// Fails if there is no rule on that line.
    pub fn remove(&mut self, line: usize) -> Result<(), EditError> {
        let index = self
            .find(line)
            .map_err(|kind| EditError::new("remove a rule", kind))?;
        self.text.remove(index);
        Ok(())
    }

    /// Turns a rule into a comment.
    ///
    /// # Errors
    ///
    /// Fails if there is no rule on that line.
    pub fn comment_out(&mut self, line: usize) -> Result<(), EditError> {
        let index = self
            .find(line)
            .map_err(|kind| EditError::new("comment out a rule", kind))?;
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
        Columns::of(&line.text, new_rule::columns_of(&line.text).into_iter())
    }

    /// The fields of a rule that the server accepts.
    fn checked(&self, rule: &NewRule) -> Result<Vec<(usize, Vec<u8>)>, EditErrorKind> {
        let major = self.text.major;
        let fields = rule.fields(major)?;
        let line: Vec<&[u8]> = fields.iter().map(|(_, text)| text.as_slice()).collect();
        let everything = Server::new(major).sspi(true).bsd(true);
        NewRule::parse(line.join(&b' '), &everything)?;
        Ok(fields)
    }

    /// Returns whether the line includes other files.
    fn includes(&self, line: usize) -> bool {
        let Ok(index) = self.find(line) else {
            return false;
        };
        let line = self.text.line(&self.text.entries()[index]);
        let fields = text::fields(&line.text);
        const DIRECTIVES: [&[u8]; 3] = [b"include", b"include_dir", b"include_if_exists"];
        self.text.major >= 16
            && fields.len() == 2
            && DIRECTIVES.contains(&fields[0].first.as_slice())
    }
}

/// A line with other fields. The comment stays in its column if there is room.
pub(crate) fn with_comment_of(
    old: &[u8],
    columns: &Columns,
    fields: &[(usize, Vec<u8>)],
) -> Vec<u8> {
    let mut new = columns.write(fields);
    let end = text::fields(old).last().map_or(0, |field| field.span.end);
    if let Some(comment) = memchr::memchr(b'#', &old[end..]) {
        let at = end + comment;
        columns.pad(&mut new, layout::width(&old[..at]));
        new.extend(&old[at..]);
    }
    new
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
