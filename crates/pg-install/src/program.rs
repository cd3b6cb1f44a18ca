//! The programs of an installation.

use std::fmt;
use std::str::FromStr;

use crate::major::MajorVersion;
use crate::name::{self, ParseNameError};

/// A program that PostgreSQL installs, or installed in the past.
///
/// [`exists_in`](Self::exists_in) returns whether a major version has it, according to PostgreSQL's
/// release notes.
///
/// ```
/// use pg_install::{Component, MajorVersion, Program};
///
/// let program: Program = "pg_waldump".parse()?;
/// assert!(program.exists_in(MajorVersion::new(10)));
/// assert!(!program.exists_in(MajorVersion::of(9, 6)));
/// assert_eq!(Program::PgDump.name(), "pg_dump");
/// assert_eq!(Program::PgDump.component(), Component::Client);
/// assert!(Program::all().any(|program| program == Program::Initdb));
/// # Ok::<(), pg_install::ParseNameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Program {
    /// `pg_config`: reports how PostgreSQL was built and where it was installed.
    PgConfig,
    /// `psql`: the interactive terminal.
    Psql,
    /// `initdb`: creates a data directory.
    Initdb,
    /// `pg_resetxlog`: resets the write-ahead log. The old name of `pg_resetwal`. Up to 9.6.
    PgResetxlog,
    /// `pg_resetwal`: resets the write-ahead log. Since 10.
    PgResetwal,
    /// `pg_controldata`: shows the control file of a data directory.
    PgControldata,
    /// `clusterdb`: clusters tables.
    Clusterdb,
    /// `pg_ctl`: starts, stops and reloads servers.
    PgCtl,
    /// `pg_dump`: dumps a database.
    PgDump,
    /// `pg_dumpall`: dumps all databases.
    PgDumpall,
    /// `postgres`: the server.
    Postgres,
    /// `postmaster`: the server, by a name that is deprecated since 8.2. Up to 15.
    Postmaster,
    /// `reindexdb`: rebuilds indexes.
    Reindexdb,
    /// `vacuumdb`: vacuums and analyzes databases.
    Vacuumdb,
    /// `ipcclean`: removed shared memory left behind by a crashed server. Up to 8.3.
    Ipcclean,
    /// `createdb`: creates a database.
    Createdb,
    /// `ecpg`: the preprocessor for SQL in C.
    Ecpg,
    /// `createuser`: creates a role.
    Createuser,
    /// `createlang`: installed a procedural language. Up to 9.6.
    Createlang,
    /// `droplang`: removed a procedural language. Up to 9.6.
    Droplang,
    /// `dropuser`: removes a role.
    Dropuser,
    /// `pg_restore`: restores a dump.
    PgRestore,
    /// `pg_basebackup`: copies a running cluster. Since 9.1.
    PgBasebackup,
    /// `pg_rewind`: synchronizes a data directory with one from which it has diverged. Since 9.5.
    PgRewind,
    /// `pg_upgrade`: moves a cluster to a new major version. Since 9.0.
    PgUpgrade,
    /// `pg_isready`: checks whether a server accepts connections. Since 9.3.
    PgIsready,
    /// `pg_checksums`: checks, enables or disables data checksums. Since 12.
    PgChecksums,
    /// `pg_waldump`: shows the write-ahead log. Since 10.
    PgWaldump,
    /// `pg_verifybackup`: checks a base backup against its manifest. Since 13.
    PgVerifybackup,
    /// `pg_combinebackup`: joins incremental backups. Since 17.
    PgCombinebackup,
    /// `pg_receivewal`: streams the write-ahead log to files. Since 10.
    PgReceivewal,
    /// `pg_recvlogical`: streams logical decoding output. Since 9.4.
    PgRecvlogical,
    /// `pg_amcheck`: checks tables and indexes for corruption. Since 14.
    PgAmcheck,
    /// `pg_createsubscriber`: turns a standby into a logical replica. Since 17.
    PgCreatesubscriber,
    /// `pg_walsummary`: shows summaries of the write-ahead log. Since 17.
    PgWalsummary,
    /// `pg_archivecleanup`: removes archived log files no longer needed. Since 9.0.
    PgArchivecleanup,
    /// `pg_test_fsync`: measures the methods of flushing to disk. Since 9.1.
    PgTestFsync,
    /// `pg_test_timing`: measures the cost of reading the clock. Since 9.2.
    PgTestTiming,
    /// `pgbench`: runs benchmarks.
    Pgbench,
    /// `dropdb`: removes a database.
    Dropdb,
    /// `oid2name`: resolves object numbers and file names.
    Oid2name,
    /// `vacuumlo`: removes orphaned large objects.
    Vacuumlo,
}

/// The kind of package that contains a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Component {
    /// Programs that run on the machine of the server: `postgresql-16` on Debian,
    /// `postgresql16-server` on Red Hat.
    Server,
    /// Programs that connect to servers: `postgresql-client-16`, `postgresql16`.
    Client,
    /// Additional programs, packaged with the extensions or with the client.
    Contrib,
    /// Programs for building software that uses PostgreSQL: `postgresql-server-dev-16`,
    /// `postgresql16-devel`.
    Development,
}

