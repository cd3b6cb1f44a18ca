//! The server that a file is read for: versions and builds differ in what they accept.

/// The server that a file is read for.
///
/// Without anything said it is PostgreSQL 18 with everything that a build for Linux can have, and
/// TLS switched on.
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

/// Whether the server speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ssl {
    /// The parameter `ssl` is on.
    On,
    /// The parameter `ssl` is off.
    Off,
    /// The server was built without it.
    Missing,
}

impl Default for Server {
    fn default() -> Self {
        Self::new(18)
    }
}

impl Server {
    /// The server of that major version, 10 or later, with everything built in.
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

    /// Whether it speaks TLS.
    #[must_use]
    pub fn ssl(mut self, ssl: Ssl) -> Self {
        self.ssl = ssl;
        self
    }

    /// Whether it was built with GSSAPI.
    #[must_use]
    pub fn gss(mut self, has: bool) -> Self {
        self.gss = has;
        self
    }

    /// Whether it was built with SSPI, as on Windows; not, unless said.
    #[must_use]
    pub fn sspi(mut self, has: bool) -> Self {
        self.sspi = has;
        self
    }

    /// Whether it was built with LDAP.
    #[must_use]
    pub fn ldap(mut self, has: bool) -> Self {
        self.ldap = has;
        self
    }

    /// Whether it was built with PAM.
    #[must_use]
    pub fn pam(mut self, has: bool) -> Self {
        self.pam = has;
        self
    }

    /// Whether it was built with BSD authentication, as on OpenBSD; not, unless said.
    #[must_use]
    pub fn bsd(mut self, has: bool) -> Self {
        self.bsd = has;
        self
    }

    /// The libraries in the parameter `oauth_validator_libraries`. Unless said, any that a rule
    /// names is taken to be among them.
    #[must_use]
    pub fn oauth_validators<V: Into<Vec<u8>>>(
        mut self,
        libraries: impl IntoIterator<Item = V>,
    ) -> Self {
        self.oauth_validators = Some(libraries.into_iter().map(Into::into).collect());
        self
    }
}
