//! The settings of a cluster: reading and writing `postgresql.conf`.

mod check;
mod edit;
mod error;
mod history;
mod preload;
mod readable;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::FileErrorKind;
use pgconf_parse::{
    Assignment, AutoConf, Configuration, Document, EditError, EditSession, Loader as _, Removal,
    Resolver, SettingName, Value,
};

pub use self::check::{SettingCheck, SettingProblem, SettingProblemKind};
pub use self::edit::{Shadowed, Validation, Written};
pub use self::error::{SettingsError, SettingsErrorKind};
pub use self::history::{SettingHistory, SettingOrigin};
pub(crate) use self::readable::Readable;
use crate::Cluster;
use crate::files::MAX_TEXT;

/// The settings in a cluster's `postgresql.conf`, obtained from [`Cluster::settings`].
///
/// Each method reads the file again, so several programs may read and change it at the same time. A
/// change is made under a lock, is atomic, and survives a crash of the machine. It keeps the mode
/// and the owner of the file, its comments, and every other byte. A symbolic link is followed if
/// this user, root or the owner of the file made it.
///
/// [`get`](Self::get), [`contains`](Self::contains) and [`iter`](Self::iter) read only this file.
/// Included files and `postgresql.auto.conf` may override it: [`effective`](Self::effective) and
/// [`explain`](Self::explain) read all files, and each change reports the settings that are
/// overridden ([`Written::shadowed`]).
///
/// A running server uses a change after [`Cluster::reload`] or, for some settings,
/// [`Cluster::restart`].
#[derive(Clone, Copy, Debug)]
pub struct Settings<'c> {
    cluster: &'c Cluster,
    validation: Validation,
}

impl<'c> Settings<'c> {
    pub(crate) fn new(cluster: &'c Cluster) -> Self {
        Self {
            cluster,
            validation: Validation::None,
        }
    }

    /// Sets how each change is checked before it replaces the file.
    #[must_use]
    pub fn validated(self, validation: Validation) -> Self {
        Self { validation, ..self }
    }

    /// The path of the file, which may be a symbolic link.
    pub fn path(&self) -> Utf8PathBuf {
        self.cluster.config_file()
    }

