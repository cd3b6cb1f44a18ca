//! The usual places of directories, for installations without `pg_config`.

use camino::{Utf8Path, Utf8PathBuf};

use super::InstallationDirectory;

/// A directory, the places where it may be, and what must be in it to be believed.
struct Guess {
    directory: InstallationDirectory,
    /// Seen from the `bin` directory. `{name}` is the name of that directory, `{parent}` the name
    /// of the one above it.
    places: &'static [&'static str],
    /// Any of these.
    proofs: &'static [&'static str],
}

/// PostgreSQL finds its own directories relative to the program that runs (`make_relative_path` in
/// src/port/path.c); these are the relations that PostgreSQL and its packagers have chosen.
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

/// The directories that belong to a `bin` directory, as far as they are there.
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

/// Applies `..` to the path as written, as PostgreSQL does (`canonicalize_path`).
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
