//! The arguments of the commands for access files.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use pgconf_parse::hba::{Encryption, Facts, Place, Server, Ssl};

use crate::Failure;

/// Operands and options, which may be mixed.
pub(crate) struct Arguments {
    pub(crate) command: String,
    pub(crate) operands: Vec<Vec<u8>>,
    pub(crate) server: Server,
    pub(crate) facts: Facts,
    pub(crate) from: Option<std::net::IpAddr>,
    pub(crate) encryption: Encryption,
    pub(crate) is_replication: bool,
    pub(crate) is_comment: bool,
    pub(crate) is_stdout: bool,
    pub(crate) place: Place,
}

impl Arguments {
    pub(crate) fn new(
        args: impl Iterator<Item = OsString>,
        usage: &'static str,
    ) -> Result<Self, Failure> {
        let mut found = Self {
            command: String::new(),
            operands: Vec::new(),
            server: Server::default(),
            facts: Facts::new(),
            from: None,
            encryption: Encryption::None,
            is_replication: false,
            is_comment: false,
            is_stdout: false,
            place: Place::End,
        };
        let mut args = args.map(OsString::into_vec).peekable();
        let mut major = 18;
        let mut changes: Vec<Box<dyn Fn(Server) -> Server>> = Vec::new();
        let mut roles: Option<Vec<Vec<u8>>> = None;
        while let Some(arg) = args.next() {
            if arg == b"--" {
                found.operands.extend(args.by_ref());
                break;
            }
            let Some(option) = arg.strip_prefix(b"--") else {
                found.operands.push(arg);
                continue;
            };
            let option = String::from_utf8_lossy(option).into_owned();
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (option, None),
            };
            let mut value = || -> Result<String, Failure> {
                let next = value.clone().or_else(|| {
                    args.next()
                        .map(|next| String::from_utf8_lossy(&next).into_owned())
                });
                next.ok_or_else(|| usage.into())
            };
            match name.as_str() {
                "major" => major = value()?.parse().map_err(|_| usage)?,
                "ssl" => {
                    let ssl = match value()?.as_str() {
                        "on" => Ssl::On,
                        "off" => Ssl::Off,
                        "missing" => Ssl::Missing,
                        _ => return Err(usage.into()),
                    };
                    changes.push(Box::new(move |server| server.ssl(ssl)));
                }
                "without" => match value()?.as_str() {
                    "gss" => changes.push(Box::new(|server| server.gss(false))),
                    "ldap" => changes.push(Box::new(|server| server.ldap(false))),
                    "pam" => changes.push(Box::new(|server| server.pam(false))),
                    _ => return Err(usage.into()),
                },
                "oauth-validators" => {
                    let list = value()?;
                    changes.push(Box::new(move |server| {
                        let names = list.split(',').filter(|name| !name.is_empty());
                        server.oauth_validators(names)
                    }));
                }
                "from" => found.from = Some(value()?.parse()?),
                "tls" => found.encryption = Encryption::Tls,
                "gss" => found.encryption = Encryption::Gss,
                "replication" => found.is_replication = true,
                "comment" => found.is_comment = true,
                "stdout" => found.is_stdout = true,
                "before" => found.place = Place::Before(value()?.parse().map_err(|_| usage)?),
                "after" => found.place = Place::After(value()?.parse().map_err(|_| usage)?),
                // The option may be repeated. An empty list states that there are no other roles.
                "member-of" => {
                    let list = value()?;
                    let names = list.split(',').filter(|name| !name.is_empty());
                    let names = names.map(|name| name.as_bytes().to_vec());
                    roles.get_or_insert_default().extend(names);
                }
                "host-name" => {
                    let name = value()?;
                    let addresses = found.from;
                    found.facts = found.facts.host_name(name, addresses);
                }
                _ => return Err(format!("unknown option --{name}\n{usage}").into()),
            }
        }
        if let Some(roles) = roles {
            found.facts = found.facts.member_of(roles);
        }
        found.server = changes
            .into_iter()
            .fold(Server::new(major), |server, change| change(server));
        if found.operands.is_empty() {
            return Err(usage.into());
        }
        found.command = String::from_utf8_lossy(&found.operands.remove(0)).into_owned();
        Ok(found)
    }
}

/// Parses line numbers and returns them in descending order, so that removing one line does not
/// change the numbers of the others.
pub(crate) fn lines(operands: &[Vec<u8>], usage: &'static str) -> Result<Vec<usize>, Failure> {
    let mut lines = Vec::new();
    for operand in operands {
        let text = std::str::from_utf8(operand).map_err(|_| usage)?;
        lines.push(text.parse().map_err(|_| usage)?);
    }
    lines.sort_unstable();
    lines.dedup();
    lines.reverse();
    Ok(lines)
}
