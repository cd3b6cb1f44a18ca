//! A standby from a base backup.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{MajorVersion, Program, Version};
use pg_proc::{BackupProgress, ConnectionInfo};

use super::follow::{Follow, PASSFILE};
use super::{ReplicationError, ReplicationErrorKind};
use crate::init::hold_guard;
use crate::{Cluster, Durability, InitError, InitErrorKind};

/// The files themselves, beside the passfile, in the subdirectory in which the data directory is
/// made.
const FILES: &str = "files";
/// The longest time in which the other server may respond, in seconds.
const CONNECT_TIMEOUT: &str = "10";
/// `--max-rate` in kilobytes (`parse_max_rate` in src/bin/pg_basebackup/pg_basebackup.c).
const RATES: std::ops::RangeInclusive<u64> = 32..=1_048_576;

type OnProgress = Arc<dyn Fn(BackupProgress) + Send + Sync>;

/// The options for a new standby. By default `pg_basebackup` requests a fast checkpoint, streams
/// the WAL through a temporary slot, and may take an hour. By default the standby does not use a
/// slot.
///
/// ```
/// use pg_cluster::BaseBackupOptions;
///
/// let options = BaseBackupOptions::new()
///     .application_name("berlin")
///     .create_slot("berlin")
///     .on_progress(|progress| println!("{} of {}", progress.copied, progress.total));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct BaseBackupOptions {
    application_name: Option<String>,
    slot: Option<String>,
    create_slot: bool,
    spread_checkpoint: bool,
    compression: Option<BackupCompression>,
    tablespaces: Vec<(Utf8PathBuf, Utf8PathBuf)>,
    kilobytes_per_second: Option<u64>,
    durability: Durability,
    on_progress: Option<OnProgress>,
    timeout: Duration,
}

/// The compression of a base backup during the transfer: PostgreSQL 15 and later, if both
/// installations were built with the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackupCompression {
    /// `gzip`.
    Gzip,
    /// `lz4`.
    Lz4,
    /// `zstd`.
    Zstd,
}

impl BaseBackupOptions {
    /// The defaults, as described above.
    pub fn new() -> Self {
        Self {
            application_name: None,
            slot: None,
            create_slot: false,
            spread_checkpoint: false,
            compression: None,
            tablespaces: Vec::new(),
            kilobytes_per_second: None,
            durability: Durability::Synced,
            on_progress: None,
            timeout: Duration::from_secs(3600),
        }
    }

