//! Making what a template is packed from.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use pg_install::{Installation, Program};
use pg_proc::{Account, GuardOptions, Ownership, StopPlan};

use super::Key;
use crate::error::TempErrorKind;
use crate::root::{MARKER, Root};
use crate::temp_cluster::PORT;
use crate::{storage, tuning};
use pg_cluster::{Cluster, ConnectionInfo, Escalation, InitOptions, StartOptions, StopMode};

/// What a setup step returns.
type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A step that prepares the template's database, and the key that stands for it.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) key: String,
    pub(crate) run: Arc<dyn Fn(&ConnectionInfo) -> Outcome + Send + Sync>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Setup").field(&self.key).finish()
    }
}

/// How a template is made.
#[derive(Debug)]
pub(crate) struct Recipe<'a> {
    pub(crate) installation: &'a Installation,
    pub(crate) account: Option<&'a Account>,
    pub(crate) options: &'a InitOptions,
    pub(crate) database: &'a str,
    pub(crate) settings: &'a [(String, String)],
    pub(crate) setups: &'a [Setup],
}

impl Recipe<'_> {
    pub(crate) fn key(&self) -> Key {
        Key::new(
            self.installation,
            self.options,
            self.database,
            self.settings,
            self.setups.iter().map(|setup| setup.key.as_str()),
            self.account,
        )
    }

    /// The name under which users of the same server meet.
    pub(crate) fn key_of_server(&self, key: &str) -> String {
        Key::new(
            self.installation,
            self.options,
            self.database,
            self.settings,
            [key]
                .into_iter()
                .chain(self.setups.iter().map(|setup| setup.key.as_str())),
            self.account,
        )
        .name()
    }

    /// Makes a data directory below `storage` and passes it to `then`; afterwards it is removed.
    pub(crate) fn make(
        &self,
        storage: &Utf8Path,
        then: &dyn Fn(&Utf8Path) -> Result<(), TempErrorKind>,
    ) -> Result<(), TempErrorKind> {
        let root = Root::create(storage, self.account)?;
        let data = root.path().join("data");
        let guard = GuardOptions::new()
            .release_memory_of(data.join(Cluster::INIT_DIRECTORY))
            .release_memory_of(&data)
            .remove_marked(root.path(), MARKER)
            .guard()
            .map_err(TempErrorKind::Guard)?;
        let data = root.subdirectory("data", self.account)?;
        let mut cluster =
            Cluster::new(self.installation.clone(), &data).map_err(TempErrorKind::Cluster)?;
        if let Some(account) = self.account {
            cluster = cluster.with_account(account.clone());
        }
        let cluster = cluster.guarded_by(guard);
        cluster.init(self.options).map_err(TempErrorKind::Init)?;
        self.create_database(&cluster)?;
        if !self.setups.is_empty() {
            self.set_up(&cluster, &root)?;
        }
        then(&data)
        // The cluster's guard removes everything, after the server is gone.
    }

    /// By a single-user server, which asks for no password and listens nowhere.
    fn create_database(&self, cluster: &Cluster) -> Result<(), TempErrorKind> {
        if matches!(self.database, "postgres" | "template1") {
            return Ok(());
        }
        let name = self.database;
        let command = cluster
            .command(Program::Postgres)
            .map_err(TempErrorKind::MissingProgram)?
            .env("LC_ALL", "C")
            .args([
                "--single",
                "-F",
                "-D",
                cluster.data_directory().as_str(),
                "postgres",
            ])
            .input(format!(
                "CREATE DATABASE \"{}\"\n",
                name.replace('"', "\"\"")
            ));
        let failed = |cause| TempErrorKind::Database(name.to_owned(), cause);
        let output = command
            .run(Duration::from_secs(120))
            .map_err(|error| failed(error.into()))?;
        // A statement that fails does not make this mode fail.
        let log = String::from_utf8_lossy(&output.stderr);
        match log.lines().find(|line| line.contains("ERROR:")) {
            Some(line) => Err(failed(line.to_owned().into())),
            None => Ok(()),
        }
    }

    fn set_up(&self, cluster: &Cluster, root: &Root) -> Result<(), TempErrorKind> {
        let sockets = if storage::is_fit_for_sockets(root.path()) {
            None
        } else {
            Some(Root::create("/tmp".into(), self.account)?)
        };
        let directory = sockets
            .as_ref()
            .unwrap_or(root)
            .subdirectory("s", self.account)?;
        let _sockets_guard = match &sockets {
            None => None,
            Some(root) => Some(
                GuardOptions::new()
                    .remove_marked(root.path(), MARKER)
                    .guard()
                    .map_err(TempErrorKind::Guard)?,
            ),
        };
        let options = StartOptions::new()
            .settings(tuning::settings(self.installation.version(), self.settings))
            .listen_addresses::<&str>([])
            .socket_directory(&directory)
            .port(PORT)
            .ownership(Ownership::Bound(StopPlan::throw_away()));
        cluster.start(&options).map_err(TempErrorKind::Start)?;
        let info = ConnectionInfo::socket(&directory, PORT)
            .with_user(self.options.superuser())
            .with_database(self.database);
        let info = match self.options.superuser_password() {
            Some(password) => info.with_password(password),
            None => info,
        };
        for setup in self.setups {
            // In a thread of its own: the caller may be inside an async runtime, which blocking
            // clients refuse.
            let outcome = std::thread::scope(|scope| {
                scope
                    .spawn(|| (setup.run)(&info))
                    .join()
                    .unwrap_or_else(|_| Err("it panicked".into()))
            });
            outcome.map_err(|error| TempErrorKind::Setup(setup.key.clone(), error))?;
        }
        cluster
            .stop_and_wait(&Escalation::new(StopMode::Fast, Duration::from_secs(120)))
            .map_err(TempErrorKind::Stop)?;
        Ok(())
    }
}
