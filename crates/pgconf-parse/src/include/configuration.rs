//! The settings and problems found in a configuration of several files.

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

/// The settings of a configuration with the file and line of each, and the problems that the server
/// would report. Created by a [`Resolver`](crate::Resolver).
///
/// ```
/// use std::collections::BTreeMap;
/// use std::path::{Path, PathBuf};
/// use pgconf_parse::Resolver;
///
/// let files = BTreeMap::from([
///     ("/data/postgresql.conf", "port = 1\ninclude 'b.conf'\nfsync on\n"),
///     ("/data/b.conf", "port = 2\n"),
///     ("/data/postgresql.auto.conf", "work_mem = '64MB'\n"),
/// ]);
/// let files: BTreeMap<PathBuf, Vec<u8>> =
///     files.into_iter().map(|(path, text)| (path.into(), text.into())).collect();
/// let read = Resolver::new().load(&files, Path::new("/data/postgresql.conf"))?;
/// assert!(read.is_accepted());
/// assert_eq!(read.files().len(), 3);
/// let settings: Vec<String> = read
///     .settings()
///     .map(|found| format!("{}:{}", found.file().display(), found.line()))
///     .collect();
/// assert_eq!(
///     settings,
///     ["/data/b.conf:1", "/data/postgresql.conf:3", "/data/postgresql.auto.conf:1"],
/// );
/// assert_eq!(read.assignments().count(), 4);
/// # Ok::<(), pgconf_parse::ResolveError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) rows: Vec<Row>,
    pub(crate) skipped: Vec<PathBuf>,
    /// The rows of each setting, by its name in lower case.
    pub(crate) settings: HashMap<Box<[u8]>, Vec<usize>>,
    pub(crate) major: u16,
}

/// One of the files of a configuration.
#[derive(Clone, Debug)]
pub struct SourceFile {
    path: Arc<Path>,
    pub(crate) document: Arc<Document>,
}

/// One statement, in the order of reading.
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

    /// The path of the file, as the server would report it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shared_path(&self) -> Arc<Path> {
        Arc::clone(&self.path)
    }

    /// The content of the file.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }
}

impl Configuration {
    /// Returns the assignment of that name that overrides the others, which is the last one read.
    ///
    /// It takes effect only if the configuration [`is_accepted`](Self::is_accepted). The server
    /// applies nothing from a configuration with an error.
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

    /// Iterates over the settings in effect, each once, in the order of their assignments.
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

