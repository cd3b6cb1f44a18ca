//! The names of PostgreSQL's packages, for hints.

use camino::Utf8Path;

use crate::major::MajorVersion;
use crate::program::Component;
use crate::regular_file;

/// The package system of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackageSystem {
    Debian,
    RedHat,
    Suse,
    Alpine,
    Arch,
    Gentoo,
    Nix,
    FreeBsd,
    MacOs,
    Unknown,
}

impl PackageSystem {
    /// Reads `/etc/os-release`, which Linux distributions and FreeBSD have.
    pub(crate) fn read(root: Option<&Utf8Path>) -> Self {
        let root = root.unwrap_or(Utf8Path::new("/"));
        let text = ["etc/os-release", "usr/lib/os-release"]
            .iter()
            .find_map(|path| regular_file::read_start(&root.join(path), 64 << 10).ok())
            .unwrap_or_default();
        match Self::from_os_release(&String::from_utf8_lossy(&text)) {
            Self::Unknown if cfg!(target_os = "macos") => Self::MacOs,
            system => system,
        }
    }

    /// Returns the system of the first known word of `ID` and `ID_LIKE` (os-release(5)).
    fn from_os_release(text: &str) -> Self {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        let ids = [value("ID"), value("ID_LIKE")];
        ids.into_iter()
            .flatten()
            .flat_map(|value| {
                value
                    .trim()
                    .trim_matches(['"', '\''])
                    .split_ascii_whitespace()
            })
            .map(Self::from_id)
            .find(|system| *system != Self::Unknown)
            .unwrap_or(Self::Unknown)
    }

    fn from_id(id: &str) -> Self {
        match id {
            "debian" | "ubuntu" => Self::Debian,
            "rhel" | "fedora" | "centos" | "rocky" | "almalinux" | "ol" | "amzn" => Self::RedHat,
            "suse" | "opensuse" | "sles" | "opensuse-leap" | "opensuse-tumbleweed" => Self::Suse,
            "alpine" => Self::Alpine,
            "arch" | "archlinux" => Self::Arch,
            "gentoo" => Self::Gentoo,
            "nixos" => Self::Nix,
            "freebsd" => Self::FreeBsd,
            _ => Self::Unknown,
        }
    }

    /// Returns advice on the package to install for a component of a major version. `None` stands
    /// for any version.
    pub(crate) fn hint(self, component: Component, major: Option<MajorVersion>) -> String {
        let is_any = major.is_none();
        let major = major.map_or_else(|| "16".to_owned(), |major| major.to_string());
        let dense = major.replace('.', "");
        let pick = |server, client, contrib, development| match component {
            Component::Server => server,
            Component::Client => client,
            Component::Contrib => contrib,
            Component::Development => development,
        };
        let suffix = pick("-server", "", "-contrib", "-devel");
        match self {
            Self::Debian => {
                let prefix = pick(
                    "postgresql",
                    "postgresql-client",
                    "postgresql",
                    "postgresql-server-dev",
                );
                if is_any {
                    format!(
                        "install the package {prefix} of the distribution, or {prefix}-{major} of \
                         the PostgreSQL project's repository, with apt"
                    )
                } else {
                    format!("install the package {prefix}-{major}, with apt")
                }
            }
            Self::RedHat => format!(
                "install the package postgresql{suffix} of the distribution, or \
                 postgresql{dense}{suffix} of the PostgreSQL project's repository, with dnf"
            ),
            Self::Suse => format!("install the package postgresql{dense}{suffix}, with zypper"),
            Self::Alpine => {
                let suffix = pick("", "-client", "-contrib", "-dev");
                format!("install the package postgresql{dense}{suffix}, with apk")
            }
            Self::Arch => {
                let package = pick(
                    "postgresql",
                    "postgresql-libs",
                    "postgresql",
                    "postgresql-libs",
                );
                format!("install the package {package}, with pacman")
            }
            Self::Gentoo => format!(
                "install dev-db/postgresql:{major}{}, with emerge",
                pick(" with USE=server", "", "", "")
            ),
            Self::Nix => format!("add the package postgresql_{dense}"),
            Self::FreeBsd => {
                let suffix = pick("-server", "-client", "-contrib", "-client");
                format!("install the package postgresql{dense}{suffix}, with pkg")
            }
            Self::MacOs => format!("install the formula postgresql@{major}, with brew"),
            Self::Unknown => format!(
                "install {} of PostgreSQL {major}: postgresql-{major} on Debian and Ubuntu, \
                 postgresql-server on Fedora and Red Hat, postgresql{dense} on Alpine, \
                 postgresql@{major} with Homebrew",
                pick(
                    "the server",
                    "the client programs",
                    "the additional programs",
                    "the development files"
                )
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_read_from_id_then_id_like() {
        let systems = [
            ("NAME=x\nID=debian\n", PackageSystem::Debian),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                PackageSystem::Debian,
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                PackageSystem::RedHat,
            ),
            ("ID='opensuse-leap'\n", PackageSystem::Suse),
            ("ID=postmarketos\nID_LIKE=alpine", PackageSystem::Alpine),
            ("ID_LIKE_NOT=debian\n", PackageSystem::Unknown),
            ("", PackageSystem::Unknown),
        ];
        for (text, system) in systems {
            assert_eq!(PackageSystem::from_os_release(text), system, "{text}");
        }
    }
}
