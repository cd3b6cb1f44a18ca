//! Reading a configuration with all included files.

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

/// The maximum nesting depth of includes: the server's `CONF_FILE_MAX_DEPTH`.
const MAX_DEPTH: u32 = 10;

/// The maximum number of files and directories that are read for one configuration. A file that is
/// included twice counts twice, here and for [`MAX_TEXT`].
///
/// DIFFERENCE: the server has no such limits. Two files that include each other ten times keep it
/// busy forever.
const MAX_FILES: usize = 10_000;

/// Reads a configuration as a server does when it starts: a file, its includes in place, and
/// `postgresql.auto.conf` last.
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

/// The place of `postgresql.auto.conf`, the file that `ALTER SYSTEM` writes. It is read last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AutoConf {
    /// In the directory of the first file. Correct if the first file is in the data directory.
    Beside,
    /// In this data directory. For configuration files outside the data directory, as on Debian.
    In(PathBuf),
    /// The file is not read.
    Ignored,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver {
    /// Creates a resolver that reads as PostgreSQL 18 does, with `postgresql.auto.conf` in the
    /// directory of the first file.
    #[must_use]
    pub fn new() -> Self {
        Self {
            major: NEWEST,
            auto_conf: AutoConf::Beside,
        }
    }

    /// Reads as the server of that major version does, 10 or later.
    ///
    /// The versions differ in typed readings (see
    /// [`Assignment::for_major`](crate::Assignment::for_major)) and in paths with `..` in the
    /// middle. Since 15 `sub/../x.conf` is `x.conf`, so a file included by that path is recognized
    /// as including itself.
    #[must_use]
    pub fn major(self, major: u16) -> Self {
        Self { major, ..self }
    }

    /// Sets the place of `postgresql.auto.conf`.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::path::{Path, PathBuf};
    /// use pgconf_parse::{AutoConf, Resolver};
    ///
    /// let conf = PathBuf::from("/etc/postgresql/17/main/postgresql.conf");
    /// let data = PathBuf::from("/var/lib/postgresql/17/main");
    /// let files = BTreeMap::from([
    ///     (conf.clone(), b"port = 5432\n".to_vec()),
    ///     (data.join("postgresql.auto.conf"), b"port = '5433'\n".to_vec()),
    /// ]);
    /// let resolver = Resolver::new().major(17).auto_conf(AutoConf::In(data));
    /// let read = resolver.load(&files, &conf)?;
    /// assert_eq!(read.get("port").unwrap().value_lossy(), "5433");
    /// # Ok::<(), pgconf_parse::ResolveError>(())
    /// ```
    #[must_use]
    pub fn auto_conf(self, auto_conf: AutoConf) -> Self {
        Self { auto_conf, ..self }
    }

    /// Reads a configuration from the files of this machine.
    ///
    /// # Errors
    ///
    /// Fails with [`ResolveError`] if `file` cannot be read. All other problems are reported by
    /// [`Configuration::problems`].
    ///
    /// ```
    /// use std::error::Error as _;
    /// use pgconf_parse::Resolver;
    ///
    /// let error = Resolver::new().read("/missing/postgresql.conf").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "failed to read configuration file \"/missing/postgresql.conf\"",
    /// );
    /// assert_eq!(error.source().unwrap().to_string(), "the file cannot be opened");
    /// ```
    pub fn read(&self, file: impl AsRef<Path>) -> Result<Configuration, ResolveError> {
        self.load(&FileSystem, file.as_ref())
    }

    /// Reads a configuration from the files that the loader provides. If `file` is a relative path,
    /// the paths of included files are relative too.
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
        // After an error the server does not read this file.
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

/// The state while a configuration is read. The methods are named after the server's functions.
struct Reading<'l> {
    loader: &'l dyn Loader,
    major: u16,
    /// The loaded files. Each file is loaded once, so that its content is always the same.
    known: HashMap<Vec<u8>, usize>,
    /// The missing files of `include_if_exists`.
    missing: HashSet<Vec<u8>>,
    read: usize,
    text: usize,
    found: Configuration,
}

/// The file and the line of the directive that includes a file.
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

    /// The rest of `ParseConfigFile`, after the path was built.
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
        // The server examines the entries before it sorts them, so it reports the first bad one in
        // the order of the directory. Sorting first gives the same result on every file system.
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

    /// Returns whether a limit was reached. Small files that include each other, or a directory,
    /// can otherwise require any amount of reading.
    fn is_enough(&self) -> bool {
        self.read >= MAX_FILES || self.text >= MAX_TEXT
    }

    /// Records the problem that the server reports if its scanner cannot read an opened file.
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

/// The error of [`Resolver::read`] and [`Resolver::load`]: the first file could not be read.
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

    /// The reason why the file could not be read.
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
