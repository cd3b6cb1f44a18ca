//! Reading a configuration with all the files that it includes.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::document::text::Document;
use crate::include::configuration::{Configuration, Problem, ProblemKind, Row, SourceFile};
use crate::loader::{FileSystem, LoadError, Loader, MAX_TEXT};
use crate::location;
use crate::syntax::assignment::{NEWEST, Statement};
use crate::syntax::name::Directive;

/// How deep files may include each other: the server's `CONF_FILE_MAX_DEPTH`.
const MAX_DEPTH: u32 = 10;

/// How many files and directories are read for one configuration, the same one included again
/// counting again, and likewise the bytes of [`MAX_TEXT`].
///
/// DIFFERENCE: the server knows no such limits, and two files that include each other ten times
/// keep it busy for ever.
const MAX_FILES: usize = 10_000;

/// Reads a configuration as a server does at its start: a file, everything that it includes where
/// it is included, and `postgresql.auto.conf` last.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::path::{Path, PathBuf};
/// use pgconf_parse::Resolver;
///
/// let files = BTreeMap::from([
///     (PathBuf::from("/data/postgresql.conf"), b"port = 1\ninclude 'b.conf'\n".to_vec()),
///     (PathBuf::from("/data/b.conf"), b"port = 2\n".to_vec()),
/// ]);
/// let read = Resolver::new().load(&files, Path::new("/data/postgresql.conf"))?;
/// let port = read.get("port").unwrap();
/// assert_eq!(port.value_lossy(), "2");
/// assert_eq!((port.file(), port.line()), (Path::new("/data/b.conf"), 1));
/// # Ok::<(), pgconf_parse::ResolveError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resolver {
    major: u16,
    auto_conf: AutoConf,
}

/// Where the file of `ALTER SYSTEM` is, which is read last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AutoConf {
    /// Beside the first file, where it is if that is the one in the data directory.
    Beside,
    /// In this data directory; for configuration files kept elsewhere, as Debian does.
    In(PathBuf),
    /// It is not to be read.
    Ignored,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver {
    /// As PostgreSQL 18 does, with `postgresql.auto.conf` beside the first file.
    #[must_use]
    pub fn new() -> Self {
        Self {
            major: NEWEST,
            auto_conf: AutoConf::Beside,
        }
    }

    /// As the server of that major version does, 10 or later.
    ///
    /// Two things differ: typed readings, see
    /// [`Assignment::for_major`](crate::Assignment::for_major), and how a path with `..` in its
    /// middle is written down, and therefore whether such a file is recognized as including itself:
    /// since 15 `sub/../x.conf` is `x.conf`.
    #[must_use]
    pub fn major(self, major: u16) -> Self {
        Self { major, ..self }
    }

    /// Where `postgresql.auto.conf` is looked for.
    #[must_use]
    pub fn auto_conf(self, auto_conf: AutoConf) -> Self {
        Self { auto_conf, ..self }
    }

    /// Reads the configuration from files of this machine.
    ///
    /// # Errors
    ///
    /// Fails with [`ResolveError`] if `file` cannot be read. Whatever else the server would report
    /// is in [`Configuration::problems`].
    pub fn read(&self, file: impl AsRef<Path>) -> Result<Configuration, ResolveError> {
        self.load(&FileSystem, file.as_ref())
    }

    /// Reads the configuration from wherever the loader gets it. Paths that it is asked for are
    /// made from that of `file`, so they are relative if that is.
    ///
    /// # Errors
    ///
    /// Fails with [`ResolveError`] if `file` cannot be loaded.
    pub fn load(&self, loader: &dyn Loader, file: &Path) -> Result<Configuration, ResolveError> {
        let mut reading = Reading {
            loader,
            major: self.major,
            known: HashMap::new(),
            read: 0,
            text: 0,
            missing: HashSet::new(),
            found: Configuration {
                major: self.major,
                ..Configuration::default()
            },
        };
        let path = file.as_os_str().as_bytes();
        let accepted = match reading.open(path) {
            Ok(file) => reading.parse_config_fp(file, 0),
            Err(error) => {
                return Err(ResolveError {
                    file: file.into(),
                    reason: error,
                });
            }
        };
        // A server that finds an error stops before this file.
        if accepted {
            let auto_conf = match &self.auto_conf {
                AutoConf::Ignored => return Ok(reading.found),
                AutoConf::Beside => location::included(b"postgresql.auto.conf", path, self.major),
                AutoConf::In(directory) => location::joined(
                    directory.as_os_str().as_bytes(),
                    b"postgresql.auto.conf",
                    self.major,
                ),
            };
            match reading.open(&auto_conf) {
                Ok(file) => {
                    reading.parse_config_fp(file, 0);
                }
                Err(LoadError::Open(_)) => {}
                Err(LoadError::Read(error)) => reading.unreadable(&auto_conf, error),
            }
        }
        Ok(reading.found)
    }
}

