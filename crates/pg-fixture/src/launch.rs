//! From a template to a running server: directories are prepared, the template is cloned into them,
//! and the server is launched.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use pg_cluster::{Cluster, ConnectionInfo, StartErrorKind, StartOptions};
use pg_proc::{GuardOptions, Log, Ownership, StopPlan, Tenancy, Tenant};

use crate::access;
use crate::error::{TempErrorKind, at};
use crate::log::LogUse;
use crate::plan::{Plan, no_storage};
use crate::replicas;
use crate::root::{Root, SocketDirectory};
use crate::shared::{LOG, Place, USERS};
use crate::storage::is_to_blame;
use crate::temp_cluster::{Keep, Listen, Owner, PORT, TempCluster};
use crate::template::{CloneError, Cloning, Identity, Template};
#[cfg(feature = "tls")]
use crate::tls;
use crate::tuning;

/// How often another port is tried when another process took the free one before the server did.
const ATTEMPTS: usize = 10;

/// How long a server leaves its databases alone: the first autovacuum worker comes after
/// `autovacuum_naptime`, a minute, divided by the number of databases, of which a template without
/// setup steps has four at most.
const UNTIL_FIRST_WORKER: Duration = Duration::from_secs(10);

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) temp: TempCluster,
    /// This process as a user of the server, if it is to be shared.
    pub(crate) tenant: Option<Tenant>,
}

/// Directories for a server, marked and guarded, and how it is to be started.
pub(crate) struct Prepared<'a> {
    plan: &'a Plan<'a>,
    pub(crate) temp: TempCluster,
    pub(crate) options: StartOptions,
    tenant: Option<Tenant>,
}

/// When the server starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timing {
    /// While its databases are still being written: see [`TempCluster`].
    Early,
    /// When they are complete.
    Late,
}

