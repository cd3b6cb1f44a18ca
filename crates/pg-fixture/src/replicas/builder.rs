//! The options of a primary and its standbys.

use crate::builder::TempClusterBuilder;
use crate::error::{TempError, TempErrorKind};
use crate::replicas::set::ReplicaSet;

/// The options of a primary and its standbys; from
/// [`TempClusterBuilder::standbys`].
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `start`"]
pub struct ReplicaSetBuilder {
    builder: TempClusterBuilder,
    replication: Replication,
}

/// The shape of a set of servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replication {
    pub(crate) standbys: usize,
    /// The number of standbys that must have a commit before it is acknowledged.
    pub(crate) synchronous: usize,
    /// True if each standby follows the one before.
    pub(crate) is_chain: bool,
}

/// Settings of all members; the caller's own win.
///
/// `pg_rewind` needs `wal_log_hints` (or checksums) and `full_page_writes`. A commit that is not
/// written would not reach a standby for up to `wal_writer_delay`; with `fsync` off the write costs
/// nothing.
const SETTINGS: [(&str, &str); 3] = [
    ("wal_log_hints", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
];

/// More standbys than `max_wal_senders` and `max_connections` allow would never connect.
const MOST: usize = 8;

impl TempClusterBuilder {
    /// Adds the given number of hot standbys, up to eight, which stream from this cluster.
    /// [`start`](ReplicaSetBuilder::start) then returns a [`ReplicaSet`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use pg_fixture::TempCluster;
    ///
    /// let set = TempCluster::builder().standbys(2).start()?;
    /// // ... write to set.primary().uri() ...
    /// let written = set.primary().lsn()?;
    /// for standby in set.standbys() {
    ///     standby.wait_for(written, Duration::from_secs(10))?;
    ///     // ... read from standby.uri() ...
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn standbys(self, standbys: usize) -> ReplicaSetBuilder {
        ReplicaSetBuilder {
            builder: self,
            replication: Replication {
                standbys,
                synchronous: 0,
                is_chain: false,
            },
        }
    }

    /// Writes what logical replication needs into the log (`wal_level = logical`). Publications,
    /// subscriptions and slots are SQL of the caller's; a subscription's connection string is
    /// [`TempCluster::keywords`](crate::TempCluster::keywords) of the publisher.
    pub fn logical_replication(self) -> Self {
        self.setting("wal_level", "logical")
    }
}

impl ReplicaSetBuilder {
    /// Acknowledges a commit when this number of standbys have replayed it:
    /// `synchronous_standby_names = 'ANY n (*)'` and `synchronous_commit = remote_apply`. If fewer
    /// standbys follow after a promotion, only those are required.
    pub fn synchronous(mut self, standbys: usize) -> Self {
        self.replication.synchronous = standbys;
        self
    }

    /// Has each standby follow the one before, in place of the primary.
    pub fn cascading(mut self) -> Self {
        self.replication.is_chain = true;
        self
    }

    /// Makes the clusters, starts the servers, and returns when all standbys accept queries and
    /// stream.
    ///
    /// # Errors
    ///
    /// Fails as [`TempClusterBuilder::start`] does; if a password, detached ownership or more than
    /// eight standbys are requested; or if a standby does not follow within a minute. All members
    /// are removed then.
    pub fn start(&self) -> Result<ReplicaSet, TempError> {
        Ok(self.make()?)
    }

    fn make(&self) -> Result<ReplicaSet, TempErrorKind> {
        let Replication {
            standbys,
            synchronous,
            ..
        } = self.replication;
        let refuse = |problem: &str| Err(TempErrorKind::Option(problem.to_owned()));
        if !(1..=MOST).contains(&standbys) {
            return refuse("a replica set has one to eight standbys");
        }
        if synchronous > standbys {
            return refuse("more synchronous standbys are required than there are standbys");
        }
        if self.builder.init.superuser_password().is_some() || self.builder.is_detached() {
            return refuse("a replica set has no password, and is not detached");
        }
        let mut builder = self.builder.clone();
        builder.replication = Some(self.replication);
        let is_given = |name: &str| {
            let given = self.builder.settings.iter();
            given
                .rev()
                .any(|(given, _)| given.eq_ignore_ascii_case(name))
        };
        let ours = SETTINGS
            .into_iter()
            .map(|(name, value)| match (name, synchronous) {
                ("synchronous_commit", 1..) => (name, "remote_apply"),
                _ => (name, value),
            })
            .filter(|(name, _)| !is_given(name));
        let ours: Vec<(String, String)> = ours
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        builder.settings.splice(0..0, ours);
        let plan = builder.plan()?;
        plan.launch_set(self.replication)
    }
}
