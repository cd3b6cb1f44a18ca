//! The commands for `pg_hba.conf`:
//!
//! ```text
//! pgconf hba list [SERVER] FILE...
//! pgconf hba check [SERVER] FILE
//! pgconf hba explain [SERVER] [ATTEMPT] FILE DATABASE USER
//! pgconf hba add [--stdout] [--before LINE|--after LINE] FILE RULE
//! pgconf hba add [--stdout] [ATTEMPT] FILE RULE DATABASE USER
//! pgconf hba remove [--stdout] [--comment] FILE LINE...
//! ```
//!
//! `list` prints the rows of the server's view `pg_hba_file_rules`, one JSON object a line. `check`
//! prints errors, and rules that can never apply. `explain` prints which rule decides on an attempt
//! to connect. `add` with a database and a user puts a rule before what would decide on that
//! attempt. `remove --comment` makes comments of lines.
//!
//! SERVER is `--major N`, `--ssl on|off|missing`, `--without gss|ldap|pam` and
//! `--oauth-validators LIST`; ATTEMPT is `--from ADDRESS`, `--tls`, `--gss`, `--replication`,
//! `--host-name NAME` and `--member-of ROLES`.
//!
//! Exit status: 0 for success; 1 if `check` found an error, or `explain` no rule or a dependence.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use pgconf_parse::hba::{Attempt, Decision, Document, NewRule, Row, Rule, RuleName, Rules, Shadow};
use serde_json::{Value as Json, json};

use crate::arguments::{self, Arguments};
use crate::{Failure, bytes, write};

const USAGE: &str = "usage: pgconf hba list [SERVER] FILE...
       pgconf hba check [SERVER] FILE
       pgconf hba explain [SERVER] [ATTEMPT] FILE DATABASE USER
       pgconf hba add [--stdout] [--before LINE|--after LINE] FILE RULE
       pgconf hba add [--stdout] [ATTEMPT] FILE RULE DATABASE USER
       pgconf hba remove [--stdout] [--comment] FILE LINE...";

pub(crate) fn run(
    args: impl Iterator<Item = OsString>,
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let arguments = Arguments::new(args, USAGE)?;
    let (file, rest) = arguments.operands.split_first().ok_or(USAGE)?;
    let file = Path::new(OsStr::from_bytes(file));
    match (arguments.command.as_str(), rest) {
        ("list", _) => list(&arguments, out),
        ("check", []) => check(&arguments, file, out),
        ("explain", [database, user]) => explain(&arguments, file, database, user, out),
        ("add", [rule, attempt @ ..]) => add(&arguments, file, rule, attempt, out),
        ("remove", [_, ..]) => remove(&arguments, file, rest, out),
        _ => Err(USAGE.into()),
    }
}

fn list(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Failure> {
    let mut accepted = true;
    for file in &arguments.operands {
        if arguments.operands.len() > 1 {
            writeln!(out, "{}", json!({ "list": bytes(file) }))?;
        }
        let file = std::path::absolute(OsStr::from_bytes(file))?;
        let rules = read(arguments, &file)?;
        for row in rules.rows() {
            writeln!(out, "{}", shown(&row))?;
        }
        accepted &= rules.is_accepted();
    }
    Ok(accepted)
}

fn read(arguments: &Arguments, file: &Path) -> Result<Rules, Failure> {
    Ok(Rules::read(file, &arguments.server)?)
}

fn shown(row: &Row<'_>) -> Json {
    let rule = row.rule();
    let columns = rule.map(|rule| rule.address_columns()).unwrap_or_default();
    let options = rule.map(|rule| {
        let options = rule.options();
        let options = options.map(|(name, value)| [name.as_bytes(), b"=", value].concat());
        options.map(|option| bytes(&option)).collect::<Vec<_>>()
    });
    let name = |name: RuleName<'_>| bytes(name.text());
    json!({
        "rule_number": row.number(),
        "file_name": bytes(row.file().as_os_str().as_bytes()),
        "line_number": row.line(),
        "type": rule.map(|rule| rule.connection().name()),
        "database": rule.map(|rule| rule.databases().map(name).collect::<Vec<_>>()),
        "user_name": rule.map(|rule| rule.users().map(name).collect::<Vec<_>>()),
        "address": columns.0.map(|address| bytes(&address)),
        "netmask": columns.1,
        "auth_method": rule.map(|rule| rule.method().name()),
        "options": options.filter(|options| !options.is_empty()),
        "error": row.shown_error().map(bytes),
    })
}

fn check(arguments: &Arguments, file: &Path, out: &mut impl Write) -> Result<bool, Failure> {
    let rules = read(arguments, file)?;
    for error in rules.errors() {
        writeln!(out, "{error:?}")?;
    }
    for shadowed in rules.shadowed() {
        write!(out, "{}: ", place(&shadowed.rule()))?;
        match shadowed.reason() {
            Shadow::Covered(by) => {
                writeln!(
                    out,
                    "rule can never apply, because {} comes first",
                    place(&by)
                )?;
            }
            // The error has been printed.
            _ => writeln!(out, "rule can never apply")?,
        }
    }
    if rules.rows().next().is_none() {
        writeln!(out, "{}: file contains no entries", file.display())?;
    }
    Ok(rules.is_accepted())
}

fn place(rule: &Rule<'_>) -> String {
    format!("{}:{}", rule.file().display(), rule.line())
}

fn attempt(arguments: &Arguments, database: &[u8], user: &[u8]) -> Attempt {
    let attempt = match arguments.from {
        Some(address) => Attempt::host(address, database, user).encrypted(arguments.encryption),
        None => Attempt::local(database, user),
    };
    if arguments.is_replication {
        attempt.replication()
    } else {
        attempt
    }
}

fn explain(
    arguments: &Arguments,
    file: &Path,
    database: &[u8],
    user: &[u8],
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let rules = read(arguments, file)?;
    let attempt = attempt(arguments, database, user);
    let decision = rules.decide(&attempt, &arguments.facts);
    match &decision {
        Decision::Rule(rule) => writeln!(out, "{rule:?}")?,
        Decision::DependsOn(rule, fact) => {
            writeln!(out, "{rule:?}")?;
            writeln!(out, "depends on {fact}")?;
        }
        _ => writeln!(out, "no rule applies, the server rejects the connection")?,
    }
    if !rules.is_accepted() {
        writeln!(
            out,
            "the server does not accept this file, see `pgconf hba check`"
        )?;
    }
    Ok(matches!(decision, Decision::Rule(_)) && rules.is_accepted())
}

fn add(
    arguments: &Arguments,
    file: &Path,
    rule: &[u8],
    rest: &[Vec<u8>],
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let rule = NewRule::parse(rule, &arguments.server)?;
    let mut document = Document::parse_for(fs::read(file)?, arguments.server.major());
    match rest {
        [] => document.insert(arguments.place, &rule)?,
        [database, user] => {
            let attempt = attempt(arguments, database, user);
            document.insert_before_match(&attempt, &arguments.facts, &arguments.server, &rule)?
        }
        _ => return Err(USAGE.into()),
    };
    write(file, document.as_bytes(), arguments.is_stdout, out)?;
    Ok(true)
}

fn remove(
    arguments: &Arguments,
    file: &Path,
    rest: &[Vec<u8>],
    out: &mut impl Write,
) -> Result<bool, Failure> {
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
