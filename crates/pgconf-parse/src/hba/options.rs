//! The options of a method: `parse_hba_auth_opt` and the checks of `parse_hba_line`.

use crate::hba::ldap_url;
use crate::hba::method::{ConnectionType, Method};
use crate::hba::server::Server;
use crate::value::list::split_guc_list;

/// An error in a rule: the message in the server's log, and the message in its view, which may
/// differ or be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) logged: Vec<u8>,
    pub(crate) shown: Option<Vec<u8>>,
}

impl Rejection {
    /// The same in both places.
    pub(crate) fn new(message: impl Into<Vec<u8>>) -> Self {
        let logged = message.into();
        Self {
            shown: Some(logged.clone()),
            logged,
        }
    }

    /// A message that ends with a quoted text.
    pub(crate) fn quoting(words: &str, quoted: &[u8]) -> Self {
        Self::new([words.as_bytes(), b" \"", quoted, b"\""].concat())
    }

    /// A message that is only logged: the view shows the line without an error.
    fn only_logged(message: Vec<u8>) -> Self {
        Self {
            logged: message,
            shown: None,
        }
    }
}

/// The options in the order of the server's view. Options that the view does not show come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    IncludeRealm,
    KrbRealm,
    Map,
    ClientCert,
    PamService,
    LdapServer,
    LdapPort,
    LdapScheme,
    LdapTls,
    LdapPrefix,
    LdapSuffix,
    LdapBaseDn,
    LdapBindDn,
    LdapBindPasswd,
    LdapSearchAttribute,
    LdapSearchFilter,
    LdapScope,
    RadiusServers,
    RadiusSecrets,
    RadiusIdentifiers,
    RadiusPorts,
    Issuer,
    Scope,
    Validator,
    DelegateIdentMapping,
    ClientName,
    PamUseHostname,
    CompatRealm,
    UpnUsername,
    LdapUrl,
}

impl Key {
    fn text(self) -> &'static str {
        let found = OPTIONS.iter().find(|option| option.name == self);
        found.map_or("ldapscope", |option| option.text)
    }

    /// Returns whether the view of that version shows it. Source: `get_hba_options` in hbafuncs.c.
    fn is_shown(self, major: u16) -> bool {
        self < Self::ClientName && (self != Self::LdapScheme || major >= 13)
    }
}

struct Known {
    text: &'static str,
    name: Key,
    since: u16,
    methods: &'static [Method],
    /// The methods, as the server's message lists them.
    listed: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// `1` or anything else.
    Flag,
    /// The option has rules of its own.
    Special,
}

const fn known(
    text: &'static str,
    name: Key,
    methods: &'static [Method],
    listed: &'static str,
    kind: Kind,
) -> Known {
    Known {
        text,
        name,
        since: 10,
        methods,
        listed,
        kind,
    }
}

const fn since(major: u16, known: Known) -> Known {
    Known {
        since: major,
        ..known
    }
}

const MAPPED: &[Method] = &[
    Method::Ident,
    Method::Peer,
    Method::Gss,
    Method::Sspi,
    Method::Cert,
    Method::OAuth,
];
const LDAP: &[Method] = &[Method::Ldap];
const RADIUS: &[Method] = &[Method::Radius];
const REALM: &[Method] = &[Method::Gss, Method::Sspi];
const OAUTH: &[Method] = &[Method::OAuth];
const PAM: &[Method] = &[Method::Pam];
const SSPI: &[Method] = &[Method::Sspi];

use Kind::{Flag, Special, Text};

