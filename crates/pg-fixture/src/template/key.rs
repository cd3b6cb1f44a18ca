//! The dependencies of a template.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::{env, fs};

use camino::Utf8Path;
use pg_install::Program;
use pg_proc::Account;

use super::Recipe;
use super::manifest::Hash;

/// Changed with every change of what is stored.
const FORMAT: u32 = 3;

/// All that a template depends on, as text that is stored with it and compared; the hash of it only
/// names the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    text: String,
}

impl Key {
    /// What this recipe depends on, and the key of a shared server, where it is for one.
    ///
    /// Programs are known by path, size and time of their last change. Inodes are left out: they
    /// differ between copies of the same container or restored cache. Of a password there is
    /// nothing but that there is one: templates are made with another, and each clone is given its
    /// own.
    pub(crate) fn new(recipe: &Recipe<'_>, server: Option<&str>) -> Self {
        let Recipe {
            installation,
            options,
            ..
        } = recipe;
        let mut text = format!(
            "format {FORMAT}\nversion {}\n",
            installation.version_string()
        );
        let mut line = |name: &str, value: &str| {
            // One line each: values with line breaks must not pass for others.
            let _ = writeln!(text, "{name} {value:?}");
        };
        for program in [Program::Postgres, Program::Initdb] {
            let path = installation.program(program).map_or("", Utf8Path::as_str);
            let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
            line("program", &real.to_string_lossy());
            if let Ok(found) = fs::metadata(&real) {
                let time = format!("{}.{}", found.mtime(), found.mtime_nsec());
                line("changed", &format!("{} {time}", found.size()));
            }
        }
        for argument in options.initdb_arguments(installation.version(), Utf8Path::new("")) {
            line("initdb", &argument);
        }
        line("user", options.superuser());
        if recipe.password.is_some() {
            line("password", "set on each clone");
        }
        for (name, value) in options.locale_environment() {
            line(&name, &value);
        }
        // initdb writes the time zone of the machine into postgresql.conf.
        line("TZ", &env::var("TZ").unwrap_or_default());
        if let Ok(zone) = fs::read_link("/etc/localtime") {
            line("localtime", &zone.to_string_lossy());
        }
        let account = recipe.account.as_ref().map_or(0, Account::uid);
        line("account", &account.to_string());
        line("database", recipe.database);
        let setups = recipe.setup_keys.iter().map(String::as_str);
        let mut keys = server.into_iter().chain(setups).peekable();
        for extension in &recipe.extensions {
            line("extension", &extension.name);
            line("files", &extension.files);
        }
        if keys.peek().is_some() || !recipe.extensions.is_empty() {
            // The setup steps run under them, and may depend on them (as on a preloaded library).
            for (name, value) in &recipe.settings {
                line(name, value);
            }
        }
        for key in keys {
            line("setup", key);
        }
        if server.is_some() {
            // Changed with every change of how databases are made in it.
            line("databases", "sealed template");
            // Templates do not depend on them: each clone is given its own.
            for (name, text) in ["hba", "ident"].into_iter().zip(recipe.access) {
                line(name, text.unwrap_or_default());
            }
        }
        Self { text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The name of the template's directory.
    pub(crate) fn name(&self) -> String {
        format!("{:016x}", Hash::of(self.text.as_bytes()).value())
    }
}