/// The state of one reading. The methods are named after the server's functions.
struct Reading<'l> {
    loader: &'l dyn Loader,
    major: u16,
    /// Files that were loaded before, so that each is read once and always the same.
    known: HashMap<Vec<u8>, usize>,
    /// Files of `include_if_exists` that were not there.
    missing: HashSet<Vec<u8>>,
    read: usize,
    text: usize,
    found: Configuration,
}

/// The directive that a file is read for.
#[derive(Clone, Copy)]
struct Caller {
    file: usize,
    line: usize,
}

impl Reading<'_> {
    /// Source: `ParseConfigFile` in guc-file.l.
    fn parse_config_file(
        &mut self,
        location: &[u8],
        directive: Directive,
        caller: Caller,
        depth: u32,
    ) -> bool {
        if is_blank(location) {
            return self.problem(caller, ProblemKind::EmptyFileName);
        }
        let path = location::included(location, self.path_of(caller.file), self.major);
        self.parse_located_file(&path, directive, caller, depth)
    }

    /// The rest of `ParseConfigFile`, for a path that need not be looked for any more.
    fn parse_located_file(
        &mut self,
        path: &[u8],
        directive: Directive,
        caller: Caller,
        depth: u32,
    ) -> bool {
        if depth > MAX_DEPTH {
            return self.problem(caller, ProblemKind::TooDeep);
        }
        if path == self.path_of(caller.file) {
            return self.problem(caller, ProblemKind::Recursion);
        }
        if self.is_enough() {
            return self.problem(caller, ProblemKind::TooManyFiles);
        }
        let may_be_missing = directive == Directive::IncludeIfExists;
        if may_be_missing && self.missing.contains(path) {
            self.read += 1;
            return true;
        }
        match self.open(path) {
            Ok(file) => self.parse_config_fp(file, depth),
            Err(LoadError::Open(_)) if may_be_missing => {
                self.missing.insert(path.to_vec());
                self.found.skipped.push(path_buf(path));
                true
            }
            Err(LoadError::Open(error)) => self.problem(
                caller,
                ProblemKind::OpenFile {
                    path: path_buf(path),
                    error: error.kind(),
                },
            ),
            Err(LoadError::Read(error)) => {
                self.unreadable(path, error);
                false
            }
        }
    }

    /// Source: `ParseConfigFp` in guc-file.l.
    fn parse_config_fp(&mut self, file: usize, depth: u32) -> bool {
        let mut accepted = true;
        let document = self.found.files[file].document.clone();
        for (index, statement) in document.numbered_statements() {
            let assignment = match statement {
                Statement::Assignment(assignment) => assignment,
                Statement::Error(error) => {
                    let caller = Caller {
                        file,
                        line: error.line(),
                    };
                    accepted = self.problem(caller, ProblemKind::Syntax(error));
                    continue;
                }
            };
            let caller = Caller {
                file,
                line: assignment.line(),
            };
            let value = assignment.value();
            accepted &= match assignment.directive() {
                None => {
                    self.found.push(file, index);
                    true
                }
                Some(Directive::IncludeDir) => {
                    self.parse_config_directory(&value, caller, depth + 1)
                }
                Some(directive) => self.parse_config_file(&value, directive, caller, depth + 1),
            };
        }
        accepted
    }

    /// Source: `ParseConfigDirectory` in guc-file.l. The files after one with an error are not
    /// read.
    fn parse_config_directory(&mut self, location: &[u8], caller: Caller, depth: u32) -> bool {
        match self.conf_files_in_dir(location, caller) {
            Ok(files) => files
                .iter()
                .all(|file| self.parse_located_file(file, Directive::Include, caller, depth)),
            Err(kind) => self.problem(caller, kind),
        }
    }

    /// Source: `GetConfFilesInDir` in conffiles.c.
    fn conf_files_in_dir(
        &mut self,
        location: &[u8],
        caller: Caller,
    ) -> Result<Vec<Vec<u8>>, ProblemKind> {
        if is_blank(location) {
            return Err(ProblemKind::EmptyDirectoryName);
        }
        if self.is_enough() {
            return Err(ProblemKind::TooManyFiles);
        }
        let directory = location::included(location, self.path_of(caller.file), self.major);
        self.read += 1;
        let names = self
            .loader
            .list(Path::new(OsStr::from_bytes(&directory)))
            .map_err(|error| ProblemKind::OpenDirectory {
                path: path_buf(&directory),
                error: error.kind(),
            })?;
        self.text += names.iter().map(|name| name.len()).sum::<usize>();
        let mut files: Vec<Vec<u8>> = names
            .iter()
            .map(|name| name.as_bytes())
            .filter(|name| name.len() >= 6 && name[0] != b'.' && name.ends_with(b".conf"))
            .map(|name| location::joined(&directory, name, self.major))
            .collect();
        // The server sorts after looking at each, so it complains about the first in the order of
        // the directory; sorting before makes the same of every file system.
        files.sort();
        let mut kept = Vec::with_capacity(files.len());
        for file in files {
            match self
                .loader
                .is_directory(Path::new(OsStr::from_bytes(&file)))
            {
                Ok(true) => {}
                Ok(false) => kept.push(file),
                Err(error) => {
                    return Err(ProblemKind::Stat {
                        path: path_buf(&file),
                        error: error.kind(),
                    });
                }
            }
        }
        Ok(kept)
    }

    fn open(&mut self, path: &[u8]) -> Result<usize, LoadError> {
        self.read += 1;
        let file = match self.known.get(path) {
            Some(&file) => file,
            None => {
                let content = self.loader.load(Path::new(OsStr::from_bytes(path)))?;
                let file = self.add(path, Document::parse(content));
                self.known.insert(path.to_vec(), file);
                file
            }
        };
        self.text += self.found.files[file].document.as_bytes().len();
        Ok(file)
    }

    fn add(&mut self, path: &[u8], document: Document) -> usize {
        let path = Path::new(OsStr::from_bytes(path));
        self.found.files.push(SourceFile::new(path, document));
        self.found.files.len() - 1
    }

    /// Small files can have any amount read, by including each other or a directory.
    fn is_enough(&self) -> bool {
        self.read >= MAX_FILES || self.text >= MAX_TEXT
    }

    /// What the server says when its scanner cannot read a file that it has opened.
    fn unreadable(&mut self, path: &[u8], error: io::Error) {
        let file = self.add(path, Document::default());
        self.problem(
            Caller { file, line: 1 },
            ProblemKind::Read {
                error: error.kind(),
            },
        );
    }

    fn problem(&mut self, at: Caller, kind: ProblemKind) -> bool {
        let problem = Problem {
            file: self.found.files[at.file].shared_path(),
            line: at.line,
            kind,
        };
        self.found.rows.push(Row::Problem(Box::new(problem)));
        false
    }

    fn path_of(&self, file: usize) -> &[u8] {
        self.found.files[file].path().as_os_str().as_bytes()
    }
}

/// Source: the `strspn` in `ParseConfigFile`.
fn is_blank(name: &[u8]) -> bool {
    name.iter().all(|byte| b" \t\r\n".contains(byte))
}

fn path_buf(path: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()))
}

/// A configuration whose first file could not be read.
#[derive(Debug)]
pub struct ResolveError {
    file: PathBuf,
    reason: LoadError,
}

impl ResolveError {
    /// The file that could not be read.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Why it could not be read.
    #[must_use]
    pub fn kind(&self) -> &LoadError {
        &self.reason
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        write!(f, "failed to read configuration file \"{file}\"")
    }
}

impl std::error::Error for ResolveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}