    /// The file as a document.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn document(&self) -> Result<Document, SettingsError> {
        let path = self.path();
        read_document(self.cluster, &path)
            .map_err(|error| SettingsError::new(path, FileErrorKind::Read(error).into()))
    }

    /// The value that the file gives to a setting, as the server reads it. Names are compared
    /// without ASCII case, and the last assignment counts. In a value that is not UTF-8 invalid
    /// bytes are replaced; [`document`](Self::document) has the bytes.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn get(&self, name: &str) -> Result<Option<String>, SettingsError> {
        Ok(value_in(&self.document()?, name))
    }

    /// The values of several settings, by the names as given. Settings that the file does not set
    /// are left out.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn get_many<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<BTreeMap<String, String>, SettingsError> {
        let document = self.document()?;
        let value = |name: N| {
            let name = name.as_ref();
            Some((name.to_owned(), value_in(&document, name)?))
        };
        Ok(names.into_iter().filter_map(value).collect())
    }

    /// Returns whether the file sets this setting.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn contains(&self, name: &str) -> Result<bool, SettingsError> {
        Ok(self.document()?.get(name).is_some())
    }

    /// Name and value of each setting in the file, in the order of the assignments that count.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn iter(&self) -> Result<impl Iterator<Item = (String, String)> + use<>, SettingsError> {
        let document = self.document()?;
        let mut settings: Vec<Assignment<'_>> = document.settings().into_values().collect();
        settings.sort_by_key(Assignment::line);
        let settings: Vec<(String, String)> = settings
            .iter()
            .map(|found| {
                let (name, value) = (found.name_lossy(), found.value_lossy());
                (name.into_owned(), value.into_owned())
            })
            .collect();
        Ok(settings.into_iter())
    }

    /// Gives one setting a value; see [`Document::set`] for how the file changes.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// cluster.settings().set("work_mem", "64MB")?;
    /// cluster.settings().set("max_connections", 50)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the name or the value cannot be written, if the file cannot be read or replaced, or
    /// if the server rejects the change. The file is then as it was.
    pub fn set(&self, name: &str, value: impl Into<Value>) -> Result<Written, SettingsError> {
        self.update([(name, value)])
    }

    /// Sets many settings with one write: all of them or none.
    ///
    /// # Errors
    ///
    /// Fails as [`set`](Self::set) does.
    pub fn update<N: AsRef<[u8]>, V: Into<Value>>(
        &self,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Written, SettingsError> {
        let settings: Vec<(N, Value)> = settings
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let names = settings
            .iter()
            .filter_map(|(name, _)| SettingName::new(name).ok())
            .collect();
        let change = |session: &mut EditSession<'_>| {
            let mut set = settings
                .iter()
                .map(|(name, value)| session.set(name, value));
            set.try_for_each(|change| change.map(|_| ()))
        };
        edit::edit(self.cluster, &self.path(), self.validation, names, change)
    }

    /// Removes a setting: all its assignments become comments.
    ///
    /// # Errors
    ///
    /// Fails as [`set`](Self::set) does.
    pub fn remove(&self, name: &str) -> Result<Written, SettingsError> {
        let names = SettingName::new(name).ok().into_iter().collect();
        let change = |session: &mut EditSession<'_>| {
            session.remove(name, Removal::CommentOut);
            Ok(())
        };
        edit::edit(self.cluster, &self.path(), self.validation, names, change)
    }

    /// Makes many edits with one read and one write, under the lock. The time is linear in the
    /// length of the file plus the number of edits: see [`Document::edit`]. If the edits leave the
    /// file as it was, nothing is written.
    ///
    /// ```no_run
    /// # use pg_cluster::{Cluster, SettingsError};
    /// # fn tune(cluster: &Cluster) -> Result<(), SettingsError> {
    /// use pg_cluster::conf::Removal;
    ///
    /// cluster.settings().edit(|session| {
    ///     session.set("shared_buffers", "1GB")?;
    ///     session.set("wal_level", "logical")?;
    ///     session.remove("log_statement", Removal::Delete);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the error of the closure, or fails as [`set`](Self::set) does.
    pub fn edit(
        &self,
        change: impl FnOnce(&mut EditSession<'_>) -> Result<(), EditError>,
    ) -> Result<Written, SettingsError> {
        let names = BTreeSet::new();
        edit::edit(self.cluster, &self.path(), self.validation, names, change)
    }

    /// All files as the server would read them at its start, with includes, and
    /// `postgresql.auto.conf` last. Under root a file that the [account](Cluster::account) of the
    /// server may not read counts as one that cannot be opened.
    ///
    /// # Errors
    ///
    /// Fails if the first file cannot be read. Problems with other files are in
    /// [`Configuration::problems`].
    pub fn effective(&self) -> Result<Configuration, SettingsError> {
        read_effective(self.cluster, &self.path())
    }

    /// All assignments to a setting over all files in the order of reading; the last one counts.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// let history = cluster.settings().explain("work_mem")?;
    /// if let Some(origin) = history.winner() {
    ///     println!("set in {origin}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`effective`](Self::effective) does.
    pub fn explain(&self, name: &str) -> Result<SettingHistory, SettingsError> {
        Ok(SettingHistory::new(name, &self.effective()?.explain(name)))
    }

    /// Checks a value for a setting with the server's own program, without writing it: `postgres
    /// --describe-config` for the name, `postgres -C` for the value. This takes some 20 ms.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// let check = cluster.settings().check("work_mem", "lots")?;
    /// if let Some(problem) = check.problem {
    ///     println!("{problem}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if a program cannot be run. A name or value that the server rejects is a result, not
    /// an error.
    pub fn check(&self, name: &str, value: &str) -> Result<SettingCheck, SettingsError> {
        check::check(self.cluster, &self.path(), name, value)
    }
}

fn value_in(document: &Document, name: &str) -> Option<String> {
    let found = document.get(name)?;
    Some(found.value_lossy().into_owned())
}

/// One file. The account of the server need not be able to read it if no link of that account leads
/// to it.
fn read_document(cluster: &Cluster, path: &Utf8Path) -> io::Result<Document> {
    let read = Readable::by(cluster.account()).load(path.as_std_path());
    let content = match read.map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            pg_proc::read_all(&pg_proc::open_regular_file(path)?, MAX_TEXT)?
        }
        read => read?,
    };
    Ok(Document::parse(content))
}

fn read_effective(cluster: &Cluster, path: &Utf8Path) -> Result<Configuration, SettingsError> {
    let auto_conf = AutoConf::In(cluster.data_directory().as_std_path().to_owned());
    Resolver::new()
        .major(cluster.installation().major_version().first())
        .auto_conf(auto_conf)
        .load(&Readable::by(cluster.account()), path.as_std_path())
        .map_err(|error| SettingsError::new(path.to_owned(), SettingsErrorKind::Resolve(error)))
}
