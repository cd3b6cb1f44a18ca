//! One line of `pg_hba.conf`: `parse_hba_line` in hba.c.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use crate::hba::address::{self, Network};
use crate::hba::method::{ConnectionType, Method};
use crate::hba::options::{Options, Rejection};
use crate::hba::regex::Regex;
use crate::hba::server::{Server, Ssl};
use crate::hba::tokenize::{LinePlace, Sources, Token, TokenLine};

/// A line with a rule or an error.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) place: LinePlace,
    pub(super) parsed: Parsed,
}

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

impl Failure {
    #[cold]
    fn at(token: Token, rejection: Rejection) -> Box<Self> {
        Box::new(Self {
            rejection,
            at: token.at,
        })
    }

    #[cold]
    fn several(tokens: &[Token], what: &str) -> Box<Self> {
        let message = format!("multiple values specified for {what}");
        Self::at(tokens[1], Rejection::new(message))
    }
}

/// A rule. Its names are kept with those of all rules: first the databases, then the users.
#[derive(Clone, Debug)]
pub(super) struct Data {
    databases: u32,
    users: u32,
    end: u32,
    pub(super) connection: ConnectionType,
    pub(super) method: Method,
    pub(super) address: AddressData,
    pub(super) options: Option<Box<Options>>,
}

impl Data {
    pub(super) fn databases(&self) -> Range<u32> {
        self.databases..self.users
    }

    pub(super) fn users(&self) -> Range<u32> {
        self.users..self.end
    }
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
    Host(Box<Token>),
}

/// The names of all rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) tokens: Vec<Token>,
    /// The regular expressions, each with the number of its name.
    pub(super) regexes: Vec<(u32, Regex)>,
}

impl Names {
    fn count(&self) -> u32 {
        self.tokens.len() as u32
    }

    /// Drops what a rejected line left.
    fn truncate(&mut self, count: u32) {
        self.tokens.truncate(count as usize);
        let kept = self.regexes.partition_point(|(name, _)| *name < count);
        self.regexes.truncate(kept);
    }

    /// Source: `regcomp_auth_token`, since PostgreSQL 16.
    fn add(
        &mut self,
        names: &[Token],
        sources: &Sources,
        server: &Server,
    ) -> Result<(), Box<Failure>> {
        for &name in names {
            if server.major >= 16 {
                if let Some(pattern) = sources.token_text(name).strip_prefix(b"/") {
                    let regex = Regex::new(pattern)
                        .map_err(|reason| Failure::at(name, invalid_regex(pattern, reason)))?;
                    self.regexes.push((self.count(), regex));
                }
            }
            self.tokens.push(name);
        }
        Ok(())
    }
}

/// The fields of a line, read one after the other.
struct Fields<'a, I> {
    sources: &'a Sources,
    fields: I,
    end: u32,
}

impl<'a, I: Iterator<Item = &'a [Token]>> Fields<'a, I> {
    #[inline]
    fn expect(&mut self, what: &str) -> Result<&'a [Token], Box<Failure>> {
        match self.fields.next() {
            Some(field) => Ok(field),
            None => Err(self.ends_before(what)),
        }
    }

    #[cold]
    fn ends_before(&self, what: &str) -> Box<Failure> {
        Box::new(Failure {
            rejection: Rejection::new(format!("end-of-line before {what}")),
            at: self.end,
        })
    }

    /// The only token of the next field.
    #[inline]
    fn expect_one(&mut self, before: &str, what: &str) -> Result<Token, Box<Failure>> {
        match self.expect(before)? {
            [only] => Ok(*only),
            several => Err(Failure::several(several, what)),
        }
    }
}

/// Parses a line into a rule or an error.
pub(super) fn parse_line(
    sources: &Sources,
    line: TokenLine<'_>,
    server: &Server,
    names: &mut Names,
) -> Entry {
    let mut fields = Fields {
        sources,
        fields: line.fields(),
        end: line.place.span.end,
    };
    let parsed = match line.error {
        Some(error) => Parsed::Error(Box::new(Failure {
            rejection: Rejection::new(error.message),
            at: error.at,
        })),
        None => {
            let count = names.count();
            let mut warning = None;
            match parse_hba_line(&mut fields, server, names, &mut warning) {
                Ok(data) => Parsed::Rule(data, warning),
                Err(mut failure) => {
                    names.truncate(count);
                    // The view still shows an earlier message.
                    if let (None, Some(warning)) = (&failure.rejection.shown, warning) {
                        failure.rejection.shown = warning.rejection.shown;
                    }
                    Parsed::Error(failure)
                }
            }
        }
    };
    Entry {
        place: line.place,
        parsed,
    }
}

