//! The installed servers of this machine, as pg-install finds them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use pg_install::{Discovery, Installation, Program};

use super::fetch::{Origin, Server};

/// Returns all installed servers in the order of the search. Servers that a variable names are
/// first.
pub(crate) fn installed() -> Vec<Server> {
    let mut seen = BTreeSet::new();
    // Installations that cannot be examined are skipped.
    let found = Discovery::new().all().into_iter().flatten();
    let servers = found.filter_map(|found| {
        let server = server(found.installation())?;
        // PATH often leads to an installation through a link.
        let postgres = server.bin.join("postgres").canonicalize_utf8().ok()?;
        seen.insert(postgres).then_some(server)
    });
    servers.collect()
}

/// Returns the server whose programs are in this directory.
pub(crate) fn in_directory(bin: &Utf8Path) -> Result<Server> {
    let installation = Installation::from_bin_directory(bin)?;
    server(&installation).with_context(|| format!("{bin} has no postgres or no initdb"))
}

fn server(installation: &Installation) -> Option<Server> {
    let postgres = installation.program(Program::Postgres)?;
    installation.program(Program::Initdb)?;
    let version = installation.version();
    Some(Server {
        bin: postgres.parent()?.to_owned(),
        version: format!("{}.{}", version.major(), version.minor()),
        origin: Origin::Installed,
    })
}
