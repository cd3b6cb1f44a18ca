//! TLS: an authority for the tests of this process, and a certificate of it for each server.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{ConnectionInfo, StartOptions};
use pg_install::Installation;
use pg_proc::Account;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::builder::TempClusterBuilder;
use crate::error::{TempErrorKind, at};
use crate::temp_cluster::{Listen, TempCluster};

/// The directory of the certificates in the root of a cluster.
const DIRECTORY: &str = "tls";
const AUTHORITY: &str = "ca.crt";
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";
/// The name by which clients connect, and which the certificate has.
pub(crate) const HOST: &str = "localhost";

impl TempClusterBuilder {
    /// Enables TLS, on 127.0.0.1 at a free port ([`Listen::Loopback`]). Requires the feature `tls`.
    ///
    /// Its certificate is for `localhost`, 127.0.0.1 and ::1, and is signed by an authority of this
    /// process, whose key is forgotten at once and whose certificate is in
    /// [`TempCluster::root_certificate`]. Nothing of it is in the template cache. Clients connect
    /// with TLS or without, unless [rules](Self::hba) demand it (`hostssl`).
    ///
    /// ```no_run
    /// let server = pg_fixture::TempCluster::builder().tls().start()?;
    /// // `sslmode=verify-full` and `sslrootcert`, for libpq and sqlx.
    /// println!("{}", server.verified_connection_info().unwrap().uri());
    /// # Ok::<(), pg_fixture::TempError>(())
    /// ```
    ///
    /// The server of a setup step does not use TLS. [`start`](Self::start) fails if the server was
    /// built without TLS.
    pub fn tls(mut self) -> Self {
        self.has_tls = true;
        self.listen = Listen::Loopback;
        self
    }

    pub(crate) fn check_tls(&self, installation: &Installation) -> Result<(), TempErrorKind> {
        if self.has_tls && self.listen != Listen::Loopback {
            let problem = "TLS is for TCP, and the server is to listen on a socket only";
            return Err(TempErrorKind::Option(problem.to_owned()));
        }
        if self.has_tls && !installation.ssl() {
            let server = installation
                .bindir()
                .unwrap_or(Utf8Path::new(""))
                .to_owned();
            return Err(TempErrorKind::NoTls(server));
        }
        Ok(())
    }
}

impl TempCluster {
    /// The certificate of the authority that signed that of the server, in PEM; none without
    /// [TLS](TempClusterBuilder::tls). It is what clients call `sslrootcert`.
    pub fn root_certificate(&self) -> Option<&Utf8Path> {
        self.root_certificate.as_deref()
    }

    /// Address, user and database, with what libpq and sqlx need to verify the server:
    /// `sslmode=verify-full` and `sslrootcert`. None without [TLS](TempClusterBuilder::tls).
    ///
    /// rust-postgres refuses both parameters in a URI. It is given
    /// [`uri`](TempCluster::uri) and a TLS connector that trusts
    /// [`root_certificate`](Self::root_certificate).
    pub fn verified_connection_info(&self) -> Option<ConnectionInfo> {
        let certificate = self.root_certificate.as_deref()?;
        Some(self.info.clone().with_root_certificate(certificate))
    }
}

/// Writes the certificates and the key, which is the account's, into a new directory below the root
/// of a cluster, and returns the path of the authority's.
pub(crate) fn equip(
    root: &Utf8Path,
    account: Option<&Account>,
) -> Result<Utf8PathBuf, TempErrorKind> {
    let certificates = Certificates::of_this_process()?;
    let directory = root.join(DIRECTORY);
    // Owned by the caller, not the account: no other user can replace the key.
    DirBuilder::new()
        .mode(0o755)
        .create(&directory)
        .map_err(at(&directory))?;
    std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).map_err(at(&directory))?;
    for (name, text, mode) in [
        (AUTHORITY, &certificates.authority, 0o644),
        (CERTIFICATE, &certificates.certificate, 0o644),
        (KEY, &certificates.key, 0o600),
    ] {
        let path = directory.join(name);
        write(&path, text, mode, account).map_err(at(&path))?;
    }
    Ok(directory.join(AUTHORITY))
}

/// The server refuses a key that another account than its own or root can read
/// (`check_ssl_key_file_permissions` in src/backend/libpq/be-secure-common.c).
fn write(path: &Utf8Path, text: &str, mode: u32, account: Option<&Account>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    if let Some(account) = account {
        fchown(&file, Some(account.uid()), Some(account.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Has the server use what [`equip`] has written.
pub(crate) fn configure(options: StartOptions, root_certificate: &Utf8Path) -> StartOptions {
    let file = |name: &str| root_certificate.with_file_name(name).into_string();
    options
        .setting("ssl", "on")
        .setting("ssl_cert_file", file(CERTIFICATE))
        .setting("ssl_key_file", file(KEY))
}

/// In PEM.
#[derive(Debug)]
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    /// Made once for each process: a key takes less than a millisecond, and none is on disk for
    /// longer than its server.
    fn of_this_process() -> Result<&'static Self, TempErrorKind> {
        static MADE: OnceLock<Certificates> = OnceLock::new();
        if let Some(made) = MADE.get() {
            return Ok(made);
        }
        let made = Self::make().map_err(|error| TempErrorKind::Certificate(error.into()))?;
        Ok(MADE.get_or_init(|| made))
    }

    fn make() -> Result<Self, rcgen::Error> {
        let mut authority = params([], "test authority of pg-fixture")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let mut server = params([HOST, "127.0.0.1", "::1"], HOST)?;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let issuer = Issuer::new(authority, authority_key);
        Ok(Self {
            certificate: server.signed_by(&key, &issuer)?.pem(),
            authority: authority_certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn params<const N: usize>(names: [&str; N], name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    Ok(params)
}
