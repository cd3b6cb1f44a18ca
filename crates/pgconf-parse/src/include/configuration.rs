//! The settings and problems that were read from a configuration and all its files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bytes::Bytes;
use crate::document::text::Document;
use crate::syntax::assignment::Assignment;
use crate::syntax::error::SyntaxError;

/// The settings of a configuration with the place that each comes from, and what the server
/// would complain about. Made by a [`Resolver`](crate::Resolver).
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) rows: Vec<Row>,
    pub(crate) skipped: Vec<PathBuf>,
    /// The rows of each setting, by its name in lower case.
    pub(crate) settings: HashMap<Box<[u8]>, Vec<usize>>,
    pub(crate) major: u16,
}

/// One of the files that a configuration was read from.
#[derive(Clone, Debug)]
pub struct SourceFile {
    path: Arc<Path>,
    pub(crate) document: Arc<Document>,
}

/// What was read, in the order of reading.
#[derive(Clone, Debug)]
pub(crate) enum Row {
    Assignment { file: usize, index: usize },
    Problem(Box<Problem>),
}

impl SourceFile {
    pub(crate) fn new(path: &Path, document: Document) -> Self {
        Self {
            path: path.into(),
            document: document.into(),
        }
    }

    /// Its path, as the server would report it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shared_path(&self) -> Arc<Path> {
        Arc::clone(&self.path)
    }

    /// What is in it.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }
}

impl Configuration {
    /// The assignment of that name that wins over the others: the last that was read.
    ///
    /// It counts only if [`is_accepted`](Self::is_accepted); from a configuration with an error
    /// the server takes nothing.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<LocatedAssignment<'_>> {
        let row = *self.rows_of(name.as_ref()).last()?;
        self.located(&self.rows[row])
    }

    fn rows_of(&self, name: &[u8]) -> &[usize] {
        let rows = self.settings.get(name.to_ascii_lowercase().as_slice());
        rows.map_or(&[], Vec::as_slice)
    }

    pub(crate) fn push(&mut self, file: usize, index: usize) {
        let name = self.files[file].document.assignment(index).name();
        let rows = self.settings.entry(name.to_ascii_lowercase().into());
        rows.or_default().push(self.rows.len());
        self.rows.push(Row::Assignment { file, index });
    }

    /// The settings in effect, each once, in the order of their assignments.
    pub fn settings(&self) -> impl Iterator<Item = LocatedAssignment<'_>> {
        let mut last: Vec<usize> = self
            .settings
            .values()
            .filter_map(|rows| rows.last().copied())
            .collect();
        last.sort_unstable();
        last.into_iter()
            .filter_map(|row| self.located(&self.rows[row]))
    }

    /// Every assignment in the order of reading, also those that a later one overrides.
    pub fn assignments(&self) -> impl Iterator<Item = LocatedAssignment<'_>> {
        self.rows.iter().filter_map(|row| self.located(row))
    }

    /// Assignments and problems in the order of reading.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        self.rows.iter().map(|row| match row {
            Row::Problem(problem) => Event::Problem(problem),
            Row::Assignment { file, index } => Event::Assignment(self.at(*file, *index)),
        })
    }

    /// What the server would complain about. One problem is enough for it not to start, or to
    /// leave its settings as they are when it is to reload.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.rows.iter().filter_map(|row| match row {
            Row::Problem(problem) => Some(&**problem),
            Row::Assignment { .. } => None,
        })
    }

    /// Whether the server would find nothing to complain about in the text of the files. It may
    /// still reject names and values.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.problems().next().is_none()
    }

    /// Why the setting has the value that it has: all its assignments.
    #[must_use]
    pub fn explain(&self, name: impl AsRef<[u8]>) -> SettingExplanation<'_> {
        let name = name.as_ref();
        SettingExplanation {
            name: name.into(),
            assignments: self
                .rows_of(name)
                .iter()
                .filter_map(|&row| self.located(&self.rows[row]))
                .collect(),
            problem: self.problems().next(),
        }
    }

    /// The files that were read, in the order in which each was first read.
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The files of `include_if_exists` that were not there, each once.
    #[must_use]
    pub fn skipped(&self) -> &[PathBuf] {
        &self.skipped
    }

    fn located(&self, row: &Row) -> Option<LocatedAssignment<'_>> {
        match row {
            Row::Assignment { file, index } => Some(self.at(*file, *index)),
            Row::Problem(_) => None,
        }
    }

    fn at(&self, file: usize, index: usize) -> LocatedAssignment<'_> {
        let file = &self.files[file];
        LocatedAssignment {
            file: &file.path,
            assignment: file.document.assignment(index).for_major(self.major),
        }
    }
}

/// An assignment and the file that it stands in.
#[derive(Clone, Copy, Debug)]
pub struct LocatedAssignment<'a> {
    file: &'a Path,
    assignment: Assignment<'a>,
}

