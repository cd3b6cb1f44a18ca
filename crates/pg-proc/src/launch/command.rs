//! A program with its arguments, environment and account, ready to be started.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Arc, Weak};

use camino::{Utf8Path, Utf8PathBuf};

use crate::account::Account;
use crate::fs::guard::DirectoryGuard;
use crate::launch::spawn_error::{SpawnError, SpawnErrorKind};
use crate::sys::{self, LaunchError, Launched, Orders, Program, Sink, Stage};

/// A program to be run: a server, or a program that exits by itself such as `initdb`.
///
/// No shell is involved. The program gets its own session (Ctrl-C in the caller's terminal does not
/// reach it), only its three standard streams as descriptors, default signal dispositions, umask
/// 077, and an environment without the variables that would change its target: see
/// [`env`](Self::env).
///
/// A small process, the warden, is the parent of all programs that the caller starts, and ends them
/// when the caller exits. It has none of the caller's memory. Programs have the resource limits,
/// priority, control group and namespaces that the caller had when it started its first program.
#[derive(Clone, Debug)]
pub struct Command {
    program: Utf8PathBuf,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, Option<OsString>>,
    directory: Utf8PathBuf,
    pub(crate) account: Option<Account>,
    guard: Option<Weak<OwnedFd>>,
    pub(crate) input: Vec<u8>,
    pub(crate) capture_limit: usize,
}

impl Command {
    /// A program by its path; the search path is not consulted.
    pub fn new(program: impl Into<Utf8PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: "/".into(),
            account: None,
            guard: None,
            input: Vec::new(),
            capture_limit: 16 << 20,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    ///
    /// All other variables come from the calling process, with two exceptions. Variables that start
    /// with `PG` (`PGDATA`, `PGPORT`, `PGOPTIONS`...) would act on the program. Variables by which
    /// systemd talks to a service (`NOTIFY_SOCKET`, `LISTEN_FDS` and similar) would make a server
    /// report itself as the caller's service. With another account `HOME`, `USER` and `LOGNAME` are
    /// those of the account.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Sets several variables of the environment.
    #[must_use]
    pub fn envs(
        self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Self {
        variables
            .into_iter()
            .fold(self, |command, (name, value)| command.env(name, value))
    }

    /// Removes a variable of the environment.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), None);
        self
    }

    /// The working directory of the program: `/` if not set, which every account can enter.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Runs as this account. Another one than the caller's takes root's rights.
    #[must_use]
    pub fn account(mut self, account: impl Into<Option<Account>>) -> Self {
        self.account = account.into();
        self
    }

    /// Given to a program that is [run](Self::run), on its standard input; otherwise that is empty.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// The number of bytes kept from the end of each output of a program that is [run](Self::run),
    /// 16 MiB if not set.
    #[must_use]
    pub const fn capture_limit(mut self, bytes: usize) -> Self {
        self.capture_limit = bytes;
        self
    }

    /// Holds this guard back from removing its directories until all processes of the program have
    /// exited. A program holds back one guard only: the last one given.
    #[must_use]
    pub fn guarded_by(mut self, guard: &DirectoryGuard) -> Self {
        self.guard = guard.lifeline().map(Arc::downgrade);
        self
    }

    /// The program.
    pub fn program(&self) -> &Utf8Path {
        &self.program
    }

    /// The arguments.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The account to become, if it is another one than the caller's.
    pub(crate) fn other_account(&self) -> Option<&Account> {
        self.account
            .as_ref()
            .filter(|account| !account.is_current())
    }

    pub(crate) fn failed(&self, kind: SpawnErrorKind) -> SpawnError {
        SpawnError::new(&self.program, kind)
    }

    pub(crate) fn held_guard(&self) -> Result<Option<OwnedFd>, SpawnError> {
        self.guard
            .as_ref()
            .and_then(Weak::upgrade)
            .map(|lifeline| lifeline.try_clone())
            .transpose()
            .map_err(|e| self.failed(SpawnErrorKind::Process(e)))
    }

    pub(crate) fn launch(
        &self,
        extra: &[(&str, String)],
        streams: Streams,
        orders: &Orders,
    ) -> Result<Launched, SpawnError> {
        let account = self.other_account().cloned();
        let program = Program {
            path: self.c_string(self.program.as_os_str())?,
            arguments: std::iter::once(self.program.as_os_str())
                .chain(self.arguments.iter().map(OsString::as_os_str))
                .map(|argument| self.c_string(argument))
                .collect::<Result<_, _>>()?,
            environment: self.environment(account.as_ref(), extra)?,
            directory: self.c_string(self.directory.as_os_str())?,
            account,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        };
        sys::launch(&program, orders).map_err(|e| self.failed(self.explain(e, &program.stderr)))
    }

    fn explain(&self, error: LaunchError, log: &Sink) -> SpawnErrorKind {
        let LaunchError { stage, cause } = error;
        match stage {
            Stage::Execute if cause.kind() == std::io::ErrorKind::NotFound => {
                SpawnErrorKind::NotFound(cause)
            }
            Stage::Execute => SpawnErrorKind::Execute(cause),
            Stage::Groups | Stage::Group | Stage::User => SpawnErrorKind::Account {
                account: self
                    .account
                    .as_ref()
                    .map_or_else(String::new, Account::label),
                error: cause,
            },
            Stage::Directory => SpawnErrorKind::Directory {
                directory: self.directory.clone(),
                error: cause,
            },
            Stage::Output => {
                let path = match log {
                    Sink::File(path) => String::from_utf8_lossy(path.as_bytes()).into_owned(),
                    Sink::Descriptor(_) => String::new(),
                };
                SpawnErrorKind::Log {
                    path: path.into(),
                    error: cause,
                }
            }
            Stage::Prepare | Stage::Fork | Stage::Report | Stage::Streams => {
                SpawnErrorKind::Process(cause)
            }
        }
    }

    fn environment(
        &self,
        account: Option<&Account>,
        extra: &[(&str, String)],
    ) -> Result<Vec<CString>, SpawnError> {
        let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os()
            .filter(|(name, _)| !acts_for_others(name))
            .collect();
        if let Some(account) = account {
            let home = account.home().map_or("/", Utf8Path::as_str);
            variables.insert("HOME".into(), home.into());
            for name in ["USER", "LOGNAME"] {
                variables.insert(name.into(), account.label().into());
            }
        }
        for (name, value) in extra {
            variables.insert(name.into(), value.into());
        }
        for (name, value) in &self.environment {
            match value {
                Some(value) => variables.insert(name.clone(), value.clone()),
                None => variables.remove(name),
            };
        }
        variables
            .into_iter()
            .map(|(mut pair, value)| {
                pair.push("=");
                pair.push(value);
                self.c_string(&pair)
            })
            .collect()
    }

    pub(crate) fn c_string(&self, text: &OsStr) -> Result<CString, SpawnError> {
        CString::new(text.as_bytes())
            .map_err(|e| self.failed(SpawnErrorKind::Nul(OsString::from_vec(e.into_vec()))))
    }
}

/// The destination of a program's standard streams.
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: Sink,
    pub(crate) stderr: Sink,
}

fn acts_for_others(name: &OsStr) -> bool {
    const OF_SERVICES: &[&str] = &[
        "NOTIFY_SOCKET",
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "MAINPID",
        "MANAGERPID",
    ];
    name.as_bytes().starts_with(b"PG") || OF_SERVICES.iter().any(|service| name == *service)
}
