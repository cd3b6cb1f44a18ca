//! One line of `pg_hba.conf`: `parse_hba_line` in hba.c.

use std::net::{IpAddr, Ipv4Addr};

use crate::hba::address::{self, Network};
use crate::hba::method::{ConnectionType, Method};
use crate::hba::options::{Options, Rejection};
use crate::hba::regex::Regex;
use crate::hba::server::{Server, Ssl};
use crate::hba::tokenize::{TokenLine, Tokenized};

/// The result of parsing a line.
#[derive(Clone, Debug)]
pub(super) enum Parsed {
    Rule(Data, Option<Box<Failure>>),
    Error(Box<Failure>),
}

#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) rejection: Rejection,
    pub(super) at: u32,
}

/// A rule. Fields and tokens are numbers.
#[derive(Clone, Debug)]
pub(super) struct Data {
    pub(super) connection: ConnectionType,
    pub(super) databases: u32,
    pub(super) users: u32,
    pub(super) address: AddressData,
    pub(super) method: Method,
    pub(super) options: Option<Box<Options>>,
}

/// Small, because there is one for each rule.
#[derive(Clone, Debug)]
pub(super) enum AddressData {
    None,
    All,
    SameHost,
    SameNet,
    V4 { address: Ipv4Addr, mask: Ipv4Addr },
    V6(Box<Network>),
    Host(u32),
}

/// The fields of a line, read one after the other.
struct Fields<'a> {
    tokens: &'a Tokenized,
    line: &'a TokenLine,
    next: u32,
}

impl Fields<'_> {
    /// The number of the next field.
    fn next(&mut self) -> Option<u32> {
        let field = self.line.fields.start + self.next;
        self.next += 1;
        (field < self.line.fields.end).then_some(field)
    }

    fn expect(&mut self, what: &str) -> Result<u32, Failure> {
        self.next().ok_or_else(|| Failure {
            rejection: Rejection::new(format!("end-of-line before {what}")),
            at: self.line.span.end,
        })
    }

    /// The number of the only token of a field.
    fn one(&self, field: u32, what: &str) -> Result<u32, Failure> {
        let range = self.tokens.found.field(field);
        if range.len() > 1 {
            let message = format!("multiple values specified for {what}");
            return Err(self.failure(range.start + 1, Rejection::new(message)));
        }
        Ok(range.start)
    }

    fn failure(&self, token: u32, rejection: Rejection) -> Failure {
        Failure {
            rejection,
            at: self.tokens.found.tokens[token as usize].at,
        }
    }

    fn text(&self, token: u32) -> &[u8] {
        self.tokens
            .token_text(self.tokens.found.tokens[token as usize])
    }
}

/// Parses a line into a rule or an error.
pub(super) fn parse_line(
    tokens: &Tokenized,
    line: &TokenLine,
    server: &Server,
    regexes: &mut Vec<(u32, Regex)>,
) -> Parsed {
    if let Some(error) = &line.error {
        return Parsed::Error(Box::new(Failure {
            rejection: Rejection::new(error.message.clone()),
            at: error.at,
        }));
    }
    let mut fields = Fields {
        tokens,
        line,
        next: 0,
    };
    let mut warning = None;
    match parse_hba_line(&mut fields, server, regexes, &mut warning) {
        Ok(data) => Parsed::Rule(data, warning),
        Err(mut failure) => {
            // The view still shows an earlier message.
            if let (None, Some(warning)) = (&failure.rejection.shown, warning) {
                failure.rejection.shown = warning.rejection.shown;
            }
            Parsed::Error(Box::new(failure))
        }
    }
}

/// Source: `parse_hba_line`.
fn parse_hba_line(
    fields: &mut Fields<'_>,
    server: &Server,
    regexes: &mut Vec<(u32, Regex)>,
    warning: &mut Option<Box<Failure>>,
) -> Result<Data, Failure> {
    let field = fields.expect("connection type")?;
    let token = fields.one(field, "connection type")?;
    let text = fields.text(token);
    let connection = ConnectionType::find(text, server.major).ok_or_else(|| {
        fields.failure(token, Rejection::quoting("invalid connection type", text))
    })?;
    if let Some(message) = cannot_match(connection, server) {
        *warning = Some(Box::new(fields.failure(token, Rejection::new(message))));
    }
    let databases = fields.expect("database specification")?;
    compile(fields, databases, server, regexes)?;
    let users = fields.expect("role specification")?;
    compile(fields, users, server, regexes)?;
    let address = if connection == ConnectionType::Local {
        AddressData::None
    } else {
        parse_address(fields)?
    };

    let field = fields.expect("authentication method")?;
    let token = fields.one(field, "authentication type")?;
    let method = parse_method(fields, token, connection, server)?;
    let mut options = Options::new(method);
    while let Some(field) = fields.next() {
        for token in fields.tokens.found.field(field) {
            let text = fields.text(token);
            let Some(equals) = memchr::memchr(b'=', text) else {
                let words = b"authentication option not in name=value format: ".as_slice();
                let rejection = Rejection::new([words, text].concat());
                return Err(fields.failure(token, rejection));
            };
            options
                .add(
                    &text[..equals],
                    &text[equals + 1..],
                    connection,
                    method,
                    server,
                )
                .map_err(|rejection| fields.failure(token, rejection))?;
        }
    }
    options
        .finish(method, server)
        .map_err(|rejection| fields.failure(token, rejection))?;
    Ok(Data {
        connection,
        databases,
        users,
        address,
        method,
        options: (!options.is_empty()).then(|| Box::new(options)),
    })
}

