//! A simulated file system with scripts in place of PostgreSQL's programs.
#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_install::Discovery;

/// A time limit that only a failing test reaches.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn root(&self) -> Utf8PathBuf {
        // Canonical, because the temporary directory of macOS is a symbolic link.
        let root = Utf8PathBuf::try_from(self.directory.path().to_owned()).unwrap();
        root.canonicalize_utf8().unwrap()
    }

    /// Returns the real path of a path in the tree.
    pub(crate) fn at(&self, path: &str) -> Utf8PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Creates a search of the tree with exactly these variables.
    pub(crate) fn discovery(&self, variables: &[(&str, &str)]) -> Discovery {
        Discovery::new()
            .root(self.root())
            .environment(variables.iter().copied())
            .timeout(LONG)
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> Utf8PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Creates an executable shell script. A shell writes the file: if this process did, a program
    /// started by another test could inherit the open file, and running the script would fail.
    pub(crate) fn script(&self, path: &str, body: &str) -> Utf8PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\"", path.as_str()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("#!/bin/sh\n{body}\n");
        shell
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(shell.wait().unwrap().success());
        path
    }

    /// Creates a `pg_config` that describes its own directory and records each run.
    pub(crate) fn pg_config(&self, bin: &str, version: &str) -> Utf8PathBuf {
        let bindir = self.at(bin);
        self.pg_config_for(bin, bindir.as_str(), version)
    }

    /// Creates a `pg_config` in one directory that describes another.
    pub(crate) fn pg_config_for(&self, bin: &str, bindir: &str, version: &str) -> Utf8PathBuf {
        let body = format!(
            "echo run >> \"$0.log\"\n\
             echo 'BINDIR = {bindir}'\n\
             echo \"CONFIGURE =  '--with-openssl'\"\n\
             echo 'VERSION = PostgreSQL {version}'"
        );
        self.script(&format!("{bin}/pg_config"), &body)
    }

    /// Creates a `postgres` that prints its version.
    pub(crate) fn postgres(&self, bin: &str, version: &str) -> Utf8PathBuf {
        let body = format!("echo run >> \"$0.log\"\necho 'postgres (PostgreSQL) {version}'");
        self.script(&format!("{bin}/postgres"), &body)
    }

    /// Creates a server with its `pg_config`.
    pub(crate) fn server(&self, bin: &str, version: &str) {
        self.pg_config(bin, version);
        self.postgres(bin, version);
    }

    /// Returns the number of runs of such a script.
    pub(crate) fn runs(&self, path: &str) -> usize {
        fs::read_to_string(self.at(&format!("{path}.log")))
            .unwrap_or_default()
            .lines()
            .count()
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// Returns shell code that hangs without starting other programs: it reads a pipe without a
    /// writer.
    pub(crate) fn hang(&self) -> String {
        let never = self.at("/never");
        if !never.exists() {
            self.fifo("/never");
        }
        format!("read line < {never}")
    }

    /// Creates a named pipe for events between processes.
    pub(crate) fn fifo(&self, path: &str) -> Utf8PathBuf {
        let path = self.at(path);
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        path
    }
}

/// Runs a function that may block, and panics if it does.
pub(crate) fn must_end<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || done.send(what()));
    is_done
        .recv_timeout(LONG)
        .expect("the function should not block")
}

/// Returns the text of an error with its causes, as programs print it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Returns the chain with `ROOT` for the directory of the tree.
pub(crate) fn plain(error: &dyn std::error::Error, tree: &Tree) -> String {
    chain(error).replace(tree.root().as_str(), "ROOT")
}

pub(crate) fn find(
    discovery: &Discovery,
    request: &str,
) -> Result<pg_install::DiscoveredInstallation, pg_install::DiscoveryError> {
    discovery.find(&request.parse().unwrap())
}

/// Returns the results of a search: version and source, or the text of the error.
pub(crate) fn list(discovery: &Discovery) -> Vec<String> {
    let lines =
        |found: Vec<Result<pg_install::DiscoveredInstallation, pg_install::DiscoveryError>>| {
            let line = |found: Result<pg_install::DiscoveredInstallation, _>| match found {
                Ok(found) => format!("{} {}", found.installation().version(), found.source()),
                Err(error) => chain(&error),
            };
            found.into_iter().map(line).collect::<Vec<_>>()
        };
    let (one_by_one, at_once) = (lines(discovery.search().collect()), lines(discovery.all()));
    assert_eq!(one_by_one, at_once);
    one_by_one
}
