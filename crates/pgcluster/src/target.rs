//! The cluster that a command is about.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::conf::Document;
use pg_cluster::proc::{open_regular_file, read_all};
use pg_cluster::{Cluster, Installation, MajorVersion, Request, State};

use crate::failure::{Failure, Result};

/// Where Debian keeps the configuration of clusters, by version and name.
pub(crate) const DEBIAN_CONFIGURATION: &str = "/etc/postgresql";
/// Where Debian keeps their data.
const DEBIAN_DATA: &str = "/var/lib/postgresql";
const CONFIG_FILE: &str = "postgresql.conf";
/// In bytes.
const LONGEST_CONFIGURATION: u64 = 16 << 20;

/// The argument DIR.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Target {
    /// Data directory. On Debian also the directory of its postgresql.conf, or VERSION/NAME
    #[arg(value_name = "DIR", env = "PGDATA", hide_env_values = true)]
    pub(crate) directory: Utf8PathBuf,
}

impl Target {
    /// The cluster, which has to exist.
    pub(crate) fn cluster(&self) -> Result<Cluster> {
        open(&self.directory)
    }
}

/// The cluster in this directory, whose server has to run.
pub(crate) fn running(directory: &Utf8Path) -> Result<Cluster> {
    let cluster = open(directory)?;
    match cluster.state()? {
        State::Absent | State::Uninitialized | State::Stopped => {
            Err(Failure::not_running(cluster.data_directory()))
        }
        _ => Ok(cluster),
    }
}

/// The cluster in this directory, with the installation that fits it.
pub(crate) fn open(directory: &Utf8Path) -> Result<Cluster> {
    let directory = &named(directory);
    // Says why, if it is there and cannot be read.
    let is_data = fs::exists(directory.join("PG_VERSION"));
    if is_data.map_err(|error| Failure::new(Unreadable(directory.clone(), error)))? {
        let major = MajorVersion::from_pg_version_file(directory.join("PG_VERSION"))?;
        let installation = Installation::find(&Request::series(major))?;
        let cluster = Cluster::new(installation, directory)?;
        return Ok(match configuration_elsewhere(directory) {
            Some(file) => cluster.with_config_file(file)?,
            None => cluster,
        });
    }
    let file = directory.join(CONFIG_FILE);
    if file.exists() {
        let installation = Installation::find(&request_for(&file))?;
        return Ok(Cluster::from_config_file(installation, file)?);
    }
    Err(match directory.exists() {
        false => Failure::new(format!("{directory} does not exist")),
        true => Failure::new(format!("{directory} is not a data directory")),
    }
    .with_hint("`pgcluster init` makes one, and `pgcluster list` shows those of this machine"))
}

/// `16/main` stands for Debian's cluster of that name, unless there is such a path.
fn named(directory: &Utf8Path) -> Utf8PathBuf {
    let of_debian = Utf8Path::new(DEBIAN_CONFIGURATION).join(directory);
    match !directory.exists() && of_debian.join(CONFIG_FILE).exists() {
        true => of_debian,
        false => directory.to_owned(),
    }
}

/// The configuration of one of Debian's data directories, which have none themselves.
pub(crate) fn configuration_elsewhere(data_directory: &Utf8Path) -> Option<Utf8PathBuf> {
    if data_directory.join(CONFIG_FILE).exists() {
        return None;
    }
    let cluster = data_directory.strip_prefix(DEBIAN_DATA).ok()?;
    let file = Utf8Path::new(DEBIAN_CONFIGURATION)
        .join(cluster)
        .join(CONFIG_FILE);
    file.exists().then_some(file)
}

/// The version of the data directory that a configuration file names or, if it cannot be read, the
/// version in the path of the file, as on Debian.
fn request_for(file: &Utf8Path) -> Request {
    let of_data = || {
        let document = read_configuration(file)?;
        let data = document.get("data_directory")?.value_lossy().into_owned();
        MajorVersion::from_pg_version_file(format!("{data}/PG_VERSION")).ok()
    };
    let of_path = || file.ancestors().nth(2)?.file_name()?.parse::<u16>().ok();
    match of_data().or_else(|| of_path().map(MajorVersion::new)) {
        Some(major) => Request::series(major),
        None => Request::any(),
    }
}

/// Reads a configuration file, whose owner may have put a pipe there or a file without an end.
pub(crate) fn read_configuration(file: &Utf8Path) -> Option<Document> {
    let file = open_regular_file(file).ok()?;
    Some(Document::parse(
        read_all(&file, LONGEST_CONFIGURATION).ok()?,
    ))
}

/// A directory could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {0}")]
struct Unreadable(Utf8PathBuf, #[source] std::io::Error);