    /// Iterates over all assignments in the order of reading, including overridden ones.
    pub fn assignments(&self) -> impl Iterator<Item = LocatedAssignment<'_>> {
        self.rows.iter().filter_map(|row| self.located(row))
    }

    /// Iterates over assignments and problems in the order of reading.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::path::{Path, PathBuf};
    /// use pgconf_parse::{Event, Resolver};
    ///
    /// let text = b"port = 1\nport 1 2\n".to_vec();
    /// let files = BTreeMap::from([(PathBuf::from("/d/a.conf"), text)]);
    /// let read = Resolver::new().load(&files, Path::new("/d/a.conf"))?;
    /// let mut events = read.events();
    /// assert!(matches!(events.next(), Some(Event::Assignment(found)) if found.name() == b"port"));
    /// assert!(matches!(events.next(), Some(Event::Problem(problem)) if problem.line() == 2));
    /// # Ok::<(), pgconf_parse::ResolveError>(())
    /// ```
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        self.rows.iter().map(|row| match row {
            Row::Problem(problem) => Event::Problem(problem),
            Row::Assignment { file, index } => Event::Assignment(self.at(*file, *index)),
        })
    }

    /// Iterates over the problems that the server would report. If there is one, the server does
    /// not start, and a reload changes no setting.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::path::{Path, PathBuf};
    /// use pgconf_parse::Resolver;
    ///
    /// let text = b"port = 1\ninclude 'missing.conf'\n".to_vec();
    /// let files = BTreeMap::from([(PathBuf::from("/data/postgresql.conf"), text)]);
    /// let read = Resolver::new().load(&files, Path::new("/data/postgresql.conf"))?;
    /// assert!(!read.is_accepted());
    /// assert_eq!(
    ///     read.problems().next().unwrap().to_string(),
    ///     "/data/postgresql.conf: line 2: could not open file \"/data/missing.conf\"",
    /// );
    /// # Ok::<(), pgconf_parse::ResolveError>(())
    /// ```
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.rows.iter().filter_map(|row| match row {
            Row::Problem(problem) => Some(&**problem),
            Row::Assignment { .. } => None,
        })
    }

    /// Returns whether the server would accept the text of the files. It may still reject names and
    /// values.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.problems().next().is_none()
    }

    /// Explains the value of a setting by all its assignments.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::path::{Path, PathBuf};
    /// use pgconf_parse::Resolver;
    ///
    /// let files = BTreeMap::from([
    ///     (PathBuf::from("/data/postgresql.conf"), b"work_mem = 4MB\n".to_vec()),
    ///     (PathBuf::from("/data/postgresql.auto.conf"), b"work_mem = '64 MB'\n".to_vec()),
    /// ]);
    /// let read = Resolver::new().load(&files, Path::new("/data/postgresql.conf"))?;
    /// let explained = read.explain("work_mem");
    /// assert_eq!(explained.winner().unwrap().value_lossy(), "64 MB");
    /// assert_eq!(explained.shadowed().len(), 1);
    /// assert_eq!(
    ///     explained.to_string(),
    ///     "/data/postgresql.conf:1: work_mem = 4MB (overridden)\n\
    ///      /data/postgresql.auto.conf:1: work_mem = '64 MB' (in effect)",
    /// );
    /// # Ok::<(), pgconf_parse::ResolveError>(())
    /// ```
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

    /// The files of the configuration, in the order in which each was first read.
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The missing files of `include_if_exists`, each once.
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

/// An assignment and its file.
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

    /// The line number, counted from 1.
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

    /// The assignment in its file. Typed readings follow the major version of the
    /// [resolver](crate::Resolver::major).
    #[must_use]
    pub fn assignment(&self) -> Assignment<'a> {
        self.assignment
    }
}

/// An assignment or a problem; see [`Configuration::events`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An assignment to a setting.
    Assignment(LocatedAssignment<'a>),
    /// A problem that the server would report.
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

    /// The assignments that are overridden by the winner.
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

    /// The first problem that the server would report, because of which no assignment takes effect.
    /// `None` if the server accepts the configuration.
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
            Some(problem) => write!(f, "\nbut the server rejects this configuration: {problem}"),
            None => Ok(()),
        }
    }
}

/// A problem that the server reports while it reads a configuration.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(crate) file: Arc<Path>,
    pub(crate) line: usize,
    pub(crate) kind: ProblemKind,
}

/// The kind of a [`Problem`]. `Display` prints the text of the server's view `pg_file_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A line does not follow the grammar.
    Syntax(SyntaxError),
    /// The value of `include` or `include_if_exists` is empty or blank.
    EmptyFileName,
    /// The value of `include_dir` is empty or blank.
    EmptyDirectoryName,
    /// Includes are nested more than 10 levels deep.
    TooDeep,
    /// A file includes itself. Longer cycles are reported as `TooDeep`.
    Recursion,
    /// An included file cannot be opened.
    OpenFile {
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        error: io::ErrorKind,
    },
    /// A directory cannot be opened.
    OpenDirectory {
        /// The path of the directory.
        path: PathBuf,
        /// The reason.
        error: io::ErrorKind,
    },
    /// An entry of a directory cannot be examined, for example a dangling symbolic link.
    Stat {
        /// The path of the entry.
        path: PathBuf,
        /// The reason.
        error: io::ErrorKind,
    },
    /// A file was opened but cannot be read. Usually it is a directory.
    Read {
        /// The reason.
        error: io::ErrorKind,
    },
    /// More than 10,000 files and directories, or more than 16 MiB of text, were read. A file that
    /// is included twice counts twice. The names in a directory count as text.
    ///
    /// DIFFERENCE: the server has no such limit.
    TooManyFiles,
}

impl Problem {
    /// The file in which the server reports the problem. If an included file is missing, this is
    /// the file with the directive.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line number, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The kind of problem.
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
