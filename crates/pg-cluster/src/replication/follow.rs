//! The files that make a data directory a standby.
//!
//! From PostgreSQL 12 on these are `standby.signal` and settings in `postgresql.auto.conf`; before,
//! `recovery.conf`. `pg_basebackup --write-recovery-conf` writes the same, and the password with it
//! into a file that every superuser of the database can read.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};

use camino::Utf8Path;
use pg_proc::{ConnectionInfo, Directory};
use pgconf_parse::{Document, EditError, Removal};

/// The file with the password, below the data directory. libpq ignores such a file if other users
/// can read it.
pub(super) const PASSFILE: &str = "pg_passfile";
/// A standby has this file from PostgreSQL 12 on.
pub(super) const STANDBY_SIGNAL: &str = "standby.signal";
/// A server that recovers to a target has this one.
pub(super) const RECOVERY_SIGNAL: &str = "recovery.signal";
/// Before PostgreSQL 12 either has this one.
pub(super) const RECOVERY_CONF: &str = "recovery.conf";
pub(super) const AUTO_CONF: &str = "postgresql.auto.conf";
/// The longest file that is read here.
const LONGEST: u64 = 16 << 20;

/// Whom a standby follows, and as whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follow<'a> {
    pub(super) upstream: &'a ConnectionInfo,
    pub(super) application_name: Option<&'a str>,
    pub(super) slot: Option<&'a str>,
}

impl Follow<'_> {
    /// The keyword string of a connection to the other server, without the password: that is in the
    /// passfile of this data directory.
    pub(super) fn conninfo(&self, data_directory: &Utf8Path, timeout: &str) -> String {
        let passfile = data_directory.join(PASSFILE);
        let mut more = Vec::new();
        if self.upstream.password().is_some() {
            more.push(("passfile", passfile.as_str()));
        }
        more.extend(self.application_name.map(|name| ("application_name", name)));
        if !timeout.is_empty() {
            more.push(("connect_timeout", timeout));
        }
        self.upstream.keywords_with(&more)
    }

    /// The reason why the address cannot be used.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let broken = |text: &str| text.contains(['\n', '\r', '\0']);
        let password = self.upstream.password();
        let words = [self.application_name, self.slot, self.upstream.user()];
        if !self.upstream.is_expressible() {
            Some("libpq cannot name the socket directory of the other server")
        } else if password.is_some_and(|password| password.is_empty() || broken(password)) {
            Some("the password is empty or holds a line break or NUL, and a passfile has lines")
        } else if words.into_iter().flatten().any(broken) {
            Some("the name of a user, a slot or an application holds a line break or NUL")
        } else {
            None
        }
    }

    /// Writes the passfile, or removes the one of an earlier standby.
    pub(super) fn write_passfile(&self, into: &Directory) -> io::Result<()> {
        match self.upstream.password() {
            Some(password) => {
                let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
                write(into, PASSFILE, format!("*:*:*:*:{escaped}\n").as_bytes())
            }
            None => into.remove(PASSFILE),
        }
    }

    /// Makes the server of this directory a standby at its next start. `data_directory` is the path
    /// that the directory will have then.
    pub(super) fn write(
        &self,
        into: &Directory,
        data_directory: &Utf8Path,
        major: u16,
    ) -> io::Result<()> {
        self.write_passfile(into)?;
        let conninfo = self.conninfo(data_directory, "");
        if major < 12 {
            let mut recovery = Document::parse("");
            self.set(&mut recovery, &conninfo)
                .and_then(|()| recovery.set("standby_mode", true).map(|_| ()))
                .and_then(|()| {
                    recovery
                        .set("recovery_target_timeline", "latest")
                        .map(|_| ())
                })
                .map_err(io::Error::other)?;
            into.remove("recovery.done")?;
            return write(into, RECOVERY_CONF, recovery.as_bytes());
        }
        let mut settings = Document::parse(read(into, AUTO_CONF)?.unwrap_or_default());
        self.set(&mut settings, &conninfo)
            .map_err(io::Error::other)?;
        write(into, AUTO_CONF, settings.as_bytes())?;
        into.remove(RECOVERY_SIGNAL)?;
        write(into, STANDBY_SIGNAL, b"")
    }

    fn set(&self, settings: &mut Document, conninfo: &str) -> Result<(), EditError> {
        settings.set("primary_conninfo", conninfo)?;
        match self.slot {
            Some(slot) => {
                settings.set("primary_slot_name", slot)?;
            }
            None => {
                settings.remove("primary_slot_name", Removal::Delete);
            }
        }
        Ok(())
    }
}

/// The content of a file; none if the file does not exist.
pub(super) fn read(directory: &Directory, name: &str) -> io::Result<Option<Vec<u8>>> {
    match directory.open_file(name) {
        Ok(file) => pg_proc::read_all(&file, LONGEST).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file anew, for the owner of the directory alone.
pub(super) fn write(directory: &Directory, name: &str, content: &[u8]) -> io::Result<()> {
    directory.remove(name)?;
    let mut file = directory.create_file(name)?;
    let (owner, made) = (directory.as_file().metadata()?, file.metadata()?);
    if (owner.uid(), owner.gid()) != (made.uid(), made.gid()) {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.write_all(content)?;
    file.sync_all()
}
