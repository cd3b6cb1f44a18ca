//! What a cluster is to have beyond the defaults of `initdb`: preloaded libraries, extensions, a
//! locale.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::Locale;
use pg_cluster::conf::{join_directories, split_directories};
use pg_install::Installation;

use crate::builder::TempClusterBuilder;
use crate::error::{TempErrorKind, at};
use crate::log::is_same;
use crate::template::Extension;

const PRELOADED: &str = "shared_preload_libraries";

impl TempClusterBuilder {
    /// A library that the server loads when it starts, such as `pg_stat_statements`: it is added to
    /// the setting `shared_preload_libraries`, whether that is [set](Self::setting) before or after
    /// this.
    pub fn preload(mut self, library: impl Into<String>) -> Self {
        self.preloaded.push(library.into());
        self
    }

    /// An extension that the database has from the beginning, created in the template by
    /// `CREATE EXTENSION ... CASCADE`, before the setup steps.
    ///
    /// The template depends on the control file, on the scripts and on the library of this name, so
    /// there is another template after they have changed. An [`Overlay`](pg_install::Overlay) makes
    /// an extension available that is not installed.
    ///
    /// ```no_run
    /// use pg_fixture::TempCluster;
    ///
    /// let server = TempCluster::builder()
    ///     .preload("pg_stat_statements")
    ///     .extension("pg_stat_statements")
    ///     .extension("pg_trgm")
    ///     .start()?;
    /// # Ok::<(), pg_fixture::TempError>(())
    /// ```
    ///
    /// A server in single-user mode creates it, with the settings of this builder. For an extension
    /// that needs more than one session there are [setup steps](Self::setup).
    pub fn extension(mut self, name: impl Into<String>) -> Self {
        self.extensions.push(name.into());
        self
    }

    /// The locale of the cluster, `C` unless set: [`InitOptions::locale`](pg_cluster::InitOptions).
    pub fn locale(mut self, locale: Locale) -> Self {
        self.init = self.init.locale(locale);
        self
    }

    /// The settings that were given, with the preloaded libraries among them.
    pub(crate) fn settings_with_preloads(
        &self,
        installation: &Installation,
    ) -> Result<Vec<(String, String)>, TempErrorKind> {
        if self.preloaded.is_empty() {
            return Ok(self.settings.clone());
        }
        let is_list = |setting: &&(String, String)| is_same(PRELOADED, &setting.0);
        let given = self.settings.iter().rfind(is_list);
        let given = given.map_or("", |(_, value)| value.as_str());
        let malformed =
            |error| TempErrorKind::Option(format!("{PRELOADED} cannot be {given:?}: {error}"));
        let mut libraries = split_directories(given).map_err(malformed)?;
        for library in &self.preloaded {
            let directory = installation.library_directory();
            if let Some(directory) = directory.filter(|_| !installation.has_library(library)) {
                let name = library.clone();
                return Err(TempErrorKind::NoLibrary { name, directory });
            }
            if !libraries
                .iter()
                .any(|there| there.as_os_str() == library.as_str())
            {
                libraries.push(library.into());
            }
        }
        let list = String::from_utf8_lossy(&join_directories(libraries)).into_owned();
        let others = self.settings.iter().filter(|setting| !is_list(setting));
        Ok(others
            .cloned()
            .chain([(PRELOADED.to_owned(), list)])
            .collect())
    }

    /// The extensions to create, with what the template depends on.
    pub(crate) fn find_extensions(
        &self,
        installation: &Installation,
    ) -> Result<Vec<Extension>, TempErrorKind> {
        let find = |name: &String| {
            if name.is_empty() || name.contains(['\0', '\n', '\r', '/']) {
                let problem = format!("an extension cannot be called {name:?}");
                return Err(TempErrorKind::Option(problem));
            }
            Ok(Extension {
                name: name.clone(),
                files: self.files_of_extension(name, installation)?,
            })
        };
        self.extensions.iter().map(find).collect()
    }

    /// The files of an extension with their sizes and times. Empty if the place is not known, or
    /// another one than the installation's may have it (`extension_control_path`).
    fn files_of_extension(
        &self,
        name: &str,
        installation: &Installation,
    ) -> Result<String, TempErrorKind> {
        let mut files = String::new();
        let is_elsewhere =
            |(setting, _): &(String, String)| is_same("extension_control_path", setting);
        let share = installation
            .sharedir()
            .filter(|_| !self.settings.iter().any(is_elsewhere));
        let Some(share) = share else {
            return Ok(files);
        };
        let directory = share.join("extension");
        let control = format!("{name}.control");
        if !directory.join(&control).exists() {
            let name = name.to_owned();
            return Err(TempErrorKind::NoExtension { name, directory });
        }
        let is_part = |file: &str| {
            file == control
                || file
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with("--"))
        };
        let entries = directory.read_dir_utf8().map_err(at(&directory))?;
        let mut all: Vec<Utf8PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.into_path()))
            .filter(|path| path.file_name().is_some_and(is_part))
            .collect();
        all.sort();
        let library = installation.library_directory();
        all.extend(
            library.map(|library| library.join(format!("{name}{}", std::env::consts::DLL_SUFFIX))),
        );
        for path in &all {
            describe(path, &mut files);
        }
        Ok(files)
    }
}

/// As programs are described in the key of a template.
fn describe(path: &Utf8Path, into: &mut String) {
    if let Ok(found) = fs::metadata(path) {
        let (size, time, nanos) = (found.size(), found.mtime(), found.mtime_nsec());
        let _ = write!(into, "{path} {size} {time}.{nanos};");
    }
}
