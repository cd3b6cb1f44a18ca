//! Setup steps: what they run, and the key that stands for them.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::ConnectionInfo;
use pg_proc::Command;

use crate::builder::TempClusterBuilder;
use crate::error::{TempErrorKind, at};
use crate::template::Setup;

/// The dependencies of a setup step: if they change, the step is run again.
///
/// A text, such as a version number, or files with their content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupKey(Parts);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parts {
    Text(String),
    Files(Vec<Utf8PathBuf>),
}

/// The files of a step together are no longer, in bytes: their content is a part of the key.
const LONGEST: u64 = 32 << 20;

impl SetupKey {
    /// The names and the content of these files, and of all files below these directories. They are
    /// read at each start, so the key is never stale. Relative paths begin in the current
    /// directory.
    ///
    /// Names count from the given path on: the same files in another checkout are the same key.
    /// Together the files may have 32 MiB.
    pub fn files<P: Into<Utf8PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self(Parts::Files(paths.into_iter().map(Into::into).collect()))
    }

    /// What stands for the key in a template's key, which is compared as a whole. Content stands
    /// there itself, not a hash of it: two different keys are never taken for the same, whoever
    /// chose the content.
    pub(crate) fn read(&self) -> Result<String, TempErrorKind> {
        match &self.0 {
            Parts::Text(text) => Ok(text.clone()),
            Parts::Files(paths) => read_files(paths),
        }
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        match &self.0 {
            Parts::Text(text) => text.clone(),
            Parts::Files(paths) => {
                let paths: Vec<&str> = paths.iter().map(|path| path.as_str()).collect();
                paths.join(", ")
            }
        }
    }
}

impl From<&str> for SetupKey {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for SetupKey {
    fn from(text: String) -> Self {
        Self(Parts::Text(text))
    }
}

impl TempClusterBuilder {
    /// As [`setup`](Self::setup), with the names and the content of files as the key, such as those
    /// of a directory of migrations: see [`SetupKey::files`].
    ///
    /// ```no_run
    /// use pg_fixture::TempCluster;
    ///
    /// const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    ///
    /// let server = TempCluster::builder()
    ///     .setup_from([MIGRATIONS], |info| {
    ///         let mut client = postgres::Client::connect(&info.uri(), postgres::NoTls)?;
    ///         let first = std::fs::read_to_string(format!("{MIGRATIONS}/1.sql"))?;
    ///         client.batch_execute(&first)?;
    ///         Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    ///     })
    ///     .start()?;
    /// # Ok::<(), pg_fixture::TempError>(())
    /// ```
    pub fn setup_from<P: Into<Utf8PathBuf>, E: Into<Box<dyn Error + Send + Sync>>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
        step: impl Fn(&ConnectionInfo) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.setups.push(Setup {
            key: SetupKey::files(paths),
            run: Arc::new(move |info| step(info).map_err(Into::into)),
        });
        self
    }

    /// As [`setup`](Self::setup), with a program as the step, such as a migration tool.
    ///
    /// Of `command` the program, the arguments, the working directory and the changes of the
    /// environment are used. A program without a `/` in its name is searched for in `PATH`. The
    /// program is run as the calling user, with `DATABASE_URL` and libpq's variables (`PGHOST` and
    /// so on) set, without other variables that begin with `PG`, and with empty standard input. It
    /// is killed, with all that it has started, when it takes longer than `limit`. If it fails, the
    /// error has what it wrote to standard error.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// use pg_fixture::{SetupKey, TempCluster};
    ///
    /// let mut sqlx = Command::new("sqlx");
    /// sqlx.args(["migrate", "run"]);
    /// let server = TempCluster::builder()
    ///     .setup_command(SetupKey::files(["migrations"]), &sqlx, Duration::from_secs(60))
    ///     .start()?;
    /// # Ok::<(), pg_fixture::TempError>(())
    /// ```
    pub fn setup_command(
        mut self,
        key: impl Into<SetupKey>,
        command: &process::Command,
        limit: Duration,
    ) -> Self {
        let program = Step::of(command);
        self.setups.push(Setup {
            key: key.into(),
            run: Arc::new(move |info| program.run(info, limit)),
        });
        self
    }
}

/// A program that is a setup step.
struct Step {
    program: std::ffi::OsString,
    arguments: Vec<std::ffi::OsString>,
    environment: Vec<(std::ffi::OsString, Option<std::ffi::OsString>)>,
    directory: Option<std::path::PathBuf>,
}

impl Step {
    fn of(command: &process::Command) -> Self {
        let environment = command.get_envs();
        Self {
            program: command.get_program().to_owned(),
            arguments: command.get_args().map(ToOwned::to_owned).collect(),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
                .collect(),
            directory: command.get_current_dir().map(Path::to_owned),
        }
    }

