//! The usual directories of installations without `pg_config`.

use camino::{Utf8Path, Utf8PathBuf};

use super::InstallationDirectory;

/// A directory, its possible places, and files that identify it.
struct Guess {
    directory: InstallationDirectory,
    /// Paths relative to the `bin` directory. `{name}` is the name of that directory, `{parent}`
    /// the name of the directory above it.
    places: &'static [&'static str],
    /// The directory is recognized if it contains one of these files.
    proofs: &'static [&'static str],
}

/// The layouts of PostgreSQL and its packagers. PostgreSQL itself finds its directories relative to
/// the running program (`make_relative_path` in src/port/path.c).
const GUESSES: [Guess; 7] = [
    Guess {
        directory: InstallationDirectory::Share,
        places: &[
            "../share/postgresql",
            "../share",
            "../share/pgsql",
            // Debian: /usr/lib/postgresql/15/bin, /usr/share/postgresql/15
            "../../../../share/postgresql/{parent}",
            // SUSE and Gentoo: /usr/lib64/postgresql-16/bin, /usr/share/postgresql-16
            "../../../share/{parent}",
            // Alpine: /usr/libexec/postgresql16, /usr/share/postgresql16
            "../../share/{name}",
        ],
        proofs: &["postgres.bki"],
    },
    Guess {
        directory: InstallationDirectory::PkgLib,
        places: &[
            "../lib/postgresql",
            "../lib",
            "../lib64",
            "../lib/pgsql",
            "../lib64/pgsql",
            "../../lib/{name}",
        ],
        proofs: &[
            "plpgsql.so",
            "plpgsql.dylib",
            "dict_snowball.so",
            "dict_snowball.dylib",
        ],
    },
    Guess {
        directory: InstallationDirectory::Lib,
        places: &["../lib", "../lib64"],
        proofs: &["libpq.so", "libpq.so.5", "libpq.dylib", "libpq.5.dylib"],
    },
    Guess {
        directory: InstallationDirectory::IncludeServer,
        places: &[
            "../include/postgresql/server",
            "../include/server",
            "../include/pgsql/server",
        ],
        proofs: &["pg_config.h"],
    },
    Guess {
        directory: InstallationDirectory::Include,
        places: &["../include", "../include/postgresql", "../include/pgsql"],
        proofs: &["libpq-fe.h"],
    },
    Guess {
        directory: InstallationDirectory::Man,
        places: &["../share/man", "../man"],
        proofs: &["man1/postgres.1", "man1/postgres.1.gz"],
    },
    Guess {
        directory: InstallationDirectory::Pgxs,
        places: &[
            "../lib/pgxs/src/makefiles/pgxs.mk",
            "../lib/postgresql/pgxs/src/makefiles/pgxs.mk",
        ],
        proofs: &[""],
    },
];

/// Returns the existing directories that belong to a `bin` directory.
pub(crate) fn derive(bin: &Utf8Path) -> Vec<(InstallationDirectory, Utf8PathBuf)> {
    let mut found = vec![(InstallationDirectory::Bin, bin.to_owned())];
    let name = bin.file_name().unwrap_or_default();
    let parent = bin
        .parent()
        .and_then(Utf8Path::file_name)
        .unwrap_or_default();
    for guess in &GUESSES {
        let mut places = guess.places.iter().map(|place| {
            resolve(
                bin,
                &place.replace("{name}", name).replace("{parent}", parent),
            )
        });
        let proven =
            |place: &Utf8PathBuf| guess.proofs.iter().any(|proof| place.join(proof).exists());
        if let Some(place) = places.find(proven) {
            found.push((guess.directory, place));
        }
    }
    found
}

/// Resolves `..` textually, as PostgreSQL does (`canonicalize_path`).
pub(crate) fn resolve(bin: &Utf8Path, relative: &str) -> Utf8PathBuf {
    let mut path = bin.to_owned();
    for part in relative.split('/') {
        if part == ".." {
            path.pop();
        } else {
            path.push(part);
        }
    }
    path
}
