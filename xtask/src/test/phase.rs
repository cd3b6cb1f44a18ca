//! Runs of tests: with cargo, and one executable after another by another account.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::account::{self, Account};
use super::build::{Executables, TestExecutable};
use super::stage::Stage;
use crate::postgres::Server;
use crate::workspace;

/// A run of tests in one environment.
pub(crate) struct Phase<'a> {
    stage: &'a Stage,
    bin_directories: String,
    filter: &'a [String],
}

/// Informs tests that need servers of two users that only one user is available.
const ONE_USER: (&str, &str) = ("PG_TESTS_ONE_USER", "1");

/// The variables of this process that another account inherits.
const INHERITED: [&str; 6] = [
    "LANG",
    "LC_ALL",
    "TERM",
    "RUST_BACKTRACE",
    "RUST_TEST_THREADS",
    "CI",
];

pub(crate) struct Outcome {
    pub(crate) what: String,
    pub(crate) passed: bool,
}

impl<'a> Phase<'a> {
    pub(crate) fn new(stage: &'a Stage, servers: &[Server], filter: &'a [String]) -> Phase<'a> {
        let bins: Vec<_> = servers.iter().map(|server| server.bin.as_str()).collect();
        Phase {
            stage,
            bin_directories: bins.join(":"),
            filter,
        }
    }

    /// Runs the unit and integration tests of the workspace as the current account, with nextest if
    /// it is installed.
    pub(crate) fn cargo_tests(&self, executables: &Executables) -> Result<Outcome> {
        let nextest = workspace::has_nextest();
        let mut command = workspace::cargo();
        let files: Vec<_> = executables
            .tests
            .iter()
            .map(|test| test.name.as_str())
            .filter(|name| self.names(name))
            .collect();
        if nextest {
            command.args(["nextest", "run", "--no-tests=pass"]);
        } else if files.is_empty() {
            // Doc tests have their own phase.
            command.args(["test", "--lib", "--bins", "--tests", "--examples"]);
        } else {
            command.arg("test");
            command.args(files.iter().flat_map(|name| ["--test", name]));
        }
        command.args(["--workspace", "--all-features", "--no-fail-fast"]);
        for (name, path) in &executables.programs {
            command.env(format!("CARGO_BIN_EXE_{name}"), path);
        }
        if nextest {
            let words = self.filter.iter();
            let sets: Vec<_> = words
                .map(|word| {
                    // nextest rejects a word that is in no name of an executable.
                    match executables.names.iter().any(|name| name.contains(word)) {
                        true => format!("test(~{word}) | binary(~{word})"),
                        false => format!("test(~{word})"),
                    }
                })
                .collect();
            if !sets.is_empty() {
                command.args(["-E", &sets.join(" | ")]);
            }
        } else if files.is_empty() {
            command.arg("--").args(self.filter);
        }
        let runner = if nextest { "nextest" } else { "cargo test" };
        self.run(
            command,
            format!(
                "unit and integration tests as {} ({runner})",
                account::current_name()
            ),
        )
    }

    pub(crate) fn doc_tests(&self) -> Result<Outcome> {
        let mut command = workspace::cargo();
        command.args([
            "test",
            "--doc",
            "--workspace",
            "--all-features",
            "--no-fail-fast",
        ]);
        self.run(command, format!("doc tests as {}", account::current_name()))
    }

    /// Runs copies of the server tests as another account.
    pub(crate) fn as_account(
        &self,
        account: &Account,
        executables: &Executables,
    ) -> Result<Outcome> {
        self.one_by_one(
            &executables.tests,
            &format!("as {}", account.name),
            |test| {
                let package = self.stage.package(test);
                let mut command = Command::new(self.stage.copy_of(&test.path));
                // std drops supplementary groups when it sets the user.
                command
                    .env_clear()
                    .current_dir(&package)
                    .gid(account.gid.as_raw())
                    .uid(account.uid.as_raw())
                    .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                    .env("HOME", self.stage.home())
                    .env("USER", &account.name)
                    .env("LOGNAME", &account.name)
                    .env("CARGO_MANIFEST_DIR", &package)
                    .env("INSTA_WORKSPACE_ROOT", self.stage.checkout())
                    .env("INSTA_UPDATE", "no")
                    .envs([ONE_USER]);
                for name in INHERITED {
                    if let Some(value) = std::env::var_os(name) {
                        command.env(name, value);
                    }
                }
                for (name, path) in &executables.programs {
                    command.env(format!("CARGO_BIN_EXE_{name}"), self.stage.copy_of(path));
                }
                command
            },
        )
    }

    /// Runs the tests of whole clusters with the capabilities of root in a container, without
    /// permission to inspect processes of other accounts.
    pub(crate) fn confined(&self, executables: &Executables) -> Result<Outcome> {
        let confined = executables
            .programs
            .get("confined")
            .context("there is no `confined`")?;
        let of_clusters = |test: &&TestExecutable| {
            ["cluster_", "temp_"]
                .iter()
                .any(|begin| test.name.starts_with(begin))
        };
        let tests = executables.tests.iter().filter(of_clusters);
        let what = "as root with Docker's default capabilities";
        self.one_by_one(tests, what, |test| {
            let package = workspace::root().join(test.package);
            let mut command = Command::new(confined);
            command
                .arg(&test.path)
                .current_dir(&package)
                .env("CARGO_MANIFEST_DIR", &package)
                .env("PG_TESTS_CONFINED", "1");
            for (name, path) in &executables.programs {
                command.env(format!("CARGO_BIN_EXE_{name}"), path);
            }
            command
        })
    }

    fn one_by_one<'t>(
        &self,
        tests: impl IntoIterator<Item = &'t TestExecutable>,
        what: &str,
        command: impl Fn(&TestExecutable) -> Command,
    ) -> Result<Outcome> {
        let mut passed = true;
        for test in tests {
            println!("\n{what}: {}", test.name);
            let mut command = command(test);
            let words = if self.names(&test.name) {
                &[]
            } else {
                self.filter
            };
            command.args(words).stdin(Stdio::null());
            passed &= self.run(command, String::new())?.passed;
        }
        Ok(Outcome {
            what: format!("server tests {what}"),
            passed,
        })
    }

    /// Returns whether the filter selects a whole file of tests.
    fn names(&self, file: &str) -> bool {
        self.filter.iter().any(|word| file.contains(word))
    }

    pub(crate) fn run(&self, mut command: Command, what: String) -> Result<Outcome> {
        workspace::hide_server(&mut command);
        command
            .envs(counts())
            .env("PG_TESTS_BINDIRS", &self.bin_directories)
            .env("PG_TESTS_SHARED", self.stage.shared())
            // Only root can test with a second user.
            .envs((!nix::unistd::Uid::effective().is_root()).then_some(ONE_USER))
            .env("TMPDIR", self.stage.temporary());
        let program = command.get_program().to_owned();
        let status = command
            .status()
            .with_context(|| format!("failed to run {}", program.to_string_lossy()))?;
        Ok(Outcome {
            what,
            passed: status.success(),
        })
    }
}

/// Returns the variables by which the caller sets numbers of repetitions, such as
/// `PG_TESTS_SETTINGS_KILLS=1000`.
fn counts() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, value)| {
        name.starts_with("PG_TESTS_") && name != ONE_USER.0 && value.parse::<u64>().is_ok()
    })
}
