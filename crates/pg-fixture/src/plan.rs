//! The options of a builder, resolved for this machine: installation, account, template.

use std::sync::OnceLock;

use camino::Utf8Path;
use pg_install::{Installation, MajorVersion, Request};
use pg_proc::{Account, Log, Ownership};

use crate::builder::TempClusterBuilder;
use crate::error::TempErrorKind;
use crate::reaper;
use crate::root::random_name;
use crate::storage::Storage;
use crate::temp_cluster::SystemIdentifier;
use crate::template::{Cache, Entry, Key, Made, Recipe, Template};

/// The approximate size of the files of `initdb`, in bytes.
const TYPICAL: u64 = 64 << 20;

/// A temporary cluster that is to be made.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) builder: &'a TempClusterBuilder,
    pub(crate) recipe: Recipe<'a>,
    pub(crate) key: Key,
    pub(crate) cache: Cache,
}

impl TempClusterBuilder {
    pub(crate) fn plan(&self) -> Result<Plan<'_>, TempErrorKind> {
        self.check()?;
        let installation = self.find_installation()?;
        #[cfg(feature = "tls")]
        self.check_tls(&installation)?;
        let account = Account::for_data_directory(Utf8Path::new("/nonexistent"))
            .map_err(TempErrorKind::Account)?;
        let mut options = self.init.clone();
        options
            .check(installation.version())
            .map_err(|problem| TempErrorKind::Option(problem.to_string()))?;
        if options.wal_segment_size().is_none()
            && installation.major_version() >= MajorVersion::new(11)
        {
            options = options.wal_segment_megabytes(1);
        }
        let password = self.init.superuser_password();
        if password.is_some() {
            // One that is forgotten once the template is made. Until then it lets the setup steps
            // in.
            options = options.password(format!("{}{}", random_name(), random_name()));
        }
        let recipe = Recipe {
            settings: self.settings_with_preloads(&installation)?,
            extensions: self.find_extensions(&installation)?,
            installation,
            account,
            options,
            password,
            database: self.database.as_deref().unwrap_or("postgres"),
            setups: &self.setups,
            setup_keys: self
                .setups
                .iter()
                .map(|setup| setup.key.read())
                .collect::<Result<_, _>>()?,
            access: [self.hba.as_deref(), self.ident.as_deref()],
        };
        let cache = Cache::open(self.cache.as_deref())?;
        reaper::reap(cache.held());
        if let Storage::Directory(directory) = &self.storage {
            reaper::reap_named(directory);
        }
        Ok(Plan {
            builder: self,
            key: Key::new(&recipe, None),
            recipe,
            cache,
        })
    }

    fn check(&self) -> Result<(), TempErrorKind> {
        let refuse = |problem: &str| Err(TempErrorKind::Option(problem.to_owned()));
        if self.init.wal_location().is_some() {
            return refuse("a temporary cluster keeps its log in its own directory");
        }
        if self
            .database
            .as_deref()
            .is_some_and(|name| name.is_empty() || name.contains(['\0', '\n', '\r']))
        {
            return refuse("the database's name is empty or holds a line break or NUL");
        }
        if self.is_detached() && matches!(self.log, Some(Log::Tail(_))) {
            return refuse("the log of a detached server cannot be kept in this process's memory");
        }
        self.check_log()
    }

    /// How to make another server of a state that has been made by this builder: of the same
    /// installation, and with nothing that would change that state.
    pub(crate) fn for_branches(&self, installation: &Installation) -> Self {
        let mut builder = self.clone().installation(installation.clone());
        builder.setups.clear();
        builder.extensions.clear();
        (builder.hba, builder.ident) = (None, None);
        builder.system_identifier(SystemIdentifier::OfTemplate)
    }

    pub(crate) fn is_detached(&self) -> bool {
        matches!(self.ownership, Some(Ownership::Detached))
    }

    fn find_installation(&self) -> Result<Installation, TempErrorKind> {
        static FOUND: OnceLock<Installation> = OnceLock::new();
        if let Some(installation) = &self.installation {
            return Ok(installation.clone());
        }
        let find = || Installation::find(&self.request).map_err(TempErrorKind::Installation);
        if self.request != Request::any() {
            return find();
        }
        match FOUND.get() {
            Some(found) => Ok(found.clone()),
            None => {
                let found = find()?;
                Ok(FOUND.get_or_init(|| found).clone())
            }
        }
    }
}

impl Plan<'_> {
    /// The template, which is made first if need be.
    pub(crate) fn template(&self) -> Result<Template, TempErrorKind> {
        match self.cache.entry(&self.key, self.builder.patience)? {
            Entry::Found(template) => Ok(template),
            Entry::Vacant(slot) => {
                let made = self.make()?;
                slot.store(&made)
            }
        }
    }

    /// Makes what is to be packed in the first storage that will do.
    fn make(&self) -> Result<Made, TempErrorKind> {
        let account = self.recipe.account.as_ref();
        let storage = &self.builder.storage;
        storage.first_that_will_do(TYPICAL, account, |storage| self.recipe.make(storage))
    }
}

/// The reason why no storage can be used: the error of the last one.
pub(crate) fn no_storage(refused: Option<TempErrorKind>) -> TempErrorKind {
    refused.unwrap_or_else(|| TempErrorKind::Option("there is no storage".to_owned()))
}
