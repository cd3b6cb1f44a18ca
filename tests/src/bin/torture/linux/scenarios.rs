//! All that can be done to a cluster.

use std::process::ExitCode;

use super::rng::Rng;
use super::scene::{Loss, Scene};
use super::{crashes, disks, hostile, identity, kills, rivals, temps};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The faults, for who asks.
    what: &'static str,
    pub(crate) run: fn(&mut Rng, &Scene) -> Result<(), Loss>,
    /// Whether it fills up a file system of its own.
    pub(crate) needs_disk: bool,
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
    }
}

impl Scenario {
    const fn on_a_disk(self) -> Self {
        Self {
            needs_disk: true,
            ..self
        }
    }
}

#[rustfmt::skip]
pub(crate) const ALL: [Scenario; 22] = [
    of("kill-init", "SIGKILL during `init`", kills::init),
    of("kill-settings", "SIGKILL of a writer of settings", kills::settings),
    of("kill-start", "SIGKILL of who starts a server", kills::start),
    of("kill-stop", "SIGKILL of who stops a server", kills::stop),
    of("kill-remove", "SIGKILL during `remove`", kills::remove),
    of("kill-temp", "SIGKILL of owners of temporary clusters", temps::owners),
    of("kill-build", "SIGKILL of who builds a template", temps::builders),
    of("kill-shared", "SIGKILL of users of a shared server", temps::shared),
    of("kill-owner", "SIGKILL, abort and exit of a server's owner", crashes::owners),
    of("kill-server", "SIGKILL of a server, of its children, of the warden", crashes::servers),
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