/// Source: `parse_hba_line`.
fn parse_hba_line<'a, I: Iterator<Item = &'a [Token]>>(
    fields: &mut Fields<'a, I>,
    server: &Server,
    names: &mut Names,
    warning: &mut Option<Box<Failure>>,
) -> Result<Data, Box<Failure>> {
    let sources = fields.sources;
    let token = fields.expect_one("connection type", "connection type")?;
    let text = sources.token_text(token);
    let connection = ConnectionType::find(text, server.major)
        .ok_or_else(|| Failure::at(token, Rejection::quoting("invalid connection type", text)))?;
    if let Some(message) = cannot_match(connection, server) {
        *warning = Some(Failure::at(token, Rejection::new(message)));
    }
    let databases = names.count();
    names.add(fields.expect("database specification")?, sources, server)?;
    let users = names.count();
    names.add(fields.expect("role specification")?, sources, server)?;
    let address = if connection == ConnectionType::Local {
        AddressData::None
    } else {
        parse_address(fields)?
    };

    let token = fields.expect_one("authentication method", "authentication type")?;
    let method = parse_method(sources.token_text(token), connection, server)
        .map_err(|rejection| Failure::at(token, rejection))?;
    let mut options = Options::new(method);
    for field in &mut fields.fields {
        for &token in field {
            let text = sources.token_text(token);
            let Some(equals) = memchr::memchr(b'=', text) else {
                let words = b"authentication option not in name=value format: ".as_slice();
                return Err(Failure::at(token, Rejection::new([words, text].concat())));
            };
            let (name, value) = (&text[..equals], &text[equals + 1..]);
            options
                .add(name, value, connection, method, server)
                .map_err(|rejection| Failure::at(token, rejection))?;
        }
    }
    options
        .finish(method, server)
        .map_err(|rejection| Failure::at(token, rejection))?;
    Ok(Data {
        databases,
        users,
        end: names.count(),
        connection,
        method,
        address,
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

pub(crate) fn invalid_regex(pattern: &[u8], reason: &str) -> Rejection {
    let words = b"invalid regular expression \"".as_slice();
    Rejection::new([words, pattern, b"\": ", reason.as_bytes()].concat())
}

fn parse_address<'a, I: Iterator<Item = &'a [Token]>>(
    fields: &mut Fields<'a, I>,
) -> Result<AddressData, Box<Failure>> {
    let token = fields.expect_one("IP address specification", "host address")?;
    let text = fields.sources.token_text(token);
    match text {
        b"all" if !token.quoted => return Ok(AddressData::All),
        b"samehost" if !token.quoted => return Ok(AddressData::SameHost),
        b"samenet" if !token.quoted => return Ok(AddressData::SameNet),
        _ => {}
    }
    // Short texts are searched faster without memchr.
    let slash = text.iter().position(|&byte| byte == b'/');
    let found = address::parse(&text[..slash.unwrap_or(text.len())]);
    let reject = |words: &str| Err(Failure::at(token, Rejection::quoting(words, text)));
    let (ip, mask) = match (found, slash) {
        (None, Some(_)) => {
            return reject("specifying both host name and CIDR mask is invalid:");
        }
        (None, None) => return Ok(AddressData::Host(Box::new(token))),
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
        None => {
            let rejection = Rejection::new("IP address and mask do not match");
            Err(Failure::at(token, rejection))
        }
    }
}

fn parse_mask<'a, I: Iterator<Item = &'a [Token]>>(
    fields: &mut Fields<'a, I>,
) -> Result<IpAddr, Box<Failure>> {
    let token = fields.expect_one("netmask specification", "netmask")?;
    let text = fields.sources.token_text(token);
    address::parse(text).ok_or_else(|| {
        // In the words of the GNU C library.
        let words = b"invalid IP mask \"".as_slice();
        let rejection = [words, text, b"\": Name or service not known"].concat();
        Failure::at(token, Rejection::new(rejection))
    })
}

fn parse_method(
    text: &[u8],
    connection: ConnectionType,
    server: &Server,
) -> Result<Method, Rejection> {
    let words = "invalid authentication method";
    let is_local = connection == ConnectionType::Local;
    Err(match Method::find(text, server.major) {
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
    })
}