#[rustfmt::skip]
static OPTIONS: [Known; 29] = [
    known("map", Key::Map, MAPPED, "ident, peer, gssapi, sspi, and cert", Text),
    known("clientcert", Key::ClientCert, &[], "", Special),
    since(14, known("clientname", Key::ClientName, &[], "", Special)),
    known("pamservice", Key::PamService, PAM, "pam", Text),
    known("pam_use_hostname", Key::PamUseHostname, PAM, "pam", Flag),
    known("ldapurl", Key::LdapUrl, LDAP, "ldap", Special),
    known("ldaptls", Key::LdapTls, LDAP, "ldap", Flag),
    since(11, known("ldapscheme", Key::LdapScheme, LDAP, "ldap", Text)),
    known("ldapserver", Key::LdapServer, LDAP, "ldap", Text),
    known("ldapport", Key::LdapPort, LDAP, "ldap", Special),
    known("ldapbinddn", Key::LdapBindDn, LDAP, "ldap", Text),
    known("ldapbindpasswd", Key::LdapBindPasswd, LDAP, "ldap", Text),
    known("ldapsearchattribute", Key::LdapSearchAttribute, LDAP, "ldap", Text),
    since(11, known("ldapsearchfilter", Key::LdapSearchFilter, LDAP, "ldap", Text)),
    known("ldapbasedn", Key::LdapBaseDn, LDAP, "ldap", Text),
    known("ldapprefix", Key::LdapPrefix, LDAP, "ldap", Text),
    known("ldapsuffix", Key::LdapSuffix, LDAP, "ldap", Text),
    known("krb_realm", Key::KrbRealm, REALM, "gssapi and sspi", Text),
    known("include_realm", Key::IncludeRealm, REALM, "gssapi and sspi", Flag),
    known("compat_realm", Key::CompatRealm, SSPI, "sspi", Flag),
    known("upn_username", Key::UpnUsername, SSPI, "sspi", Flag),
    known("radiusservers", Key::RadiusServers, RADIUS, "radius", Special),
    known("radiusports", Key::RadiusPorts, RADIUS, "radius", Special),
    known("radiussecrets", Key::RadiusSecrets, RADIUS, "radius", Special),
    known("radiusidentifiers", Key::RadiusIdentifiers, RADIUS, "radius", Special),
    since(18, known("issuer", Key::Issuer, OAUTH, "oauth", Text)),
    since(18, known("scope", Key::Scope, OAUTH, "oauth", Text)),
    since(18, known("validator", Key::Validator, OAUTH, "oauth", Text)),
    since(18, known("delegate_ident_mapping", Key::DelegateIdentMapping, OAUTH, "oauth", Flag)),
];

/// The options of one rule. Of several values for an option the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    values: Vec<(Key, Vec<u8>)>,
}

