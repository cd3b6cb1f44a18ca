//! Making what a template is packed from.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use pg_cluster::{Cluster, ConnectionInfo, InitOptions, Signal, StartOptions, StopPlan};
use pg_install::{Installation, Program};
use pg_proc::{Account, GuardOptions, Ownership};

use crate::error::TempErrorKind;
use crate::root::{Root, SocketDirectory};
use crate::setup::SetupKey;
use crate::sql::{identifier, literal};
use crate::temp_cluster::PORT;
use crate::tuning;

/// The time limit of a statement of a single-user server.
const STATEMENT: Duration = Duration::from_secs(120);

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A step that prepares the template's database, and the key that stands for it.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) key: SetupKey,
    pub(crate) run: Arc<dyn Fn(&ConnectionInfo) -> Outcome + Send + Sync>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Setup").field(&self.key).finish()
    }
}

/// An extension of the template's database.
#[derive(Debug)]
pub(crate) struct Extension {
    pub(crate) name: String,
    /// Returns whether its files have changed.
    pub(crate) files: String,
}

/// The steps that make a template.
#[derive(Debug)]
pub(crate) struct Recipe<'a> {
    pub(crate) installation: Installation,
    pub(crate) account: Option<Account>,
    /// With a password of the template's own, if its clones have one.
    pub(crate) options: InitOptions,
    /// The password of each clone's superuser. The template has another one, since it is on disk.
    pub(crate) password: Option<&'a str>,
    pub(crate) database: &'a str,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) setups: &'a [Setup],
    /// The key of each, as it was read before the steps run.
    pub(crate) setup_keys: Vec<String>,
    /// What each clone is to have as `pg_hba.conf` and `pg_ident.conf`. The template has the files
    /// of `initdb`.
    pub(crate) access: [Option<&'a str>; 2],
}

/// A data directory that is complete, whose server is stopped; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Made {
    /// Its guard removes everything, after the server is gone.
    cluster: Cluster,
    root: Root,
}

impl Made {
    pub(crate) fn data_directory(&self) -> &Utf8Path {
        self.cluster.data_directory()
    }
}

impl Recipe<'_> {
    /// Makes the template's data directory below `storage`.
    pub(crate) fn make(&self, storage: &Utf8Path) -> Result<Made, TempErrorKind> {
        let mut root = Root::create(storage, self.account.as_ref())?;
        let data = root.subdirectory("data", self.account.as_ref())?;
        let guard = Root::guard(
            [&mut root],
            GuardOptions::new()
                .release_memory_of(data.join(Cluster::INIT_DIRECTORY))
                .release_memory_of(&data),
        )?;
        let made = Made {
            cluster: self.cluster(&data)?.guarded_by(guard),
            root,
        };
        made.cluster
            .init(&self.options)
            .map_err(TempErrorKind::Init)?;
        // `initdb` makes the others.
        if !matches!(self.database, "postgres" | "template1") {
            let statement = format!("CREATE DATABASE {}", identifier(self.database));
            run_single_user(&made.cluster, &[], "postgres", &statement)
                .map_err(|cause| TempErrorKind::Database(self.database.to_owned(), cause))?;
        }
        for Extension { name, .. } in &self.extensions {
            let quoted = identifier(name);
            let statement = format!("CREATE EXTENSION IF NOT EXISTS {quoted} CASCADE");
            run_single_user(&made.cluster, &self.settings, self.database, &statement)
                .map_err(|cause| TempErrorKind::Extension(name.clone(), cause))?;
        }
        if !self.setups.is_empty() {
            self.set_up(&made)?;
        }
        Ok(made)
    }

    /// The cluster of a data directory, with the account that the recipe is for.
    pub(crate) fn cluster(&self, data: &Utf8Path) -> Result<Cluster, TempErrorKind> {
        let cluster =
            Cluster::new(self.installation.clone(), data).map_err(TempErrorKind::Cluster)?;
        Ok(match &self.account {
            Some(account) => cluster.with_account(account.clone()),
            None => cluster,
        })
    }

    /// Gives the superuser of a complete clone, whose server is not running, its password.
    pub(crate) fn set_password(&self, cluster: &Cluster) -> Result<(), TempErrorKind> {
        let Some(password) = self.password else {
            return Ok(());
        };
        let role = identifier(self.options.superuser());
        let statement = format!("ALTER ROLE {role} PASSWORD {}", literal(password));
        run_single_user(cluster, &[], "template1", &statement).map_err(TempErrorKind::Password)
    }

    fn set_up(&self, made: &Made) -> Result<(), TempErrorKind> {
        let mut sockets = SocketDirectory::make(&made.root, self.account.as_ref())?;
        let _guard = sockets
            .root()
            .map(|root| Root::guard([root], GuardOptions::new()))
            .transpose()?;
        let options = StartOptions::new()
            .settings(tuning::settings(
                self.installation.version(),
                &self.settings,
            ))
            .listen_addresses::<&str>([])
            .socket_directory(sockets.path())
            .port(PORT)
            .ownership(Ownership::Bound(StopPlan::throw_away()));
        made.cluster.start(&options).map_err(TempErrorKind::Start)?;
        let info = self.connection(ConnectionInfo::socket(sockets.path(), PORT));
        let info = match self.options.superuser_password() {
            Some(password) => info.with_password(password),
            None => info,
        };
        for (setup, key) in self.setups.iter().zip(&self.setup_keys) {
            // In a thread of its own: the caller may be inside an async runtime, which blocking
            // clients refuse.
            let outcome = std::thread::scope(|scope| {
                scope
                    .spawn(|| (setup.run)(&info))
                    .join()
                    .unwrap_or_else(|_| Err("the step panicked".into()))
            });
            let failed = |error| TempErrorKind::Setup(setup.key.name(), error);
            outcome.map_err(failed)?;
            if setup.key.read()? != *key {
                return Err(failed(
                    "the files that are its key changed meanwhile".into(),
                ));
            }
        }
        made.cluster
            .stop(&StopPlan::new(Signal::Fast, Duration::from_secs(120)))
            .map_err(TempErrorKind::Stop)?;
        Ok(())
    }

    /// As whom and where a server of this recipe is to be used.
    pub(crate) fn connection(&self, address: ConnectionInfo) -> ConnectionInfo {
        address
            .with_user(self.options.superuser())
            .with_database(self.database)
    }
}

/// Runs a statement without a line break by a single-user server, which asks for no password
/// and listens nowhere. The statement is in no log: it may hold a password.
fn run_single_user(
    cluster: &Cluster,
    settings: &[(String, String)],
    database: &str,
    statement: &str,
) -> Outcome {
    let setting = |(name, value): &(String, String)| ["-c".to_owned(), format!("{name}={value}")];
    let output = cluster
        .command(Program::Postgres)?
        .env("LC_ALL", "C")
        .args(["--single", "-F", "-D", cluster.data_directory().as_str()])
        .args(settings.iter().flat_map(setting))
        .args(["-c", "lc_messages=C", "-c", "logging_collector=off"])
        .args(["-c", "log_statement=none", "-c", "log_duration=off"])
        .args(["-c", "log_min_duration_statement=-1"])
        .args(["-c", "log_min_error_statement=panic", database])
        .input(format!("{statement}\n"))
        .run(STATEMENT)?;
    // A statement that fails does not make this mode fail.
    let log = String::from_utf8_lossy(&output.stderr);
    match log.lines().find(|line| line.contains("ERROR:")) {
        Some(line) => Err(line.to_owned().into()),
        None => Ok(()),
    }
}
