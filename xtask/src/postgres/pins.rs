//! The pin file: the packages of servers, with the hashes of their archives.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8Path;
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};

use super::FetchError;

const PIN_FILE: &str = include_str!("../../postgres.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pins {
    #[serde(rename = "package")]
    packages: Vec<Package>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) client: Client,
    pub(crate) platform: String,
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(deserialize_with = "deserialize_hash")]
    pub(crate) hash: Hash,
}

/// The program that fetches a package.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Client {
    Npm,
    Pip,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256(Vec<u8>),
    Sha512(Vec<u8>),
}

impl Pins {
    pub(crate) fn load() -> Result<Pins> {
        Pins::parse(PIN_FILE).context("xtask/postgres.toml")
    }

    fn parse(text: &str) -> Result<Pins> {
        Ok(toml::from_str(text)?)
    }

    /// Iterates over the packages for this platform, oldest first, and server-only packages before
    /// complete ones.
    pub(crate) fn here(&self) -> impl Iterator<Item = &Package> {
        let platform = platform();
        self.packages
            .iter()
            .filter(move |package| package.platform == platform)
    }

    pub(crate) fn of_major(&self, major: u32) -> Result<Vec<&Package>, FetchError> {
        let found: Vec<_> = self
            .here()
            .filter(|package| package.major() == major)
            .collect();
        if found.is_empty() {
            let mut majors: Vec<_> = self.here().map(Package::major).collect();
            majors.dedup();
            return Err(FetchError::NotPackaged {
                major,
                platform: platform(),
                majors,
            });
        }
        Ok(found)
    }
}

/// Returns npm's name of this platform, which the pin file uses for wheels too.
pub(crate) fn platform() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        architecture => architecture,
    };
    format!("{os}-{architecture}")
}

impl Package {
    /// The name of the package's directory in the cache.
    pub(crate) fn slug(&self) -> String {
        let name = self.name.trim_start_matches('@').replace('/', "-");
        match self.client {
            Client::Npm => format!("npm-{name}-{}", self.version),
            Client::Pip => format!("pip-{name}-{}-{}", self.version, self.platform),
        }
    }

    /// The directory of programs in the unpacked archive.
    pub(crate) fn bin(&self) -> String {
        match self.client {
            Client::Npm => "package/native/bin".to_owned(),
            Client::Pip => format!("{}/pginstall/bin", self.name.replace('-', "_")),
        }
    }

    pub(crate) fn major(&self) -> u32 {
        self.version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .unwrap_or(0)
    }

    /// `18.4` for the package versions `18.4.0-beta.17` and `18.4.2`.
    pub(crate) fn server_version(&self) -> String {
        self.version
            .splitn(3, '.')
            .take(2)
            .collect::<Vec<_>>()
            .join(".")
    }
}

#[cfg(test)]
impl Package {
    /// Creates a package whose archive is this file.
    pub(crate) fn made_up(client: Client, archive: &Utf8Path) -> Package {
        Package {
            client,
            platform: platform(),
            name: "@test/server".to_owned(),
            version: "18.4.0".to_owned(),
            hash: Hash::Sha512(Vec::new()).of_same_kind(archive).unwrap(),
        }
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PostgreSQL {} ({} {})",
            self.server_version(),
            self.client,
            self.name
        )
    }
}

impl Client {
    pub(crate) fn contents(self) -> &'static str {
        match self {
            Client::Npm => "server",
            Client::Pip => "complete",
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Client::Npm => "npm",
            Client::Pip => "pip",
        })
    }
}

impl Hash {
    /// Reads `sha512-BASE64`, as npm prints it, or `sha256:HEX`, as pip does.
    fn parse(text: &str) -> Option<Hash> {
        if let Some(base64) = text.strip_prefix("sha512-") {
            let bytes = STANDARD.decode(base64).ok()?;
            return (bytes.len() == 64).then_some(Hash::Sha512(bytes));
        }
        let hex = text
            .strip_prefix("sha256:")
            .filter(|hex| hex.len() == 64 && hex.is_ascii())?;
        let bytes = (0..32)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16))
            .collect::<Result<_, _>>();
        bytes.ok().map(Hash::Sha256)
    }
}

impl Hash {
    /// Computes the hash of a file with the algorithm of this hash.
    pub(crate) fn of_same_kind(&self, path: &Utf8Path) -> io::Result<Hash> {
        let mut file = File::open(path)?;
        match self {
            Hash::Sha256(_) => digest::<Sha256>(&mut file).map(Hash::Sha256),
            Hash::Sha512(_) => digest::<Sha512>(&mut file).map(Hash::Sha512),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hash::Sha512(bytes) => write!(f, "sha512-{}", STANDARD.encode(bytes)),
            Hash::Sha256(bytes) => {
                f.write_str("sha256:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

fn deserialize_hash<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
    let text = String::deserialize(deserializer)?;
    Hash::parse(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a hash of npm or pip")))
}

fn digest<D: Digest>(file: &mut File) -> io::Result<Vec<u8>> {
    let mut digest = D::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().to_vec()),
            read => digest.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A slug names a directory of the shared cache. Two pins with the same slug would overwrite
    /// each other repeatedly.
    #[test]
    fn every_pin_has_its_own_directory() {
        let pins = Pins::load().unwrap();
        let slugs: BTreeSet<_> = pins.packages.iter().map(Package::slug).collect();
        assert_eq!(slugs.len(), pins.packages.len());
        for slug in slugs {
            assert!(
                !slug.contains(['/', '@']) && !slug.starts_with('.'),
                "{slug}"
            );
        }
    }

    #[test]
    fn both_clients_have_the_newest_major_for_every_platform() {
        let pins = Pins::load().unwrap();
        for platform in ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"] {
            for client in [Client::Npm, Client::Pip] {
                assert!(
                    pins.packages.iter().any(|package| {
                        package.platform == platform
                            && package.client == client
                            && package.major() == 18
                    }),
                    "{client} {platform}"
                );
            }
        }
    }

    #[test]
    fn hashes_survive_a_round_trip_and_short_ones_are_rejected() {
        let sha256 = format!("sha256:{}", "0f".repeat(32));
        let sha512 = format!("sha512-{}", STANDARD.encode([7; 64]));
        for text in [&sha256, &sha512] {
            assert_eq!(Hash::parse(text).unwrap().to_string(), *text);
        }
        for text in [
            "",
            "sha256:",
            "sha512-",
            "sha512-AAAA",
            "md5:00",
            &sha256[..70],
            "sha256:é",
        ] {
            assert_eq!(Hash::parse(text), None, "{text}");
        }
    }
}