    /// The name of the standby at the primary, in `pg_stat_replication` and in
    /// `synchronous_standby_names`. The default is `cluster_name`, or `walreceiver` if that is not
    /// set.
    #[must_use]
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = Some(name.into());
        self
    }

    /// An existing physical replication slot, for the base backup and for the standby. It keeps the
    /// WAL that the standby needs, for as long as the slot exists.
    #[must_use]
    pub fn slot(mut self, name: impl Into<String>) -> Self {
        self.slot = Some(name.into());
        self.create_slot = false;
        self
    }

    /// Like [`slot`](Self::slot), for a new slot, which `pg_basebackup` creates (PostgreSQL 11 and
    /// later). If the base backup fails after that, the slot stays.
    #[must_use]
    pub fn create_slot(mut self, name: impl Into<String>) -> Self {
        self.slot = Some(name.into());
        self.create_slot = true;
        self
    }

    /// Waits for a checkpoint that is spread over minutes, which disturbs the other server less.
    #[must_use]
    pub fn spread_checkpoint(mut self) -> Self {
        self.spread_checkpoint = true;
        self
    }

    /// Has the other server compress the files on the way: for slow networks.
    #[must_use]
    pub fn compression(mut self, compression: BackupCompression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Puts the tablespace that the other server has in the first directory into the second one, an
    /// empty or new one. Both are absolute paths. On the same machine each tablespace needs that.
    #[must_use]
    pub fn tablespace(
        mut self,
        theirs: impl Into<Utf8PathBuf>,
        ours: impl Into<Utf8PathBuf>,
    ) -> Self {
        self.tablespaces.push((theirs.into(), ours.into()));
        self
    }

    /// Limits the transfer rate, in kilobytes per second, from 32 to 1,048,576.
    #[must_use]
    pub fn max_rate(mut self, kilobytes_per_second: u64) -> Self {
        self.kilobytes_per_second = Some(kilobytes_per_second);
        self
    }

    /// Sets whether `pg_basebackup` waits until all files are on disk.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Is called with the progress, about once a second and at the end, in the calling thread.
    #[must_use]
    pub fn on_progress(mut self, call: impl Fn(BackupProgress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(call));
        self
    }

    /// The time after which `pg_basebackup` is stopped; an hour by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn follow<'a>(&'a self, upstream: &'a ConnectionInfo) -> Follow<'a> {
        Follow {
            upstream,
            application_name: self.application_name.as_deref(),
            slot: self.slot.as_deref(),
        }
    }

    fn check(&self, upstream: &ConnectionInfo, version: &Version) -> Result<(), InitErrorKind> {
        if let Some(problem) = self.follow(upstream).problem() {
            return Err(InitErrorKind::Option(problem));
        }
        let is_relative = |(theirs, ours): &(Utf8PathBuf, Utf8PathBuf)| {
            !theirs.is_absolute() || !ours.is_absolute()
        };
        if self.tablespaces.iter().any(is_relative) {
            let problem = "the path of the directory of a tablespace is not absolute";
            return Err(InitErrorKind::Option(problem));
        }
        if self
            .kilobytes_per_second
            .is_some_and(|rate| !RATES.contains(&rate))
        {
            let problem = "the rate is not between 32 and 1048576 kilobytes a second";
            return Err(InitErrorKind::Option(problem));
        }
        let needed = [
            (self.create_slot, 11, "--create-slot"),
            (self.compression.is_some(), 15, "--compress=server-..."),
        ];
        for (is_used, since, option) in needed {
            let since = MajorVersion::new(since);
            if is_used && version.major_version() < since {
                let version = version.clone();
                return Err(InitErrorKind::Unsupported {
                    option,
                    since,
                    version,
                });
            }
        }
        Ok(())
    }

    /// The arguments of `pg_basebackup`. None of them is secret.
    fn arguments(&self, conninfo: &str, target: &Utf8Path) -> Vec<String> {
        let mut arguments = vec![
            format!("--dbname={conninfo}"),
            format!("--pgdata={target}"),
            "--no-password".to_owned(),
            "--wal-method=stream".to_owned(),
        ];
        let mut add = |argument: String| arguments.push(argument);
        if !self.spread_checkpoint {
            add("--checkpoint=fast".to_owned());
        }
        if let Some(slot) = &self.slot {
            add(format!("--slot={slot}"));
        }
        if self.create_slot {
            add("--create-slot".to_owned());
        }
        if let Some(compression) = self.compression {
            add(format!("--compress=server-{}", compression.as_str()));
        }
        for (theirs, ours) in &self.tablespaces {
            let escaped = |path: &Utf8Path| path.as_str().replace('=', "\\=");
            add(format!(
                "--tablespace-mapping={}={}",
                escaped(theirs),
                escaped(ours)
            ));
        }
        if let Some(rate) = self.kilobytes_per_second {
            add(format!("--max-rate={rate}"));
        }
        if self.durability == Durability::NotSynced {
            add("--no-sync".to_owned());
        }
        if self.on_progress.is_some() {
            add("--progress".to_owned());
        }
        arguments
    }
}