    fn run(
        &self,
        info: &ConnectionInfo,
        limit: Duration,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let program = self.find()?;
        let here = std::env::current_dir()?;
        let directory = match &self.directory {
            Some(directory) => here.join(directory),
            None => here,
        };
        let command = Command::new(Utf8PathBuf::try_from(program)?)
            .args(&self.arguments)
            .current_dir(Utf8PathBuf::try_from(directory)?)
            .env("DATABASE_URL", info.uri())
            .envs(info.env());
        let command = self
            .environment
            .iter()
            .fold(command, |command, (name, value)| match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            });
        command.run(limit)?;
        Ok(())
    }

    /// The program's path; a relative one begins in this process's directory.
    fn find(&self) -> io::Result<std::path::PathBuf> {
        let name = Path::new(&self.program);
        if name.components().count() > 1 || name.is_absolute() {
            return std::path::absolute(name);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|directory| directory.join(name))
            .find(|candidate| candidate.is_file())
            .ok_or_else(|| {
                let problem = format!("there is no program {} in PATH", name.display());
                io::Error::new(io::ErrorKind::NotFound, problem)
            })
    }
}

fn read_files(paths: &[Utf8PathBuf]) -> Result<String, TempErrorKind> {
    let mut files = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let name = Utf8PathBuf::from(number.to_string());
        // A link that is given is followed; in a directory it is not, unless it leads to a file.
        let found = fs::metadata(path).map_err(at(path))?;
        match found.is_dir() {
            true => list(path, &name, &mut files)?,
            false => files.push((
                name.join(path.file_name().unwrap_or_default()),
                path.clone(),
            )),
        }
    }
    files.sort();
    let (mut text, mut left) = (String::new(), LONGEST);
    for (name, path) in files {
        let content = read_file(&path, left)?;
        left = left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| TempErrorKind::Option(TOO_LONG.to_owned()))?;
        let length = content.len();
        let _ = write!(text, "{name:?} {length} {}; ", content.escape_ascii());
    }
    Ok(text)
}

const TOO_LONG: &str = "the files that are the key of a setup step have more than 32 MiB";

/// Lists the files below a directory.
fn list(
    directory: &Utf8Path,
    name: &Utf8Path,
    files: &mut Vec<(Utf8PathBuf, Utf8PathBuf)>,
) -> Result<(), TempErrorKind> {
    for entry in directory.read_dir_utf8().map_err(at(directory))? {
        let entry = entry.map_err(at(directory))?;
        let (path, name) = (entry.path().to_owned(), name.join(entry.file_name()));
        match entry.file_type().map_err(at(&path))?.is_dir() {
            true => list(&path, &name, files)?,
            false => files.push((name, path)),
        }
    }
    Ok(())
}

/// Reads a file, one byte more than is allowed at most. Pipes and devices are refused: to read them
/// may take for ever.
fn read_file(path: &Utf8Path, longest: u64) -> Result<Vec<u8>, TempErrorKind> {
    let file = pg_proc::open_regular_file(path).map_err(at(path))?;
    pg_proc::read_all(&file, longest + 1).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(paths: &[&Utf8Path]) -> String {
        SetupKey::files(paths.iter().copied()).read().unwrap()
    }

    #[test]
    fn names_and_content_are_the_key() {
        let room = tempfile::tempdir().unwrap();
        let room = Utf8Path::from_path(room.path()).unwrap();
        let write = |name: &str, content: &str| {
            let path = room.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("a/1.sql", "one");
        write("a/sub/2.sql", "two");
        let first = key(&[&room.join("a")]);
        write("b/1.sql", "one");
        write("b/sub/2.sql", "two");
        assert_eq!(key(&[&room.join("b")]), first, "another checkout");
        let changes: [(&str, &str); 4] = [
            ("b/1.sql", "onE"),
            ("b/1.sql", "one "),
            ("b/3.sql", ""),
            ("b/sub/\"", "; "),
        ];
        let mut seen = vec![first];
        for (name, content) in changes {
            write(name, content);
            let changed = key(&[&room.join("b")]);
            assert!(!seen.contains(&changed), "{name} with {content:?}");
            seen.push(changed);
        }
        // What is moved from one file to the next is another key.
        write("c/x", "ab");
        write("c/y", "");
        let moved = key(&[&room.join("c")]);
        write("c/x", "a");
        write("c/y", "b");
        assert_ne!(key(&[&room.join("c")]), moved);
        assert_ne!(
            key(&[&room.join("c/x"), &room.join("c/y")]),
            key(&[&room.join("c/y"), &room.join("c/x")])
        );
    }

    #[test]
    fn files_that_cannot_be_a_key_are_named() {
        let room = tempfile::tempdir().unwrap();
        let room = Utf8Path::from_path(room.path()).unwrap();
        let missing = room.join("missing");
        match SetupKey::files([missing.clone()]).read() {
            Err(TempErrorKind::File(path, _)) => assert_eq!(path, missing),
            other => panic!("{other:?}"),
        }
        let socket = room.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        match SetupKey::files([room.to_owned()]).read() {
            Err(TempErrorKind::File(path, _)) => assert_eq!(path, socket),
            other => panic!("{other:?}"),
        }
        let large = room.join("large");
        fs::File::create(&large)
            .unwrap()
            .set_len(LONGEST + 1)
            .unwrap();
        match SetupKey::files([large]).read() {
            Err(TempErrorKind::Option(problem)) => assert_eq!(problem, TOO_LONG),
            other => panic!("{other:?}"),
        }
    }
}