/// The reason that rules for such connections can never match.
pub(crate) fn cannot_match(connection: ConnectionType, server: &Server) -> Option<&'static str> {
    match (connection, server.ssl) {
        (ConnectionType::HostSsl, Ssl::Off) => {
            Some("hostssl record cannot match because SSL is disabled")
        }
        (ConnectionType::HostSsl, Ssl::Missing) => {
            Some("hostssl record cannot match because SSL is not supported by this build")
        }
        (ConnectionType::HostGssEnc, _) if !server.gss => {
            Some("hostgssenc record cannot match because GSSAPI is not supported by this build")
        }
        _ => None,
    }
}

/// Source: `regcomp_auth_token`, since PostgreSQL 16.
fn compile(
    fields: &Fields<'_>,
    field: u32,
    server: &Server,
    regexes: &mut Vec<(u32, Regex)>,
) -> Result<(), Failure> {
    if server.major < 16 {
        return Ok(());
    }
    for token in fields.tokens.found.field(field) {
        if let Some(pattern) = fields.text(token).strip_prefix(b"/") {
            match Regex::new(pattern) {
                Ok(regex) => regexes.push((token, regex)),
                Err(reason) => {
                    return Err(fields.failure(token, invalid_regex(pattern, reason)));
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn invalid_regex(pattern: &[u8], reason: &str) -> Rejection {
    let words = b"invalid regular expression \"".as_slice();
    Rejection::new([words, pattern, b"\": ", reason.as_bytes()].concat())
}

fn parse_address(fields: &mut Fields<'_>) -> Result<AddressData, Failure> {
    let field = fields.expect("IP address specification")?;
    let token = fields.one(field, "host address")?;
    let quoted = fields.tokens.found.tokens[token as usize].quoted;
    let tokens = fields.tokens;
    let text = tokens.token_text(tokens.found.tokens[token as usize]);
    match text {
        b"all" if !quoted => return Ok(AddressData::All),
        b"samehost" if !quoted => return Ok(AddressData::SameHost),
        b"samenet" if !quoted => return Ok(AddressData::SameNet),
        _ => {}
    }
    let slash = memchr::memchr(b'/', text);
    let found = address::parse(&text[..slash.unwrap_or(text.len())]);
    let reject = |words: &str| Err(fields.failure(token, Rejection::quoting(words, text)));
    let (ip, mask) = match (found, slash) {
        (None, Some(_)) => {
            return reject("specifying both host name and CIDR mask is invalid:");
        }
        (None, None) => return Ok(AddressData::Host(token)),
        (Some(ip), Some(slash)) => match address::cidr_mask(&text[slash + 1..], ip) {
            Some(mask) => (ip, mask),
            None => return reject("invalid CIDR mask in address"),
        },
        (Some(ip), None) => (ip, parse_mask(fields)?),
    };
    match Network::new(ip, mask) {
        Some(network) => Ok(match (ip, mask) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => AddressData::V4 { address, mask },
            _ => AddressData::V6(Box::new(network)),
        }),
        None => Err(fields.failure(token, Rejection::new("IP address and mask do not match"))),
    }
}

fn parse_mask(fields: &mut Fields<'_>) -> Result<IpAddr, Failure> {
    let field = fields.expect("netmask specification")?;
    let token = fields.one(field, "netmask")?;
    let text = fields.text(token);
    address::parse(text).ok_or_else(|| {
        // In the words of the GNU C library.
        let words = b"invalid IP mask \"".as_slice();
        let rejection = [words, text, b"\": Name or service not known"].concat();
        fields.failure(token, Rejection::new(rejection))
    })
}

fn parse_method(
    fields: &Fields<'_>,
    token: u32,
    connection: ConnectionType,
    server: &Server,
) -> Result<Method, Failure> {
    let text = fields.text(token);
    let words = "invalid authentication method";
    let is_local = connection == ConnectionType::Local;
    let rejection = match Method::find(text, server.major) {
        None => Rejection::quoting(words, text),
        Some(method) if !method.is_built_in(server) => {
            Rejection::new(format!("{words} \"{method}\": not supported by this build"))
        }
        Some(Method::Ident) if is_local => return Ok(Method::Peer),
        Some(Method::Gss) if is_local => {
            Rejection::new("gssapi authentication is not supported on local sockets")
        }
        Some(Method::Peer) if !is_local => {
            Rejection::new("peer authentication is only supported on local sockets")
        }
        Some(Method::Cert) if connection != ConnectionType::HostSsl => {
            Rejection::new("cert authentication is only supported on hostssl connections")
        }
        Some(method) => return Ok(method),
    };
    Err(fields.failure(token, rejection))
}
