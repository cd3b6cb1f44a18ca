//! The server that a file is read for: versions and builds accept different rules.

/// The server that a file is read for.
///
/// The default is PostgreSQL 18 with all optional parts that a build for Linux can have, and with
/// TLS on.
///
/// ```
/// use pgconf_parse::hba::{Server, Ssl};
///
/// let server = Server::new(15).ssl(Ssl::Off).gss(false);
/// assert_eq!(server.major(), 15);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub(crate) major: u16,
    pub(crate) ssl: Ssl,
    pub(crate) gss: bool,
    pub(crate) sspi: bool,
    pub(crate) ldap: bool,
    pub(crate) pam: bool,
    pub(crate) bsd: bool,
    pub(crate) oauth_validators: Option<Vec<Vec<u8>>>,
}

/// The server's support for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ssl {
    /// The parameter `ssl` is on.
    On,
    /// The parameter `ssl` is off.
    Off,
    /// The server was built without TLS.
    Missing,
}

impl Default for Server {
    fn default() -> Self {
        Self::new(18)
    }
}

impl Server {
    /// The server of that major version, 10 or later, with all optional parts.
    #[must_use]
    pub fn new(major: u16) -> Self {
        Self {
            major,
            ssl: Ssl::On,
            gss: true,
            sspi: false,
            ldap: true,
            pam: true,
            bsd: false,
            oauth_validators: None,
        }
    }

    /// The major version.
    #[must_use]
    pub fn major(&self) -> u16 {
        self.major
    }

    /// Sets the support for TLS.
    #[must_use]
    pub fn ssl(mut self, ssl: Ssl) -> Self {
        self.ssl = ssl;
        self
    }

    /// Sets whether the server was built with GSSAPI.
    #[must_use]
    pub fn gss(mut self, has: bool) -> Self {
        self.gss = has;
        self
    }

    /// Sets whether the server was built with SSPI, as on Windows. The default is no.
    #[must_use]
    pub fn sspi(mut self, has: bool) -> Self {
        self.sspi = has;
        self
    }

    /// Sets whether the server was built with LDAP.
    #[must_use]
    pub fn ldap(mut self, has: bool) -> Self {
        self.ldap = has;
        self
    }

    /// Sets whether the server was built with PAM.
    #[must_use]
    pub fn pam(mut self, has: bool) -> Self {
        self.pam = has;
        self
    }

    /// Sets whether the server was built with BSD authentication, as on OpenBSD. The default is no.
    #[must_use]
    pub fn bsd(mut self, has: bool) -> Self {
        self.bsd = has;
        self
    }

    /// Sets the libraries in the parameter `oauth_validator_libraries`. By default every library
    /// that a rule names is accepted.
    #[must_use]
    pub fn oauth_validators<V: Into<Vec<u8>>>(
        mut self,
        libraries: impl IntoIterator<Item = V>,
    ) -> Self {
        self.oauth_validators = Some(libraries.into_iter().map(Into::into).collect());
        self
    }
}