impl Options {
    /// The options that are set before the line is read. Source: `parse_hba_line`.
    pub(crate) fn new(method: Method) -> Self {
        let mut options = Self::default();
        if REALM.contains(&method) {
            options.set(Key::IncludeRealm, "true");
        }
        if method == Method::Sspi {
            options.set(Key::CompatRealm, "true");
        }
        options
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn get(&self, name: Key) -> Option<&[u8]> {
        let found = self.values.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// Key and value, as the server's view shows them.
    pub(crate) fn shown(
        &self,
        method: Method,
        major: u16,
    ) -> impl Iterator<Item = (&'static str, &[u8])> {
        let hides_scope = method != Method::Ldap;
        self.values
            .iter()
            .filter(move |(name, _)| name.is_shown(major))
            .filter(move |(name, value)| {
                *name != Key::LdapScope || !(hides_scope || value.as_slice() == b"0")
            })
            .map(|(name, value)| (name.text(), value.as_slice()))
    }

    fn set(&mut self, name: Key, value: impl Into<Vec<u8>>) {
        let value = value.into();
        match self.values.binary_search_by_key(&name, |(name, _)| *name) {
            Ok(n) => self.values[n].1 = value,
            Err(n) => self.values.insert(n, (name, value)),
        }
    }

    fn unset(&mut self, name: Key) {
        self.values.retain(|(known, _)| *known != name);
    }

    /// Source: `parse_hba_auth_opt`.
    pub(crate) fn add(
        &mut self,
        name: &[u8],
        value: &[u8],
        connection: ConnectionType,
        method: Method,
        server: &Server,
    ) -> Result<(), Rejection> {
        self.set(Key::LdapScope, "2");
        let found = OPTIONS
            .iter()
            .find(|known| known.text.as_bytes() == name && known.since <= server.major);
        let Some(known) = found else {
            let words = "unrecognized authentication option name:";
            return Err(Rejection::quoting(words, name));
        };
        if !known.methods.is_empty() && !known.methods.contains(&method) {
            let listed = match known.name {
                Key::Map if server.major >= 18 => "ident, peer, gssapi, sspi, cert, and oauth",
                _ => known.listed,
            };
            return Err(Rejection::new(format!(
                "authentication option \"{}\" is only valid for authentication methods {listed}",
                known.text,
            )));
        }
        match known.kind {
            Text => self.set(known.name, value),
            Flag if value == b"1" => self.set(known.name, "true"),
            Flag => self.unset(known.name),
            Special => self.add_special(known.name, value, connection, method, server)?,
        }
        Ok(())
    }

    fn add_special(
        &mut self,
        name: Key,
        value: &[u8],
        connection: ConnectionType,
        method: Method,
        server: &Server,
    ) -> Result<(), Rejection> {
        match name {
            Key::ClientCert | Key::ClientName if connection != ConnectionType::HostSsl => {
                return Err(Rejection::new(format!(
                    "{} can only be configured for \"hostssl\" rows",
                    name.text(),
                )));
            }
            Key::ClientCert => return self.add_client_cert(value, method, server.major),
            Key::ClientName => match value {
                b"CN" | b"DN" => self.set(name, value),
                _ => return Err(invalid_value("clientname", value)),
            },
            Key::LdapUrl => {
                for (name, value) in ldap_url::parse(value, server.major)? {
                    self.set(name, value);
                }
            }
            Key::LdapPort => match atoi(value) {
                0 => return Err(Rejection::quoting("invalid LDAP port number:", value)),
                port => self.set(name, port.to_string()),
            },
            _ => return self.add_radius(name, value),
        }
        Ok(())
    }

    fn add_client_cert(
        &mut self,
        value: &[u8],
        method: Method,
        major: u16,
    ) -> Result<(), Rejection> {
        let is_cert = method == Method::Cert;
        match (value, major) {
            (b"1", ..=11) => self.set(Key::ClientCert, "true"),
            (_, ..=11) if is_cert => {
                return Err(Rejection::new(
                    "clientcert can not be set to 0 when using \"cert\" authentication",
                ));
            }
            (_, ..=11) => self.unset(Key::ClientCert),
            (b"verify-ca", 14..) if is_cert => {
                return Err(Rejection {
                    logged: b"clientcert only accepts \"verify-full\" when using \"cert\" \
                              authentication"
                        .to_vec(),
                    shown: Some(
                        b"clientcert can only be set to \"verify-full\" when using \"cert\" \
                          authentication"
                            .to_vec(),
                    ),
                });
            }
            (b"verify-full", _) => self.set(Key::ClientCert, value),
            (b"verify-ca", _) | (b"1", ..=13) => self.set(Key::ClientCert, "verify-ca"),
            (b"0" | b"no-verify", ..=13) if is_cert => {
                let not = if major == 12 { "can not" } else { "cannot" };
                return Err(Rejection::new(format!(
                    "clientcert {not} be set to \"no-verify\" when using \"cert\" authentication",
                )));
            }
            (b"0" | b"no-verify", ..=13) => self.unset(Key::ClientCert),
            _ => return Err(invalid_value("clientcert", value)),
        }
        Ok(())
    }

    /// DIFFERENCE: names of RADIUS servers are assumed to have an address. The server looks them
    /// up.
    fn add_radius(&mut self, name: Key, value: &[u8]) -> Result<(), Rejection> {
        let what = match name {
            Key::RadiusServers => "server",
            Key::RadiusPorts => "port",
            Key::RadiusSecrets => "secret",
            _ => "identifiers",
        };
        let Some(list) = radius_list(value) else {
            let words = format!("could not parse RADIUS {what} list");
            let rejection = Rejection::quoting(&words, value);
            return Err(Rejection {
                shown: (name == Key::RadiusPorts)
                    .then(|| Rejection::quoting("invalid RADIUS port number:", value).logged),
                ..rejection
            });
        };
        if name == Key::RadiusPorts && list.iter().any(|port| atoi(port.as_bytes()) == 0) {
            let rejection = Rejection::quoting("invalid RADIUS port number:", value);
            return Err(Rejection::only_logged(rejection.logged));
        }
        self.set(name, value);
        Ok(())
    }

    /// Checks for the options that a method needs. Source: the end of `parse_hba_line`.
    pub(crate) fn finish(&mut self, method: Method, server: &Server) -> Result<(), Rejection> {
        match method {
            Method::Ldap => self.finish_ldap(server.major),
            Method::Radius => self.finish_radius(server.major),
            Method::Cert => {
                let value = if server.major <= 11 {
                    "true"
                } else {
                    "verify-full"
                };
                self.set(Key::ClientCert, value);
                Ok(())
            }
            Method::OAuth => self.finish_oauth(server),
            _ => Ok(()),
        }
    }

    fn finish_ldap(&self, major: u16) -> Result<(), Rejection> {
        let has = |name| self.get(name).is_some();
        if major <= 11 && !has(Key::LdapServer) {
            return Err(missing("ldap", "ldapserver"));
        }
        let searches = [
            Key::LdapBaseDn,
            Key::LdapBindDn,
            Key::LdapBindPasswd,
            Key::LdapSearchAttribute,
            Key::LdapSearchFilter,
        ];
        if has(Key::LdapPrefix) || has(Key::LdapSuffix) {
            if searches.into_iter().any(has) {
                let message = match major {
                    ..=10 => {
                        "cannot use ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, \
                         or ldapurl together with ldapprefix"
                    }
                    11..=17 => {
                        "cannot use ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, \
                         ldapsearchfilter, or ldapurl together with ldapprefix"
                    }
                    _ => "cannot mix options for simple bind and search+bind modes",
                };
                return Err(Rejection::new(message));
            }
        } else if !has(Key::LdapBaseDn) {
            return Err(Rejection::new(
                "authentication method \"ldap\" requires argument \"ldapbasedn\", \
                 \"ldapprefix\", or \"ldapsuffix\" to be set",
            ));
        }
        if has(Key::LdapSearchAttribute) && has(Key::LdapSearchFilter) {
            return Err(Rejection::new(
                "cannot use ldapsearchattribute together with ldapsearchfilter",
            ));
        }
        Ok(())
    }

    fn finish_radius(&self, major: u16) -> Result<(), Rejection> {
        let count = |name| {
            self.get(name)
                .and_then(radius_list)
                .map_or(0, |list| list.len())
        };
        for (name, text) in [
            (Key::RadiusServers, "radiusservers"),
            (Key::RadiusSecrets, "radiussecrets"),
        ] {
            // The server treats an empty list as a missing one.
            if count(name) == 0 {
                return Err(missing("radius", text));
            }
        }
        let servers = count(Key::RadiusServers);
        for (name, what) in [
            (Key::RadiusSecrets, "secrets"),
            (Key::RadiusPorts, "ports"),
            (Key::RadiusIdentifiers, "identifiers"),
        ] {
            let count = count(name);
            if count > 1 && count != servers {
                let message = format!(
                    "the number of RADIUS {what} ({count}) must be 1 or the same as the number \
                     of RADIUS servers ({servers})",
                );
                return Err(match major {
                    ..=13 => Rejection::only_logged(message.into_bytes()),
                    _ => Rejection::new(message),
                });
            }
        }
        Ok(())
    }

    /// Source: also `check_oauth_validator` in auth-oauth.c.
    fn finish_oauth(&mut self, server: &Server) -> Result<(), Rejection> {
        for (name, text) in [(Key::Scope, "scope"), (Key::Issuer, "issuer")] {
            if self.get(name).is_none() {
                return Err(missing("oauth", text));
            }
        }
        match (&server.oauth_validators, self.get(Key::Validator)) {
            (None, _) => {}
            (Some(allowed), _) if allowed.is_empty() => {
                return Err(Rejection::new(
                    "oauth_validator_libraries must be set for authentication method oauth",
                ));
            }
            (Some(allowed), None) => match allowed.as_slice() {
                [only] => self.set(Key::Validator, only.clone()),
                _ => {
                    return Err(Rejection::new(
                        "authentication method \"oauth\" requires argument \"validator\" to be \
                         set when oauth_validator_libraries contains multiple options",
                    ));
                }
            },
            (Some(allowed), Some(validator)) => {
                if !allowed.iter().any(|library| library == validator) {
                    let start = b"validator \"".as_slice();
                    let end = b"\" is not permitted by oauth_validator_libraries";
                    return Err(Rejection::new([start, validator, end].concat()));
                }
            }
        }
        if self.get(Key::DelegateIdentMapping).is_some() && self.get(Key::Map).is_some() {
            return Err(Rejection::new(
                "map cannot be used in combination with delegate_ident_mapping",
            ));
        }
        Ok(())
    }
}

/// The view does not show these errors, although the server rejects the line.
fn invalid_value(name: &str, value: &[u8]) -> Rejection {
    let words = format!("invalid value for {name}:");
    Rejection::only_logged(Rejection::quoting(&words, value).logged)
}

fn missing(method: &str, option: &str) -> Rejection {
    Rejection::new(format!(
        "authentication method \"{method}\" requires argument \"{option}\" to be set"
    ))
}

/// Source: `SplitGUCList`. Bytes that are not UTF-8 are replaced: only commas and quotes matter.
fn radius_list(value: &[u8]) -> Option<Vec<String>> {
    split_guc_list(&String::from_utf8_lossy(value)).ok()
}

/// Source: `atoi` of the C library.
pub(crate) fn atoi(text: &[u8]) -> i32 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut number = 0_i64;
    for byte in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number
            .saturating_mul(10)
            .saturating_add(i64::from(byte - b'0'));
    }
    // As strtol's result is cut off.
    (if negative { -number } else { number }) as i32
}
