//! `postmaster.opts`: the command line of the last start.

use std::io;
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::fs::regular_file::{self, Unreadable};

/// Longest file that is read: more than any system lets a command line be.
const LIMIT: usize = 8 << 20;

/// `postmaster.opts`: the command line of the last start.
///
/// The server writes its program, then each argument between double quotes, and a newline
/// (`CreateOptsFile` in `src/backend/postmaster/postmaster.c`). Nothing is escaped, so an argument
/// that contains `" "` is read as two. Servers before 8.1 wrote single quotes; both are read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PostmasterOpts {
    /// The server's executable.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl PostmasterOpts {
    /// Name of the file within a data directory.
    pub const NAME: &'static str = "postmaster.opts";

    /// Reads `postmaster.opts` of a data directory; none if the file does not exist because the
    /// cluster was never started.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or was not written by a server.
    pub fn read(data_directory: impl AsRef<Utf8Path>) -> Result<Option<Self>, PostmasterOptsError> {
        let data_directory = data_directory.as_ref();
        let path = data_directory.join(Self::NAME);
        let failed = |kind| PostmasterOptsError {
            path: Some(path.clone()),
            kind,
        };
        let bytes = regular_file::read(&path, LIMIT).map_err(|e| failed(e.into()))?;
        let text = bytes.map(String::from_utf8).transpose().map_err(|e| {
            let not_utf8 = io::Error::new(io::ErrorKind::InvalidData, e);
            failed(PostmasterOptsErrorKind::Read(not_utf8))
        })?;
        text.map(|text| parse(&text).map_err(failed)).transpose()
    }
}

impl FromStr for PostmasterOpts {
    type Err = PostmasterOptsError;

    /// ```
    /// let opts: pg_proc::PostmasterOpts = "/usr/bin/postgres \"-D\" \"/srv/my data\"\n".parse()?;
    /// assert_eq!(opts.arguments, ["-D", "/srv/my data"]);
    /// # Ok::<(), pg_proc::PostmasterOptsError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, PostmasterOptsError> {
        parse(text).map_err(|kind| PostmasterOptsError { path: None, kind })
    }
}

/// `postmaster.opts` cannot be read, or was not written by a server.
#[derive(Debug, Error)]
#[error("failed to read {}", .path.as_ref().map_or("a command line", |path| path.as_str()))]
pub struct PostmasterOptsError {
    pub(crate) path: Option<Utf8PathBuf>,
    #[source]
    pub(crate) kind: PostmasterOptsErrorKind,
}

impl PostmasterOptsError {
    /// The file; none if the caller passed the content.
    pub fn path(&self) -> Option<&Utf8Path> {
        self.path.as_deref()
    }

    /// The reason.
    pub const fn kind(&self) -> &PostmasterOptsErrorKind {
        &self.kind
    }
}

/// The reason why `postmaster.opts` cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostmasterOptsErrorKind {
    /// The file could not be read, or is not UTF-8.
    #[error("the file cannot be opened or read")]
    Read(#[source] io::Error),
    /// The path is a directory, a pipe or a device.
    #[error("the path is not a regular file")]
    NotRegular,
    /// The file is longer than a command line can be.
    #[error("the file is longer than {LIMIT} bytes")]
    TooLong,
    /// The file does not begin with a program.
    #[error("the program is missing")]
    NoProgram,
    /// The quotes are not balanced.
    #[error("an argument has no closing {0}")]
    Unclosed(char),
}

impl From<Unreadable> for PostmasterOptsErrorKind {
    fn from(problem: Unreadable) -> Self {
        match problem {
            Unreadable::Io(e) => Self::Read(e),
            Unreadable::NotRegular => Self::NotRegular,
            Unreadable::TooLong => Self::TooLong,
        }
    }
}

fn parse(text: &str) -> Result<PostmasterOpts, PostmasterOptsErrorKind> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let double = line.find(" \"").map(|at| (at, '"'));
    let single = line.find(" '").map(|at| (at, '\''));
    // The earlier one opened the first argument; the other kind can only stand within an argument.
    let opening = [double, single].into_iter().flatten().min();
    let (program, arguments) = match opening {
        None => (line, Vec::new()),
        Some((at, quote)) => {
            let inner = line[at + 2..]
                .strip_suffix(quote)
                .ok_or(PostmasterOptsErrorKind::Unclosed(quote))?;
            let between = format!("{quote} {quote}");
            (
                &line[..at],
                inner.split(&between).map(str::to_owned).collect(),
            )
        }
    };
    if program.is_empty() {
        return Err(PostmasterOptsErrorKind::NoProgram);
    }
    Ok(PostmasterOpts {
        program: program.into(),
        arguments,
    })
}
