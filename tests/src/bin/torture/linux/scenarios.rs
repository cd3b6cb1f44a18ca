//! All that can be done to a cluster.

use std::process::ExitCode;

use super::rng::Rng;
use super::scene::{Loss, Scene};
use super::{
    crashes, databases, disks, hostile, identity, kills, planted, replicas, rivals, states, temps,
    worlds,
};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The faults, for who asks.
    what: &'static str,
    pub(crate) run: fn(&mut Rng, &Scene) -> Result<(), Loss>,
    /// Whether it fills up a file system of its own, or mounts another one.
    pub(crate) needs_disk: bool,
    /// Whether it is about what root may do.
    pub(crate) needs_root: bool,
}

const fn of(
    name: &'static str,
    what: &'static str,
    run: fn(&mut Rng, &Scene) -> Result<(), Loss>,
) -> Scenario {
    Scenario {
        name,
        what,
        run,
        needs_disk: false,
        needs_root: false,
    }
}

impl Scenario {
    const fn on_a_disk(self) -> Self {
        Self {
            needs_disk: true,
            ..self
        }
    }

    const fn for_root(self) -> Self {
        Self {
            needs_root: true,
            ..self
        }
    }
}

#[rustfmt::skip]
pub(crate) const ALL: [Scenario; 39] = [
    of("kill-init", "SIGKILL during `init`", kills::init),
    of("kill-settings", "SIGKILL of a writer of settings", kills::settings),
    of("kill-start", "SIGKILL of who starts a server", kills::start),
    of("kill-stop", "SIGKILL of who stops a server", kills::stop),
    of("kill-remove", "SIGKILL during `remove`", kills::remove),
    of("kill-temp", "SIGKILL of owners of temporary clusters", temps::owners),
    of("kill-build", "SIGKILL of who builds a template", temps::builders),
    of("kill-shared", "SIGKILL of users of a shared server", temps::shared),
    of("kill-database", "SIGKILL of users of databases", databases::users),
    of("many-databases", "several who take and release databases", databases::many),
    of("kill-states", "SIGKILL during snapshot, restore and branch", states::snapshots),
    of("kill-pool", "SIGKILL of who fills and empties a pool", states::pools),
    of("kill-freezer", "SIGKILL of who freezes, crashes and restarts a server", states::freezers),
    of("kill-owner", "SIGKILL, abort and exit of a server's owner", crashes::owners),
    of("kill-server", "SIGKILL of a server, of its children, of the warden", crashes::servers),
    of("failover", "SIGKILL of primaries and standbys, cut networks", replicas::failovers),
    of("kill-backup", "SIGKILL during a base backup", replicas::backups),
    of("kill-rewind", "SIGKILL during a rewind", replicas::rewinds),
    of("late-start", "a start that is given too little time", crashes::impatience),
    of("full-disk-init", "`init` on a full disk", disks::init).on_a_disk(),
    of("full-disk-settings", "settings on a full disk", disks::settings).on_a_disk(),
    of("full-disk-server", "a server on a full disk", disks::servers).on_a_disk(),
    of("full-disk-temp", "temporary clusters on a full disk", disks::temporary).on_a_disk(),
    of("rival-starters", "several who start a server", rivals::starters),
    of("rival-inits", "several who initialise a directory", rivals::initialisers),
    of("rival-editors", "several who write settings, and are killed", rivals::editors),
    of("reused-pid", "lock files that name another process", identity::reused_numbers),
    of("hostile-files", "files that are not what they should be", hostile::files),
    of("hostile-leftovers", "`init` where odd things are left", hostile::leftovers),
    of("damaged-cache", "templates with damaged files", temps::damaged_caches),
    of("planted-links", "links to root's files in another's directory", planted::links).for_root(),
    of("swapped-links", "links that take a directory's place meanwhile", planted::swaps).for_root(),
    of("bystanders", "processes that look like the server", identity::lookalikes),
    of("early-reload", "SIGHUP during a start and right after it", worlds::reloads),
    of("forked-owner", "an owner that forks, and whose child drops all", worlds::forks),
    of("lost-pid-file", "a lock file that goes under a living server", worlds::lost_files),
    of("container-root", "root with the rights that Docker leaves", worlds::container).for_root(),
    of("no-proc", "no `/proc`", worlds::no_proc).on_a_disk(),
    of("other-program", "a server that another program executes", worlds::other_program),
];

pub(crate) fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

pub(crate) fn list() -> ExitCode {
    for Scenario { name, what, .. } in &ALL {
        println!("{name:<18}  {what}");
    }
    ExitCode::SUCCESS
}
