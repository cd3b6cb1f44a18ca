//! The commands for `pg_ident.conf`:
//!
//! ```text
//! pgconf ident list [--major N] FILE...
//! pgconf ident check [--major N] FILE
//! pgconf ident explain [--major N] [--member-of ROLES] FILE MAP SYSTEM-USER [DATABASE-USER]
//! pgconf ident add [--stdout] [--before LINE|--after LINE] FILE MAP SYSTEM-USER DATABASE-USER
//! pgconf ident remove [--stdout] [--comment] FILE LINE...
//! ```
//!
//! `list` prints the rows of the server's view `pg_ident_file_mappings`, one JSON object a line.
//! `explain` prints the database users that a system user may become, or whether it may become
//! that one. `add` takes a SYSTEM-USER or DATABASE-USER that begins with a slash for a regular
//! expression, and anything else for a name.
//!
//! Exit status: 0 for success; 1 if `check` found an error, or `explain` did not find a user.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use pgconf_parse::ident::{
    DatabaseUser, Decision, Document, Mappings, NewMapping, Row, SystemUser, Users,
};
use serde_json::{Value as Json, json};

use crate::arguments::{self, Arguments};
use crate::{Failure, bytes, write};

const USAGE: &str = "usage: pgconf ident list [--major N] FILE...
       pgconf ident check [--major N] FILE
       pgconf ident explain [--major N] [--member-of ROLES] FILE MAP SYSTEM-USER [DATABASE-USER]
       pgconf ident add [--stdout] [--before LINE|--after LINE] FILE MAP SYSTEM-USER DATABASE-USER
       pgconf ident remove [--stdout] [--comment] FILE LINE...";

pub(crate) fn run(
    args: impl Iterator<Item = OsString>,
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let arguments = Arguments::new(args, USAGE)?;
    let (file, rest) = arguments.operands.split_first().ok_or(USAGE)?;
    let file = Path::new(OsStr::from_bytes(file));
    match (arguments.command.as_str(), rest) {
        ("list", _) => list(&arguments, out),
        ("check", []) => {
            let mappings = read(&arguments, file)?;
            for error in mappings.errors() {
                writeln!(out, "{error:?}")?;
            }
            Ok(mappings.is_accepted())
        }
        ("explain", [map, system_user]) => users(&arguments, file, map, system_user, out),
        ("explain", [map, system_user, user]) => {
            explain(&arguments, file, [map, system_user, user], out)
        }
        ("add", [map, system_user, user]) => add(&arguments, file, [map, system_user, user], out),
        ("remove", [_, ..]) => {
            let mut document = Document::parse_for(fs::read(file)?, arguments.server.major());
            for line in arguments::lines(rest, USAGE)? {
                if arguments.is_comment {
                    document.comment_out(line)?;
                } else {
                    document.remove(line)?;
                }
            }
            write(file, document.as_bytes(), arguments.is_stdout, out)?;
            Ok(true)
        }
        _ => Err(USAGE.into()),
    }
}

fn read(arguments: &Arguments, file: &Path) -> Result<Mappings, Failure> {
    Ok(Mappings::read(file, &arguments.server)?)
}

fn list(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Failure> {
    let mut accepted = true;
    for file in &arguments.operands {
        if arguments.operands.len() > 1 {
            writeln!(out, "{}", json!({ "list": bytes(file) }))?;
        }
        let file = std::path::absolute(OsStr::from_bytes(file))?;
        let mappings = read(arguments, &file)?;
        for row in mappings.rows() {
            writeln!(out, "{}", shown(&row))?;
        }
        accepted &= mappings.is_accepted();
    }
    Ok(accepted)
}

fn shown(row: &Row<'_>) -> Json {
    let mapping = row.mapping();
    json!({
        "map_number": row.number(),
        "file_name": bytes(row.file().as_os_str().as_bytes()),
        "line_number": row.line(),
        "map_name": mapping.map(|mapping| bytes(mapping.map())),
        "sys_name": mapping.map(|mapping| bytes(mapping.system_user())),
        "pg_username": mapping.map(|mapping| bytes(mapping.database_user())),
        "error": row.error().map(|error| bytes(error.message())),
    })
}

fn users(
    arguments: &Arguments,
    file: &Path,
    map: &[u8],
    system_user: &[u8],
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let mappings = read(arguments, file)?;
    let mut found = false;
    for (mapping, users) in mappings.users(map, system_user) {
        found = true;
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let users = match &users {
            Users::Named(name) => format!("user \"{}\"", text(name)),
            Users::All => "any user".to_owned(),
            Users::MembersOf(role) => format!("members of role \"{}\"", text(role)),
            Users::Matching(regex) => format!("users that match \"{}\"", text(regex)),
            Users::DependsOn(fact) => format!("depends on {fact}"),
            users => format!("{users:?}"),
        };
        writeln!(out, "{mapping:?}\n    {users}")?;
    }
    Ok(found)
}

fn explain(
    arguments: &Arguments,
    file: &Path,
    [map, system_user, user]: [&Vec<u8>; 3],
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let mappings = read(arguments, file)?;
    let decision = mappings.decide(map, system_user, user, &arguments.facts);
    match &decision {
        Decision::Allowed(mapping) => writeln!(out, "{mapping:?}")?,
        Decision::DependsOn(mapping, fact) => {
            writeln!(out, "{mapping:?}\ndepends on {fact}")?;
        }
        Decision::Broken(mapping) => {
            writeln!(out, "{mapping:?}\nrefused, because \\1 refers to nothing")?;
        }
        _ => writeln!(out, "no mapping applies, the server rejects the connection")?,
    }
    Ok(matches!(decision, Decision::Allowed(_)))
}

fn add(
    arguments: &Arguments,
    file: &Path,
    [map, system_user, user]: [&Vec<u8>; 3],
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let system_user = match system_user.strip_prefix(b"/") {
        Some(pattern) => SystemUser::regex(pattern),
        None => SystemUser::of(system_user.as_slice()),
    };
    let user = match user.strip_prefix(b"/") {
        Some(pattern) => DatabaseUser::regex(pattern),
        None => DatabaseUser::of(user.as_slice()),
    };
    let mapping = NewMapping::new(map.as_slice(), system_user, user);
    let mut document = Document::parse_for(fs::read(file)?, arguments.server.major());
    document.insert(arguments.place, &mapping)?;
    write(file, document.as_bytes(), arguments.is_stdout, out)?;
    Ok(true)
}