impl<'a> LocatedAssignment<'a> {
    /// The file, as the server would report it.
    #[must_use]
    pub fn file(&self) -> &'a Path {
        self.file
    }

    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.assignment.line()
    }

    /// The name as spelled in the file.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.assignment.name()
    }

    /// The value as the server reads it.
    #[must_use]
    pub fn value(&self) -> Cow<'a, [u8]> {
        self.assignment.value()
    }

    /// The value as text, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn value_lossy(&self) -> Cow<'a, str> {
        self.assignment.value_lossy()
    }

    /// The assignment in its file, with typed readings by the rules of the
    /// [resolver](crate::Resolver::major)'s major version.
    #[must_use]
    pub fn assignment(&self) -> Assignment<'a> {
        self.assignment
    }
}

/// Something met in reading a configuration.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A setting is assigned to.
    Assignment(LocatedAssignment<'a>),
    /// The server complains.
    Problem(&'a Problem),
}

/// All assignments to one setting; see [`Configuration::explain`].
#[derive(Clone, Debug)]
pub struct SettingExplanation<'a> {
    name: Bytes,
    assignments: Vec<LocatedAssignment<'a>>,
    problem: Option<&'a Problem>,
}

impl<'a> SettingExplanation<'a> {
    /// The assignment in effect, unless there is a [`problem`](Self::problem).
    #[must_use]
    pub fn winner(&self) -> Option<LocatedAssignment<'a>> {
        self.assignments.last().copied()
    }

    /// The assignments that have no effect, because the winner comes after them.
    #[must_use]
    pub fn shadowed(&self) -> &[LocatedAssignment<'a>] {
        self.assignments
            .split_last()
            .map_or(&[], |(_, shadowed)| shadowed)
    }

    /// All assignments in the order of reading, the winner last.
    #[must_use]
    pub fn assignments(&self) -> &[LocatedAssignment<'a>] {
        &self.assignments
    }

    /// Why no assignment counts at all: the first thing in the files that the server complains
    /// about. None if it takes the configuration.
    #[must_use]
    pub fn problem(&self) -> Option<&'a Problem> {
        self.problem
    }
}

impl fmt::Display for SettingExplanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.name);
        if self.assignments.is_empty() {
            write!(f, "{name} is not set: the server's default is in effect")?;
        }
        let mut left = self.assignments.len();
        for found in &self.assignments {
            left -= 1;
            let verdict = if left > 0 { "overridden" } else { "in effect" };
            let (file, line) = (found.file.display(), found.line());
            write!(
                f,
                "{file}:{line}: {name} = {} ({verdict})",
                String::from_utf8_lossy(found.assignment.raw_value())
            )?;
            if left > 0 {
                f.write_str("\n")?;
            }
        }
        match self.problem {
            Some(problem) => write!(
                f,
                "\nbut the server takes nothing from this configuration: {problem}"
            ),
            None => Ok(()),
        }
    }
}

/// Something that the server complains about in reading a configuration.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(crate) file: Arc<Path>,
    pub(crate) line: usize,
    pub(crate) kind: ProblemKind,
}

/// What the server complains about. Printed in the words of its view `pg_file_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A line does not follow the grammar.
    Syntax(SyntaxError),
    /// `include ''`, or nothing but blanks.
    EmptyFileName,
    /// `include_dir ''`, or nothing but blanks.
    EmptyDirectoryName,
    /// Files are included more than 10 deep.
    TooDeep,
    /// A file includes itself. Longer cycles are reported as `TooDeep`.
    Recursion,
    /// An included file cannot be opened.
    OpenFile {
        /// Its path.
        path: PathBuf,
        /// The reason.
        error: io::ErrorKind,
    },
    /// A directory cannot be opened.
    OpenDirectory {
        /// Its path.
        path: PathBuf,
        /// The reason.
        error: io::ErrorKind,
    },
    /// An entry of a directory cannot be examined, as a dangling symbolic link.
    Stat {
        /// Its path.
        path: PathBuf,
        /// The reason.
        error: io::ErrorKind,
    },
    /// A file was opened, but cannot be read: most often it is a directory.
    Read {
        /// The reason.
        error: io::ErrorKind,
    },
    /// More than 10,000 files and directories, or 16 MiB of text, were read. A file that is
    /// included again counts again, and so does a list of the names in a directory.
    ///
    /// DIFFERENCE: the server would go on.
    TooManyFiles,
}

impl Problem {
    /// The file in which the server sees the problem: that of the directive, if it is about an
    /// included file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &ProblemKind {
        &self.kind
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ProblemKind::Syntax(error) => write!(f, "{}: {error}", self.file.display()),
            kind => write!(f, "{}: line {}: {kind}", self.file.display(), self.line),
        }
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(_) => f.write_str("syntax error"),
            Self::EmptyFileName => f.write_str("empty configuration file name"),
            Self::EmptyDirectoryName => f.write_str("empty configuration directory name"),
            Self::TooDeep => f.write_str("nesting depth exceeded"),
            Self::Recursion => f.write_str("configuration file recursion"),
            Self::OpenFile { path, .. } => write!(f, "could not open file \"{}\"", path.display()),
            Self::OpenDirectory { path, .. } => {
                write!(f, "could not open directory \"{}\"", path.display())
            }
            Self::Stat { path, .. } => write!(f, "could not stat file \"{}\"", path.display()),
            Self::Read { .. } => f.write_str("input in flex scanner failed"),
            Self::TooManyFiles => f.write_str("too many files included"),
        }
    }
}