impl Plan<'_> {
    /// Clones the template, which is made first if need be, and starts the server: for those who
    /// meet at `place`, if one is given.
    pub(crate) fn launch(&self, place: Option<&Place>) -> Result<Launched, TempErrorKind> {
        self.with_template(|template, storage, timing| {
            let identity = template.identity(self.builder.system_identifier)?;
            self.prepare(storage, place)?
                .launch(template, identity, timing)
        })
    }

    /// Makes something of the template in the first storage that will do, in the other timing if it
    /// took too long for the early one, and of a new template if this one is damaged.
    pub(crate) fn with_template<T>(
        &self,
        make: impl Fn(&Template, &Utf8Path, Timing) -> Result<Option<T>, Failure>,
    ) -> Result<T, TempErrorKind> {
        match self.in_some_storage(&self.template()?, &make) {
            Err(Failure::Damaged) => self.cache.discard(&self.key, self.builder.patience)?,
            Err(Failure::Other(kind)) => return Err(*kind),
            Ok(made) => return Ok(made),
        }
        self.in_some_storage(&self.template()?, &make)
            .map_err(|failure| match failure {
                Failure::Damaged => at(self.cache.path())(io::ErrorKind::InvalidData.into()),
                Failure::Other(kind) => *kind,
            })
    }

    /// Starts a server with the state of a snapshot, which has rules and passwords of its own, and
    /// databases that a server may look at early.
    pub(crate) fn launch_branch(
        &self,
        state: &Template,
        family: &Arc<()>,
    ) -> Result<TempCluster, TempErrorKind> {
        let account = self.recipe.account.as_ref();
        let storage = &self.builder.storage;
        storage.first_that_will_do(state.size(), account, |storage| {
            let mut prepared = self.prepare(storage, None)?;
            let data = prepared.temp.cluster.data_directory();
            Cloning::begin(state, data, account, None)
                .and_then(|cloning| cloning.databases())
                .map_err(|error| error.of_snapshot(data))?;
            prepared.temp.family = Arc::clone(family);
            let info = prepared.start()?;
            Ok(prepared.launched(info).temp)
        })
    }

    fn in_some_storage<T>(
        &self,
        template: &Template,
        make: impl Fn(&Template, &Utf8Path, Timing) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let account = self.recipe.account.as_ref();
        let mut refused = None;
        for storage in self.builder.storage.candidates(template.size(), account) {
            let made = match make(template, &storage, self.timing()) {
                Ok(None) => make(template, &storage, Timing::Late),
                made => made,
            };
            match made {
                // Memory may have been filled up by another process meanwhile.
                Err(Failure::Other(error)) if is_to_blame(&storage, &error) => {
                    refused = Some(*error);
                }
                Err(failure) => return Err(failure),
                Ok(Some(made)) => return Ok(made),
                // The late timing always makes one.
                Ok(None) => return Err(Failure::Damaged),
            }
        }
        Err(no_storage(refused).into())
    }

    /// Not early if it is detached: what has started has to end if the clone fails.
    fn timing(&self) -> Timing {
        let builder = self.builder;
        let may_be_early = builder.listen == Listen::SocketOnly
            && !builder.is_detached()
            && builder.setups.is_empty()
            && builder.init.additional_arguments().is_empty()
            && self.recipe.password.is_none()
            && tuning::leaves_databases_alone(&self.recipe.settings);
        if may_be_early {
            Timing::Early
        } else {
            Timing::Late
        }
    }

    /// Makes marked, guarded directories for a server.
    pub(crate) fn prepare(
        &self,
        storage: &Utf8Path,
        place: Option<&Place>,
    ) -> Result<Prepared<'_>, TempErrorKind> {
        let account = self.recipe.account.as_ref();
        let mut root = Root::create(storage, account)?;
        let data = root.subdirectory("data", account)?;
        let (socket_directory, mut sockets) = SocketDirectory::make(&root, account)?.into_parts();
        let guard = Root::guard(
            [Some(&mut root), sockets.as_mut()].into_iter().flatten(),
            GuardOptions::new().release_memory_of(&data),
        )?;
        let temp = TempCluster {
            cluster: self.recipe.cluster(&data)?.guarded_by(guard),
            roots: std::iter::once(root).chain(sockets).collect(),
            socket_directory,
            info: ConnectionInfo::socket("/", PORT),
            // Whatever the caller wants of it is wanted of one that has started.
            keep: Keep::Never,
            owner: Owner::Value,
            log_use: LogUse::default(),
            #[cfg(feature = "tls")]
            root_certificate: None,
            databases: Mutex::default(),
            start_options: StartOptions::new(),
            builder: Arc::new(self.builder.for_branches(&self.recipe.installation)),
            family: Arc::new(()),
            turn: Mutex::new(()),
        };
        #[cfg(feature = "tls")]
        let temp = self.equip(temp)?;
        let mut prepared = Prepared {
            plan: self,
            options: self.start_options(&temp),
            temp,
            tenant: None,
        };
        if let Some(place) = place {
            prepared.share(place)?;
        }
        Ok(prepared)
    }

    #[cfg(feature = "tls")]
    fn equip(&self, mut temp: TempCluster) -> Result<TempCluster, TempErrorKind> {
        if self.builder.has_tls {
            let path = tls::equip(temp.path(), self.recipe.account.as_ref())?;
            temp.root_certificate = Some(path);
        }
        Ok(temp)
    }

    fn start_options(&self, temp: &TempCluster) -> StartOptions {
        let builder = self.builder;
        let ownership = builder.ownership.clone();
        let options = StartOptions::new()
            .socket_directory(&temp.socket_directory)
            .ownership(ownership.unwrap_or_else(|| Ownership::Bound(StopPlan::throw_away())));
        let options = match builder.listen {
            Listen::SocketOnly => options.port(PORT).listen_addresses::<&str>([]),
            Listen::Loopback => options.listen_addresses(["127.0.0.1"]),
        };
        #[cfg(feature = "tls")]
        let options = match &temp.root_certificate {
            Some(path) => tls::configure(options, path),
            None => options,
        };
        let version = self.recipe.installation.version();
        let options = options
            .settings(tuning::settings(version, &self.recipe.settings))
            .settings(builder.log_settings().iter().copied());
        match builder.log_destination(temp.cluster.data_directory()) {
            Some(log) => options.log(log),
            None => options,
        }
    }
}

