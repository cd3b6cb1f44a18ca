//! Servers that are installed on this machine, as pg-install finds them.

use std::collections::BTreeSet;

use pg_install::{Discovery, Program};

use super::fetch::{Origin, Server};

/// Every installed server, in the order in which it was found: what was asked for by a variable
/// comes first.
pub(crate) fn installed() -> Vec<Server> {
    let mut seen = BTreeSet::new();
    // What is broken is no server to test with; `pg-install` tells of it where it was asked for.
    let found = Discovery::new().all().into_iter().flatten();
    let servers = found.filter_map(|found| {
        let installation = found.installation();
        let postgres = installation.program(Program::Postgres)?;
        installation.program(Program::Initdb)?;
        let version = installation.version();
        let server = Server {
            bin: postgres.parent()?.to_owned(),
            version: format!("{}.{}", version.major(), version.minor()),
            origin: Origin::Installed,
        };
        // PATH often leads to an installation by a link.
        seen.insert(postgres.canonicalize_utf8().ok()?)
            .then_some(server)
    });
    servers.collect()
}
