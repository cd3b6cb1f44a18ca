//! The option `ldapurl`, as OpenLDAP's `ldap_url_parse` splits it.

use crate::hba::options::{Key, Rejection};

/// OpenLDAP numbers its errors from 1. The server shows them with the messages for results of
/// operations.
#[derive(Clone, Copy)]
enum Flaw {
    Scheme,
    Enclosure,
    Url,
    Scope,
    Filter,
}

impl Flaw {
    fn words(self) -> &'static str {
        match self {
            Self::Scheme => "Time limit exceeded",
            Self::Enclosure => "Size limit exceeded",
            Self::Url => "Compare False",
            Self::Scope => "Strong(er) authentication required",
            Self::Filter => "Partial results and referral received",
        }
    }
}

/// The options that a URL stands for.
///
/// Source: `parse_hba_auth_opt`, and `ldap_pvt_url_parse` in OpenLDAP's url.c.
pub(crate) fn parse(url: &[u8], major: u16) -> Result<Vec<(Key, Vec<u8>)>, Rejection> {
    let flawed = |flaw: Flaw| {
        let start = b"could not parse LDAP URL \"".as_slice();
        Rejection::new([start, url, b"\": ", flaw.words().as_bytes()].concat())
    };
    let parts = Parts::new(url).map_err(flawed)?;
    let is_tls = parts.scheme == b"ldaps" && major >= 11;
    if parts.scheme != b"ldap" && !is_tls {
        let words = b"unsupported LDAP URL scheme: ".as_slice();
        return Err(Rejection::new([words, &parts.scheme].concat()));
    }
    if parts.filter.is_some() && major <= 10 {
        return Err(Rejection::new("filters not supported in LDAP URLs"));
    }
    let mut options = Vec::new();
    if major >= 11 {
        options.push((Key::LdapScheme, parts.scheme.clone()));
    }
    options.extend(parts.host.map(|host| (Key::LdapServer, host)));
    options.push((Key::LdapPort, parts.port.to_string().into_bytes()));
    options.extend((!parts.dn.is_empty()).then_some((Key::LdapBaseDn, parts.dn)));
    options.extend(parts.attribute.map(|name| (Key::LdapSearchAttribute, name)));
    options.extend(parts.filter.map(|filter| (Key::LdapSearchFilter, filter)));
    options.push((Key::LdapScope, parts.scope.to_string().into_bytes()));
    Ok(options)
}

struct Parts {
    scheme: Vec<u8>,
    host: Option<Vec<u8>>,
    port: i64,
    dn: Vec<u8>,
    attribute: Option<Vec<u8>>,
    scope: u8,
    filter: Option<Vec<u8>>,
}

impl Parts {
    fn new(url: &[u8]) -> Result<Self, Flaw> {
        let mut rest = url;
        if let Some(inside) = rest.strip_prefix(b"<") {
            rest = inside.strip_suffix(b">").ok_or(Flaw::Enclosure)?;
        }
        if rest.len() >= 4 && rest[..4].eq_ignore_ascii_case(b"URL:") {
            rest = &rest[4..];
        }
        const SCHEMES: [&str; 6] = ["ldap", "pldap", "ldaps", "pldaps", "ldapi", "cldap"];
        let (scheme, rest) = SCHEMES
            .iter()
            .find_map(|scheme| {
                let prefix = format!("{scheme}://");
                let start = rest.get(..prefix.len())?;
                start
                    .eq_ignore_ascii_case(prefix.as_bytes())
                    .then_some((*scheme, &rest[prefix.len()..]))
            })
            .ok_or(Flaw::Scheme)?;
        let end = rest.iter().position(|&byte| byte == b'/' || byte == b'?');
        let (authority, mut rest) = rest.split_at(end.unwrap_or(rest.len()));
        if rest.first() == Some(&b'/') {
            rest = &rest[1..];
        }
        let (host, port) = authority_parts(authority)?;
        let mut fields = rest.split(|&byte| byte == b'?');
        let mut next = || fields.next().unwrap_or_default();
        let dn = unescaped(next());
        let attributes = next();
        let scope = match unescaped(next()).to_ascii_lowercase().as_slice() {
            b"" | b"base" => 0,
            b"one" | b"onelevel" => 1,
            b"sub" | b"subtree" => 2,
            b"subord" | b"subordinate" | b"children" => 3,
            _ => return Err(Flaw::Scope),
        };
        let filter = next();
        let filter = match unescaped(filter) {
            text if filter.is_empty() => {
                debug_assert!(text.is_empty());
                None
            }
            text if text.is_empty() => return Err(Flaw::Filter),
            text => Some(text),
        };
        let attribute = unescaped(attributes);
        let attribute = attribute
            .split(|&byte| byte == b',')
            .next()
            .unwrap_or_default();
        let default = if scheme.ends_with('s') { 636 } else { 389 };
        Ok(Self {
            scheme: scheme.trim_start_matches('p').as_bytes().to_vec(),
            host,
            port: if port == 0 { default } else { port },
            dn,
            attribute: (!attributes.is_empty()).then(|| attribute.to_vec()),
            scope,
            filter,
        })
    }
}

fn authority_parts(authority: &[u8]) -> Result<(Option<Vec<u8>>, i64), Flaw> {
    let (host, port) = match authority.strip_prefix(b"[") {
        Some(inside) => {
            let end = inside
                .iter()
                .position(|&byte| byte == b']')
                .ok_or(Flaw::Url)?;
            match &inside[end + 1..] {
                [] => (&inside[..end], None),
                [b':', port @ ..] => (&inside[..end], Some(port)),
                _ => return Err(Flaw::Url),
            }
        }
        None => match authority.iter().position(|&byte| byte == b':') {
            Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
            None => (authority, None),
        },
    };
    let port = match port {
        None => 0,
        Some(port) => {
            let text = String::from_utf8_lossy(port);
            text.parse().map_err(|_| Flaw::Url)?
        }
    };
    let host = unescaped(host);
    Ok(((!host.is_empty()).then_some(host), port))
}

/// Source: `ldap_pvt_hex_unescape`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut found = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            if let [high, low, after @ ..] = rest {
                let value = digit(*high).unwrap_or(0) * 16 + digit(*low).unwrap_or(0);
                found.push(value as u8);
                rest = after;
                continue;
            }
            break;
        }
        found.push(*first);
    }
    found
}