struct Row {
    program: Program,
    name: &'static str,
    first: Option<MajorVersion>,
    last: Option<MajorVersion>,
    component: Component,
}

const fn row(
    program: Program,
    name: &'static str,
    first: Option<MajorVersion>,
    last: Option<MajorVersion>,
    component: Component,
) -> Row {
    Row {
        program,
        name,
        first,
        last,
        component,
    }
}

/// The programs in the order of the enumeration, on which [`Program::row`] relies.
#[rustfmt::skip]
const ROWS: [Row; 42] = {
    use Component::{Client, Contrib, Development, Server};
    use Program as P;
    const fn v(number: u16) -> Option<MajorVersion> { Some(MajorVersion::new(number)) }
    const fn old(first: u16, second: u16) -> Option<MajorVersion> {
        Some(MajorVersion::of(first, second))
    }
    [
        row(P::PgConfig, "pg_config", None, None, Development),
        row(P::Psql, "psql", None, None, Client),
        row(P::Initdb, "initdb", None, None, Server),
        row(P::PgResetxlog, "pg_resetxlog", None, old(9, 6), Server),
        row(P::PgResetwal, "pg_resetwal", v(10), None, Server),
        row(P::PgControldata, "pg_controldata", None, None, Server),
        row(P::Clusterdb, "clusterdb", None, None, Client),
        row(P::PgCtl, "pg_ctl", None, None, Server),
        row(P::PgDump, "pg_dump", None, None, Client),
        row(P::PgDumpall, "pg_dumpall", None, None, Client),
        row(P::Postgres, "postgres", None, None, Server),
        row(P::Postmaster, "postmaster", None, v(15), Server),
        row(P::Reindexdb, "reindexdb", None, None, Client),
        row(P::Vacuumdb, "vacuumdb", None, None, Client),
        row(P::Ipcclean, "ipcclean", None, old(8, 3), Server),
        row(P::Createdb, "createdb", None, None, Client),
        row(P::Ecpg, "ecpg", None, None, Development),
        row(P::Createuser, "createuser", None, None, Client),
        row(P::Createlang, "createlang", None, old(9, 6), Client),
        row(P::Droplang, "droplang", None, old(9, 6), Client),
        row(P::Dropuser, "dropuser", None, None, Client),
        row(P::PgRestore, "pg_restore", None, None, Client),
        row(P::PgBasebackup, "pg_basebackup", old(9, 1), None, Client),
        row(P::PgRewind, "pg_rewind", old(9, 5), None, Server),
        row(P::PgUpgrade, "pg_upgrade", old(9, 0), None, Server),
        row(P::PgIsready, "pg_isready", old(9, 3), None, Client),
        row(P::PgChecksums, "pg_checksums", v(12), None, Server),
        row(P::PgWaldump, "pg_waldump", v(10), None, Server),
        row(P::PgVerifybackup, "pg_verifybackup", v(13), None, Client),
        row(P::PgCombinebackup, "pg_combinebackup", v(17), None, Client),
        row(P::PgReceivewal, "pg_receivewal", v(10), None, Client),
        row(P::PgRecvlogical, "pg_recvlogical", old(9, 4), None, Client),
        row(P::PgAmcheck, "pg_amcheck", v(14), None, Client),
        row(P::PgCreatesubscriber, "pg_createsubscriber", v(17), None, Server),
        row(P::PgWalsummary, "pg_walsummary", v(17), None, Server),
        row(P::PgArchivecleanup, "pg_archivecleanup", old(9, 0), None, Server),
        row(P::PgTestFsync, "pg_test_fsync", old(9, 1), None, Server),
        row(P::PgTestTiming, "pg_test_timing", old(9, 2), None, Server),
        row(P::Pgbench, "pgbench", None, None, Client),
        row(P::Dropdb, "dropdb", None, None, Client),
        row(P::Oid2name, "oid2name", None, None, Contrib),
        row(P::Vacuumlo, "vacuumlo", None, None, Contrib),
    ]
};

impl Program {
    /// All programs, in the order of their declaration.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        ROWS.iter().map(|row| row.program)
    }

    /// The file name of the program in the `bin` directory.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns whether PostgreSQL of this major version contains the program.
    ///
    /// Programs that are older than 9.0 are treated as always present.
    pub fn exists_in(self, major: MajorVersion) -> bool {
        let row = self.row();
        row.first.is_none_or(|first| first <= major) && row.last.is_none_or(|last| major <= last)
    }

    /// The kind of package that contains the program.
    ///
    /// Distributions differ in details. The result is correct for most of them.
    pub fn component(self) -> Component {
        self.row().component
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    fn row(self) -> &'static Row {
        &ROWS[self.index()]
    }
}

/// Writes the file name: `pg_ctl`.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Parses the file name: `pg_ctl`.
impl FromStr for Program {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        name::parse(text, "a program", Self::all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_at_its_row() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.program.index(), index, "{}", row.name);
        }
    }
}
