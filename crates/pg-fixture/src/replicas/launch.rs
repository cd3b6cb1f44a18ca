//! From a template to a primary and its standbys.

use std::io;
use std::time::Duration;

use camino::Utf8Path;
use pg_cluster::conf::Document;
use pg_cluster::{Cluster, ConnectionInfo, StartOptions};
use pg_proc::Directory;

use super::builder::Replication;
use super::error::{ReplicaError, ReplicaErrorKind};
use super::link::Link;
use super::replica::{Replica, socket_of};
use super::set::ReplicaSet;
use crate::error::{TempErrorKind, at};
use crate::launch::{Failure, Launched, Timing};
use crate::plan::Plan;
use crate::temp_cluster::PORT;
use crate::template::{Identity, Template};

/// The time limit for a standby to begin to stream.
pub(super) const STREAMING: Duration = Duration::from_secs(60);

/// A standby refuses to start with less than the primary has, by the control file: that of a
/// template has the values of `initdb` (`CheckRequiredParameterValues` in
/// src/backend/access/transam/xlogrecovery.c).
const AT_LEAST: [(&str, u64); 5] = [
    ("max_connections", 100),
    ("max_worker_processes", 8),
    ("max_wal_senders", 10),
    ("max_prepared_transactions", 0),
    ("max_locks_per_transaction", 64),
];

/// The source of all members, and the directories of their clones.
struct Clones<'a> {
    template: &'a Template,
    identity: Option<Identity>,
    storage: &'a Utf8Path,
    /// A standby replays nothing that touches a database before a client writes to the primary,
    /// which none does before the set is complete: what holds for a server that starts early
    /// ([`TempCluster`](crate::TempCluster)) holds for it too.
    timing: Timing,
}

impl Plan<'_> {
    /// Clones the template for each member, starts the primary and then its standbys.
    pub(super) fn launch_set(&self, shape: Replication) -> Result<ReplicaSet, TempErrorKind> {
        self.with_template(|template, storage, timing| {
            let identity = template.identity(self.builder.system_identifier)?;
            self.launch_members(shape, template, identity, storage, timing)
        })
    }

    fn launch_members(
        &self,
        shape: Replication,
        template: &Template,
        identity: Option<Identity>,
        storage: &Utf8Path,
        timing: Timing,
    ) -> Result<Option<ReplicaSet>, Failure> {
        let clones = Clones {
            template,
            identity,
            storage,
            timing,
        };
        let Some(primary) = self.launch_primary(&clones)? else {
            return Ok(None);
        };
        let mut members = vec![primary];
        if shape.is_chain {
            for number in 1..=shape.standbys {
                let Some(before) = members.last() else { break };
                let Some(standby) = self.launch_standby(number, &clones, before)? else {
                    return Ok(None);
                };
                members.push(standby);
            }
        } else {
            let Some(standbys) = self.launch_standbys(shape.standbys, &clones, &members)? else {
                return Ok(None);
            };
            members.extend(standbys);
        }
        for standby in members.iter().skip(1) {
            standby.wait_streaming(STREAMING).map_err(failed)?;
        }
        Ok(Some(ReplicaSet::new(members, shape.synchronous)))
    }

    fn launch_primary(&self, clones: &Clones<'_>) -> Result<Option<Replica>, Failure> {
        let mut prepared = self.prepare(clones.storage, None)?;
        let options = self.keeping_wal(prepared.options.clone());
        prepared.options = options.clone();
        let launched = prepared.launch(clones.template, clones.identity, clones.timing)?;
        launched
            .map(|launched| self.member("primary".to_owned(), launched, options, None))
            .transpose()
    }

    /// Starts standbys of the first member, at once.
    fn launch_standbys(
        &self,
        standbys: usize,
        clones: &Clones<'_>,
        members: &[Replica],
    ) -> Result<Option<Vec<Replica>>, Failure> {
        let Some(primary) = members.first() else {
            return Ok(None);
        };
        std::thread::scope(|scope| {
            let launch = |number| move || self.launch_standby(number, clones, primary);
            let others: Vec<_> = (2..=standbys)
                .map(|number| {
                    let thread = std::thread::Builder::new().name("pg-cluster standby".to_owned());
                    thread
                        .spawn_scoped(scope, launch(number))
                        .map_err(at(clones.storage))
                })
                .collect();
            let first = launch(1)();
            let others = others.into_iter().map(|thread| match thread?.join() {
                Ok(launched) => launched,
                Err(_) => Err(Failure::Damaged),
            });
            // All of them end before any failure is returned.
            let all: Vec<_> = std::iter::once(first).chain(others).collect();
            all.into_iter().collect()
        })
    }

    fn launch_standby(
        &self,
        number: usize,
        clones: &Clones<'_>,
        upstream: &Replica,
    ) -> Result<Option<Replica>, Failure> {
        let name = format!("standby{number}");
        let mut prepared = self.prepare(clones.storage, None)?;
        let account = self.recipe.account.as_ref();
        let directory = prepared.temp.path().to_owned();
        let link = Link::open(&directory, account, upstream.socket()).map_err(at(&directory))?;
        let primary = self.keeping_wal(prepared.options.clone());
        prepared.options = self.as_standby(&name, primary.clone(), &directory);
        // The template has no such file.
        make_standby(&prepared.temp.cluster, &self.conninfo(&name, &directory))
            .map_err(at(prepared.temp.cluster.data_directory()))?;
        let launched = prepared.launch(clones.template, clones.identity, clones.timing)?;
        let Some(launched) = launched else {
            return Ok(None);
        };
        let standby = self.member(name, launched, primary, Some(link))?;
        standby.note_followed(upstream);
        Ok(Some(standby))
    }

    fn member(
        &self,
        name: String,
        launched: Launched,
        primary: StartOptions,
        link: Option<Link>,
    ) -> Result<Replica, Failure> {
        let temp = launched.temp;
        let directory = temp.path().to_owned();
        let account = self.recipe.account.as_ref();
        let link = match link {
            Some(link) => link,
            // Of use when it has been replaced.
            None => Link::open(&directory, account, socket_of(&temp)).map_err(at(&directory))?,
        };
        let primary = primary.port(temp.port());
        let standby = self.as_standby(&name, primary.clone(), &directory);
        let conninfo = self.conninfo(&name, &directory);
        Ok(Replica::new(name, temp, link, [primary, standby], conninfo))
    }

    /// Keeps WAL for a standby that is disconnected for a short time.
    fn keeping_wal(&self, options: StartOptions) -> StartOptions {
        let is_new = self.recipe.installation.version().major() >= 13;
        let (name, value) = match is_new {
            true => ("wal_keep_size", "64MB"),
            false => ("wal_keep_segments", "64"),
        };
        match options.value_of(name) {
            Some(_) => options,
            None => options.setting(name, value),
        }
    }

    fn as_standby(&self, name: &str, options: StartOptions, directory: &Utf8Path) -> StartOptions {
        let mut options = AT_LEAST
            .into_iter()
            .fold(options, |options, (name, least)| {
                let given: Option<u64> = options
                    .value_of(name)
                    .and_then(|value| value.trim().parse().ok());
                match given {
                    Some(given) if given < least => options.setting(name, least.to_string()),
                    _ => options,
                }
            });
        if options.value_of("wal_retrieve_retry_interval").is_none() {
            options = options.setting("wal_retrieve_retry_interval", "50ms");
        }
        if self.recipe.installation.version().major() >= 12 {
            options = options
                .setting("primary_conninfo", self.conninfo(name, directory))
                .setting("recovery_target_timeline", "latest");
        }
        options
    }

    /// The address of the link, as a standby of this name uses it.
    fn conninfo(&self, name: &str, directory: &Utf8Path) -> String {
        ConnectionInfo::socket(directory, PORT)
            .with_user(self.recipe.options.superuser())
            .keywords_with(&[("application_name", name)])
    }
}

