//! Connection types and authentication methods.

use std::fmt;

use crate::hba::server::Server;

/// The type of the connections that a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionType {
    /// Over a Unix socket.
    Local,
    /// Over TCP, encrypted or not.
    Host,
    /// Over TCP with TLS.
    HostSsl,
    /// Over TCP without TLS.
    HostNoSsl,
    /// Over TCP, encrypted by GSSAPI; since PostgreSQL 12.
    HostGssEnc,
    /// Over TCP, not encrypted by GSSAPI; since PostgreSQL 12.
    HostNoGssEnc,
}

impl ConnectionType {
    /// The keyword in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Host => "host",
            Self::HostSsl => "hostssl",
            Self::HostNoSsl => "hostnossl",
            Self::HostGssEnc => "hostgssenc",
            Self::HostNoGssEnc => "hostnogssenc",
        }
    }

    /// The first major version with this keyword.
    #[must_use]
    pub fn since(self) -> u16 {
        match self {
            Self::HostGssEnc | Self::HostNoGssEnc => 12,
            _ => 10,
        }
    }

    pub(crate) fn find(name: &[u8], major: u16) -> Option<Self> {
        let connection = match name {
            b"local" => Self::Local,
            b"host" => Self::Host,
            b"hostssl" => Self::HostSsl,
            b"hostnossl" => Self::HostNoSsl,
            b"hostgssenc" => Self::HostGssEnc,
            b"hostnogssenc" => Self::HostNoGssEnc,
            _ => return None,
        };
        (connection.since() <= major).then_some(connection)
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An authentication method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// The connection is rejected.
    Reject,
    /// The connection is allowed without authentication.
    Trust,
    /// The ident server of the client's machine names the user. Over a Unix socket this is `peer`.
    Ident,
    /// A password in clear text.
    Password,
    /// A password, by MD5 or SCRAM, depending on the stored hash.
    Md5,
    /// A password, by SCRAM.
    ScramSha256,
    /// A Kerberos ticket, through GSSAPI.
    Gss,
    /// SSPI, on Windows.
    Sspi,
    /// A password that PAM checks.
    Pam,
    /// A password that OpenBSD's framework checks.
    Bsd,
    /// A password that an LDAP server checks.
    Ldap,
    /// A certificate of the client.
    Cert,
    /// A password that a RADIUS server checks.
    Radius,
    /// The user of the operating system, over a Unix socket.
    Peer,
    /// An OAuth token; since PostgreSQL 18.
    OAuth,
}

impl Method {
    /// The keyword in the file. Source: `UserAuthName` in hba.c.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Trust => "trust",
            Self::Ident => "ident",
            Self::Password => "password",
            Self::Md5 => "md5",
            Self::ScramSha256 => "scram-sha-256",
            Self::Gss => "gss",
            Self::Sspi => "sspi",
            Self::Pam => "pam",
            Self::Bsd => "bsd",
            Self::Ldap => "ldap",
            Self::Cert => "cert",
            Self::Radius => "radius",
            Self::Peer => "peer",
            Self::OAuth => "oauth",
        }
    }

    /// The first major version with this keyword.
    #[must_use]
    pub fn since(self) -> u16 {
        if self == Self::OAuth { 18 } else { 10 }
    }

    pub(crate) fn find(name: &[u8], major: u16) -> Option<Self> {
        let method = match name {
            b"reject" => Self::Reject,
            b"trust" => Self::Trust,
            b"ident" => Self::Ident,
            b"password" => Self::Password,
            b"md5" => Self::Md5,
            b"scram-sha-256" => Self::ScramSha256,
            b"gss" => Self::Gss,
            b"sspi" => Self::Sspi,
            b"pam" => Self::Pam,
            b"bsd" => Self::Bsd,
            b"ldap" => Self::Ldap,
            b"cert" => Self::Cert,
            b"radius" => Self::Radius,
            b"peer" => Self::Peer,
            b"oauth" => Self::OAuth,
            _ => return None,
        };
        (method.since() <= major).then_some(method)
    }

    /// Returns whether the server was built with this method.
    pub(crate) fn is_built_in(self, server: &Server) -> bool {
        match self {
            Self::Gss => server.gss,
            Self::Sspi => server.sspi,
            Self::Pam => server.pam,
            Self::Bsd => server.bsd,
            Self::Ldap => server.ldap,
            Self::Cert => server.ssl != crate::hba::server::Ssl::Missing,
            _ => true,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