impl Default for BaseBackupOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BaseBackupOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseBackupOptions")
            .field("application_name", &self.application_name)
            .field("slot", &self.slot)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl BackupCompression {
    fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl Cluster {
    /// Makes the data directory a copy of the running server at this address, with `pg_basebackup`,
    /// and a standby of that server. Returns when it is complete; [`start`](Self::start) can
    /// follow.
    ///
    /// The other server may be a primary or a standby, and needs the same major version. The user
    /// needs the attribute REPLICATION and a rule for `replication` in `pg_hba.conf`. A password is
    /// written to the file `pg_passfile` in the data directory, with mode 0600, and nowhere else.
    /// The standby reads it there whenever it connects.
    ///
    /// ```no_run
    /// # use pg_cluster::{BaseBackupOptions, Cluster, ConnectionInfo, StartOptions};
    /// # fn example(standby: &Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// let primary = ConnectionInfo::tcp("db1.example.com", 5432)
    ///     .with_user("replicator")
    ///     .with_password("s3cret");
    /// standby.init_standby_of(&primary, &BaseBackupOptions::new().create_slot("db2"))?;
    /// standby.start(&StartOptions::new())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// DIFFERENCE: `pg_basebackup --write-recovery-conf` writes the password into
    /// `postgresql.auto.conf`.
    ///
    /// # Errors
    ///
    /// Fails as [`init`](Self::init) does, and if the other server cannot be reached, rejects the
    /// connection or has another major version. The data directory and the directories of
    /// tablespaces are then as they were before. A slot that was created stays.
    ///
    /// # Cleanup
    ///
    /// The same as for [`init`](Self::init).
    pub fn init_standby_of(
        &self,
        upstream: &ConnectionInfo,
        options: &BaseBackupOptions,
    ) -> Result<(), InitError> {
        let failed = |kind| InitError::new(self.data_directory(), kind);
        let version = self.installation().version();
        options.check(upstream, version).map_err(failed)?;
        let command = self
            .english_command(Program::PgBasebackup)
            .map_err(|error| failed(InitErrorKind::MissingProgram(error)))?;
        let outside: Vec<&Utf8Path> = options
            .tablespaces
            .iter()
            .map(|(_, ours)| ours.as_path())
            .collect();
        let follow = options.follow(upstream);
        self.make_directory(&outside, |new| {
            let held = new.open_stage().map_err(InitErrorKind::Directory)?;
            follow
                .write_passfile(&held)
                .map_err(InitErrorKind::Directory)?;
            let stage = new.stage();
            let conninfo = follow.conninfo(&stage, CONNECT_TIMEOUT);
            let command = command.args(options.arguments(&conninfo, &stage.join(FILES)));
            let report = |line: &str| {
                if let (Some(call), Some(progress)) =
                    (&options.on_progress, BackupProgress::parse(line))
                {
                    call(progress);
                }
            };
            hold_guard(command, new)
                .run_watched(options.timeout, report)
                .map_err(InitErrorKind::BaseBackup)?;
            // A newer `pg_basebackup` copies older servers.
            let made = MajorVersion::from_pg_version_file(stage.join(FILES).join("PG_VERSION"));
            match made {
                Ok(server) if server != version.major_version() => {
                    let own = version.clone();
                    return Err(InitErrorKind::MajorVersion { server, own });
                }
                _ => {}
            }
            let mut finish = || {
                let files = held.subdirectory(FILES)?;
                follow.write(&files, self.data_directory(), version.major())?;
                new.finish_from(&files)
            };
            finish().map_err(InitErrorKind::Directory)
        })
        .map_err(failed)
    }

    /// Compares the data directory with the manifest of the base backup that it was made from, with
    /// `pg_verifybackup`: PostgreSQL 13 and later. This is useful only between
    /// [`init_standby_of`](Self::init_standby_of) and the first start, which changes the files.
    ///
    /// # Errors
    ///
    /// Fails if the installation has no `pg_verifybackup`, a file differs, or it takes too long.
    pub fn verify_backup(&self, timeout: Duration) -> Result<(), ReplicationError> {
        let failed =
            |kind| ReplicationError::new("verify the backup in", self.data_directory(), kind);
        self.english_command(Program::PgVerifybackup)
            .map_err(|error| failed(ReplicationErrorKind::MissingProgram(error)))?
            .arg(format!("--ignore={PASSFILE}"))
            .arg(self.data_directory())
            .run(timeout)
            .map_err(|error| failed(ReplicationErrorKind::Program(error)))?;
        Ok(())
    }
}
