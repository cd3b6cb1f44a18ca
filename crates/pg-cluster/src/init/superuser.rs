//! Superusers with names that `initdb` cannot handle.
//!
//! `initdb` writes the name into a script for the bootstrap backend, which misreads quotes,
//! backslashes, parentheses and dollar signs (`bootstrap_template1` in initdb.c, bootscanner.l).
//! The cluster is therefore made with another name, and its superuser is renamed before the
//! directory is complete.

use pg_install::Program;
use pg_proc::data_directory::NewDataDirectory;

use super::{InitErrorKind, InitOptions};
use crate::Cluster;

/// The name that is passed to `initdb`.
pub(super) fn name_for_initdb(user: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if user.chars().all(plain) {
        user
    } else {
        "postgres"
    }
}

/// Renames the superuser if `initdb` could not use the name.
///
/// `ALTER ROLE ... RENAME` refuses to rename the user of the session, and a single-user session has
/// no other. The bootstrap superuser has OID 10 (`BOOTSTRAP_SUPERUSERID`). An MD5 password depends
/// on the name, so it is set again.
pub(super) fn rename(
    cluster: &Cluster,
    options: &InitOptions,
    new: &NewDataDirectory,
) -> Result<(), InitErrorKind> {
    if name_for_initdb(&options.user) == options.user {
        return Ok(());
    }
    let mut script = format!(
        "UPDATE pg_catalog.pg_authid SET rolname = {} WHERE oid = 10;\n",
        literal(&options.user)
    );
    if let Some(password) = &options.password {
        let role = options.user.replace('"', "\"\"");
        script += &format!("ALTER ROLE \"{role}\" PASSWORD {};\n", literal(password));
    }
    let command = cluster
        .english_command(Program::Postgres)
        .map_err(InitErrorKind::MissingProgram)?
        .args(["--single", "-D", new.stage().as_str()])
        .args([
            "-O",
            "-F",
            "-c",
            "exit_on_error=on",
            "-c",
            "log_min_error_statement=panic",
        ])
        .args(["-c", "lc_messages=C", "template1"])
        .input(script);
    super::run(command, new, options)
}

/// A string constant that does not depend on `standard_conforming_strings`.
fn literal(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\'', "''");
    format!("E'{text}'")
}