fn failed(error: ReplicaError) -> Failure {
    Failure::from(TempErrorKind::Replica(Box::new(error)))
}

/// Makes a stopped cluster a standby, of whom its options say, or before PostgreSQL 12 this file.
pub(super) fn make_standby(cluster: &Cluster, conninfo: &str) -> io::Result<()> {
    if cluster.installation().version().major() >= 12 {
        return write(cluster, "standby.signal", b"");
    }
    let mut recovery = Document::parse("");
    let mut set = |name: &str, value: &str| recovery.set(name, value).map(|_| ());
    set("standby_mode", "on")
        .and_then(|()| set("primary_conninfo", conninfo))
        .and_then(|()| set("recovery_target_timeline", "latest"))
        .map_err(io::Error::other)?;
    write(cluster, "recovery.conf", recovery.as_bytes())
}

/// Writes a file of the data directory anew.
pub(super) fn write(cluster: &Cluster, name: &str, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let held = Directory::open(cluster.data_directory())?;
    held.remove(name)?;
    let mut file = held.create_file(name)?;
    if let Some(account) = cluster.account() {
        std::os::unix::fs::fchown(&file, Some(account.uid()), Some(account.gid()))?;
    }
    file.write_all(content)
}

/// Gives a clone what has to be able to change without a restart.
pub(crate) fn apply(shape: Replication, cluster: &Cluster) -> Result<(), TempErrorKind> {
    if shape.synchronous == 0 {
        return Ok(());
    }
    set_synchronous(cluster, shape.synchronous)
        .map_err(|kind| ReplicaError::new("prepare", "the primary", kind))
        .map_err(|error| TempErrorKind::Replica(Box::new(error)))
}

/// Makes a commit wait for this number of standbys.
pub(super) fn set_synchronous(cluster: &Cluster, standbys: usize) -> Result<(), ReplicaErrorKind> {
    let names = match standbys {
        0 => String::new(),
        _ => format!("ANY {standbys} (*)"),
    };
    let written = cluster.settings().set("synchronous_standby_names", names);
    written.map(|_| ()).map_err(ReplicaErrorKind::Settings)
}