impl Prepared<'_> {
    /// Lets the server run for as long as anybody uses it, of whom this process is the first.
    fn share(&mut self, place: &Place) -> Result<(), TempErrorKind> {
        let fifo = self.temp.path().join(USERS);
        let tenancy = Tenancy::create(&fifo, place.path(), self.plan.builder.linger);
        let tenancy = tenancy.map_err(at(&fifo))?;
        self.tenant = Tenant::enter(&fifo).map_err(at(&fifo))?;
        let log = self.temp.cluster.data_directory().join(LOG);
        let settings = tuning::of_shared(&self.plan.builder.settings);
        let options = self.options.clone().settings(settings);
        self.options = options.log(Log::File(log)).tenancy(tenancy);
        Ok(())
    }

    /// Clones the template and starts the server; none if that took so long that a server which
    /// started early may have read what was not there yet.
    pub(crate) fn launch(
        self,
        template: &Template,
        identity: Option<Identity>,
        timing: Timing,
    ) -> Result<Option<Launched>, Failure> {
        let (plan, cluster) = (self.plan, &self.temp.cluster);
        let cloning = self.begin_clone(template, identity)?;
        let info = match timing {
            Timing::Early => {
                let begun = Instant::now();
                let (started, cloned) = std::thread::scope(|scope| {
                    let databases = std::thread::Builder::new()
                        .name("pg-cluster clone".to_owned())
                        .spawn_scoped(scope, || cloning.databases());
                    let started = self.start();
                    let cloned = match databases {
                        Ok(thread) => thread.join().unwrap_or(Err(CloneError::Damaged)),
                        Err(_) => cloning.databases(),
                    };
                    (started, cloned)
                });
                cloned?;
                if begun.elapsed() > UNTIL_FIRST_WORKER {
                    return Ok(None);
                }
                started?
            }
            Timing::Late => {
                cloning.databases()?;
                plan.recipe.set_password(cluster)?;
                self.start()?
            }
        };
        Ok(Some(self.launched(info)))
    }

    /// Writes what the server reads at its start, which may come before the databases are complete.
    fn begin_clone<'t>(
        &'t self,
        template: &'t Template,
        identity: Option<Identity>,
    ) -> Result<Cloning<'t>, Failure> {
        let (plan, cluster) = (self.plan, &self.temp.cluster);
        let account = plan.recipe.account.as_ref();
        let cloning = Cloning::begin(template, cluster.data_directory(), account, identity)?;
        access::apply(plan.builder, cluster)?;
        if let Some(shape) = plan.builder.replication {
            replicas::apply(shape, cluster)?;
        }
        Ok(cloning)
    }

    /// The server at this address, as its caller wants it.
    pub(crate) fn launched(self, info: ConnectionInfo) -> Launched {
        let (mut temp, builder) = (self.temp, self.plan.builder);
        temp.start_options = self.options.port(info.port());
        temp.info = info;
        temp.keep = builder.keep;
        temp.log_use = LogUse {
            has_statements: builder.logs_statements,
            on_panic: builder.on_panic,
        };
        if builder.is_detached() {
            temp.owner = Owner::Caller;
        }
        Launched {
            temp,
            tenant: self.tenant,
        }
    }

    fn start(&self) -> Result<ConnectionInfo, TempErrorKind> {
        let (plan, temp) = (self.plan, &self.temp);
        let address = match plan.builder.listen {
            Listen::SocketOnly => {
                let started = temp.cluster.start(&self.options);
                started.map_err(TempErrorKind::Start)?;
                ConnectionInfo::socket(&temp.socket_directory, PORT)
            }
            Listen::Loopback => {
                let port = start_on_free_port(&temp.cluster, &self.options)?;
                #[cfg(feature = "tls")]
                let host = if plan.builder.has_tls {
                    tls::HOST
                } else {
                    "127.0.0.1"
                };
                #[cfg(not(feature = "tls"))]
                let host = "127.0.0.1";
                ConnectionInfo::tcp(host, port)
            }
        };
        let info = plan.recipe.connection(address);
        Ok(match plan.recipe.password {
            Some(password) => info.with_password(password),
            None => info,
        })
    }
}

/// Between our finding a free port and the server's binding it another process may take it: then
/// another one is tried.
fn start_on_free_port(cluster: &Cluster, options: &StartOptions) -> Result<u16, TempErrorKind> {
    let mut attempts = 0;
    loop {
        let port = free_port().map_err(at("127.0.0.1"))?;
        attempts += 1;
        match cluster.start(&options.clone().port(port)) {
            Ok(_) => return Ok(port),
            Err(error)
                if matches!(error.kind(), StartErrorKind::AddressInUse(_))
                    && attempts < ATTEMPTS => {}
            Err(error) => return Err(TempErrorKind::Start(error)),
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

/// The reason why a clone was not made.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The template has to be made again.
    Damaged,
    Other(Box<TempErrorKind>),
}

impl From<TempErrorKind> for Failure {
    fn from(kind: TempErrorKind) -> Self {
        Self::Other(Box::new(kind))
    }
}

impl From<CloneError> for Failure {
    fn from(error: CloneError) -> Self {
        match error {
            CloneError::Damaged => Self::Damaged,
            CloneError::Target(kind) => Self::Other(kind),
        }
    }
}
