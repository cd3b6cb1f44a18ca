//! A primary and its standbys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pg_cluster::{ControlError, RewindOptions, StopPlan};

use super::error::{ReplicaError, ReplicaErrorKind};
use super::launch::{STREAMING, set_synchronous};
use super::replica::Replica;

/// A primary and its standbys for a test; from
/// [`TempClusterBuilder::standbys`](crate::TempClusterBuilder::standbys).
///
/// # Cleanup
///
/// Each member is removed like a [`TempCluster`](crate::TempCluster). Dropping the value cuts the
/// connections between them, and ends the standbys before the primary.
#[derive(Debug)]
pub struct ReplicaSet {
    members: Vec<Replica>,
    primary: AtomicUsize,
    synchronous: usize,
}

/// The time limit of a promotion.
const PROMOTION: Duration = Duration::from_secs(60);

impl ReplicaSet {
    pub(super) fn new(members: Vec<Replica>, synchronous: usize) -> Self {
        Self {
            members,
            primary: AtomicUsize::new(0),
            synchronous,
        }
    }

    /// The member that is the primary: the one that was [promoted](Self::promote) last.
    pub fn primary(&self) -> &Replica {
        let primary = self.primary.load(Ordering::Acquire);
        &self.members[primary]
    }

    /// All other members, in the order in which they were started. A primary that was replaced is
    /// among them.
    pub fn standbys(&self) -> impl Iterator<Item = &Replica> {
        let primary = self.primary.load(Ordering::Acquire);
        let members = self.members.iter().enumerate();
        members
            .filter(move |(index, _)| *index != primary)
            .map(|(_, member)| member)
    }

    /// All members, in the order in which they were started. The order never changes.
    pub fn members(&self) -> &[Replica] {
        &self.members
    }

    /// Promotes this standby and attaches the standbys of the former primary to it. Returns when it
    /// accepts writes and all running standbys that are not [disconnected](Replica::disconnect)
    /// stream from it.
    ///
    /// The former primary is not changed: it may be killed, stopped, or still running as a primary.
    /// [`rejoin`](Self::rejoin) makes it a standby. The caller chooses the standby to promote;
    /// [`Replica::lsn`] shows which one has replayed the most.
    ///
    /// # Errors
    ///
    /// If the member is not a standby, does not become a primary, or another one does not follow.
    pub fn promote(&self, standby: &Replica) -> Result<(), ReplicaError> {
        let failed = |kind| standby.error("promote", kind);
        let control = |error: ControlError| failed(ReplicaErrorKind::Control(error));
        let old = self.primary.load(Ordering::Acquire);
        let position = self.position(standby).filter(|&position| position != old);
        let new = position.ok_or_else(|| failed(ReplicaErrorKind::NotAStandby))?;
        let others = || {
            let members = self.members.iter().enumerate();
            members
                .filter(move |(index, _)| ![old, new].contains(index))
                .map(|(_, member)| member)
        };
        // A commit would wait for standbys that are no more.
        self.require_synchronous(standby, others().filter(|other| is_running(other)).count())?;
        standby.cluster().promote().map_err(control)?;
        let promoted = standby.cluster().wait_until_promoted(PROMOTION);
        promoted.map_err(control)?;
        self.primary.store(new, Ordering::Release);
        let former = self.members.get(old);
        for other in others() {
            if former.is_some_and(|former| other.follows(former)) {
                other.follow(standby);
            }
        }
        for other in others().filter(|other| is_running(other) && !other.is_disconnected()) {
            other.wait_streaming(STREAMING)?;
        }
        Ok(())
    }

    /// Takes a former primary back as a standby of the present one: `pg_rewind` removes the changes
    /// that only it has. Its server is stopped first, and streams when this returns.
    ///
    /// # Errors
    ///
    /// Fails if the member is the primary, if the installation does not contain `pg_rewind`, if
    /// `pg_rewind` fails, or if the server does not start and follow.
    pub fn rejoin(&self, member: &Replica) -> Result<(), ReplicaError> {
        let failed = |kind| member.error("rejoin", kind);
        let primary = self.primary();
        match self.position(member) {
            None => return Err(failed(ReplicaErrorKind::NotAStandby)),
            Some(_) if std::ptr::eq(member, primary) => {
                return Err(failed(ReplicaErrorKind::Primary));
            }
            Some(_) => {}
        }
        // Its standbys may be gone, for which an orderly shutdown waits.
        member.stop(&StopPlan::escalating())?;
        let address = primary.connection_info().clone().with_database("postgres");
        let rewound = member.cluster().rewind_to(&address, &RewindOptions::new());
        rewound.map_err(|error| failed(ReplicaErrorKind::Replication(error)))?;
        self.require_synchronous(member, 0)?;
        member.follow(primary);
        member.start_as_standby()?;
        let following = self
            .standbys()
            .filter(|standby| is_running(standby))
            .count();
        self.require_synchronous(primary, following)
    }

    /// Has commits of this member wait for as many standbys as the set asks for and there are.
    fn require_synchronous(&self, member: &Replica, present: usize) -> Result<(), ReplicaError> {
        if self.synchronous == 0 {
            return Ok(());
        }
        let failed = |kind| member.error("change the synchronous standbys of", kind);
        set_synchronous(member.cluster(), self.synchronous.min(present)).map_err(&failed)?;
        if is_running(member) {
            let reloaded = member.cluster().reload();
            reloaded.map_err(|error| failed(ReplicaErrorKind::Control(error)))?;
        }
        Ok(())
    }

    fn position(&self, member: &Replica) -> Option<usize> {
        self.members
            .iter()
            .position(|found| std::ptr::eq(found, member))
    }
}

fn is_running(member: &Replica) -> bool {
    member.cluster().is_running().unwrap_or(false)
}

impl Drop for ReplicaSet {
    fn drop(&mut self) {
        let primary = self.primary.load(Ordering::Acquire);
        let last = (primary < self.members.len()).then(|| self.members.swap_remove(primary));
        self.members.clear();
        drop(last);
    }
}
