//! The options of `configure`, as `pg_config` prints them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use pg_install::{ConfigureOptions, PgConfig};
use proptest::prelude::*;

fn map(options: &ConfigureOptions) -> BTreeMap<&str, Option<&str>> {
    options.iter().collect()
}

/// py-postgresql's documentation shows the result. This is the command line that leads to it.
#[test]
fn the_example_of_py_postgresql() {
    let options = ConfigureOptions::parse(
        "'--prefix=/src/build/pg90' '--enable-debug' '--with-libxml' '--enable-cassert' \
         '--with-libedit-preferred' '--with-openssl' '--enable-integer-datetimes' \
         '--enable-depend'",
    );
    let expected = BTreeMap::from([
        ("enable_debug", None),
        ("with_libxml", None),
        ("enable_cassert", None),
        ("with_libedit_preferred", None),
        ("prefix", Some("/src/build/pg90")),
        ("with_openssl", None),
        ("enable_integer_datetimes", None),
        ("enable_depend", None),
    ]);
    assert_eq!(map(&options), expected);
}

#[test]
fn a_value_may_be_the_next_word() {
    let options = ConfigureOptions::parse(
        "'--prefix' '/opt/postgresql' '--enable-integer-datetimes' '--without-icu' \
         '--with-system-tzdata=/usr/share/zoneinfo' 'LLVM_CONFIG=/usr/bin/llvm-config' \
         'CLANG=clang-16'",
    );
    assert_eq!(options.value("prefix"), Some("/opt/postgresql"));
    assert_eq!(options.get("enable_integer_datetimes"), Some(None));
    assert_eq!(
        options.value("WITH-SYSTEM-TZDATA"),
        Some("/usr/share/zoneinfo")
    );
    assert_eq!(options.iter().count(), 4);
    let assignments: Vec<_> = options.assignments().collect();
    assert_eq!(
        assignments,
        [
            ("LLVM_CONFIG", "/usr/bin/llvm-config"),
            ("CLANG", "clang-16")
        ]
    );
}

/// For other options, autoconf reads the next word as the name of a system.
#[test]
fn only_options_of_autoconf_take_the_next_word() {
    let options =
        ConfigureOptions::parse("'--with-openssl' 'x86_64-linux-gnu' '--host' 'arm' '--prefix'");
    let expected = [
        ("with_openssl", None),
        ("host", Some("arm")),
        ("prefix", None),
    ];
    assert!(options.iter().eq(expected));
    assert_eq!(options.words().len(), 5);
}

#[test]
fn words_are_quoted_as_in_a_shell() {
    let options = ConfigureOptions::parse(concat!(
        r" '--with-extra-version= (Debian 15.18-0+deb12u1)' 'CFLAGS=-O2 -DX='\''y'\''' ",
        r#"--a="b \"c\" \x" --d\ e=f '' "#
    ));
    assert_eq!(
        options.value("with_extra_version"),
        Some(" (Debian 15.18-0+deb12u1)")
    );
    assert_eq!(options.assignment("CFLAGS"), Some("-O2 -DX='y'"));
    assert_eq!(options.value("a"), Some(r#"b "c" \x"#));
    assert_eq!(options.value("d e"), Some("f"));
    assert_eq!(options.words().last().map(String::as_str), Some(""));
}

#[test]
fn the_last_of_a_repeated_option_counts() {
    let options = ConfigureOptions::parse("--mandir=/a --with-ssl --mandir=/b --without-ssl");
    assert_eq!(options.value("mandir"), Some("/b"));
    assert!(options.get_all("mandir").eq([Some("/a"), Some("/b")]));
    assert_eq!(options.is_enabled("ssl"), Some(false));
}

#[test]
fn features_are_enabled_and_disabled() {
    let options = ConfigureOptions::parse(
        "--enable-nls=de --disable-rpath --with-icu=no --without-llvm --with-lz4",
    );
    for (name, enabled) in [
        ("nls", true),
        ("rpath", false),
        ("icu", false),
        ("llvm", false),
        ("lz4", true),
    ] {
        assert_eq!(options.is_enabled(name), Some(enabled), "{name}");
    }
    assert_eq!(options.is_enabled("zstd"), None);
}

#[test]
fn meson_builds_have_no_options() {
    for text in ["", " ", "not recorded"] {
        assert!(ConfigureOptions::parse(text).is_empty(), "{text}");
    }
}

#[test]
fn keys_of_pg_config_are_found_in_any_spelling() {
    let output = b"INCLUDEDIR-SERVER = /a\nnonsense\nCONFIGURE =  '--x=y'\nLDFLAGS_EX = \n\
                   EQ = a = b\nEQ = c = d\r\n";
    let config = PgConfig::from_bytes(output);
    for key in [
        "INCLUDEDIR-SERVER",
        "includedir-server",
        "includedir_server",
        "--includedir-server",
    ] {
        assert_eq!(config.get(key), Some("/a"), "{key}");
    }
    assert_eq!(config.get("ldflags_ex"), Some(""));
    assert_eq!(config.get("eq"), Some("c = d"));
    assert_eq!(config.get("nonsense"), None);
    let again = PgConfig::from_pairs(config.iter());
    assert_eq!(again, config);
}

proptest! {
    /// autoconf encloses words in single quotes, and writes a single quote as `'\''`.
    #[test]
    fn words_quoted_by_autoconf_are_read_back(words in prop::collection::vec("\\PC*", 0..6)) {
        let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
        let quoted: Vec<_> = quoted.collect();
        let options = ConfigureOptions::parse(&quoted.join(" "));
        prop_assert_eq!(options.words(), words);
    }

    #[test]
    fn any_text_is_parsed(text in any::<String>()) {
        let options = ConfigureOptions::parse(&text);
        for (name, _) in options.iter() {
            prop_assert!(options.contains(name));
        }
    }

    #[test]
    fn any_bytes_are_parsed(bytes in any::<Vec<u8>>()) {
        let config = PgConfig::from_bytes(&bytes);
        for (key, value) in config.iter() {
            prop_assert_eq!(config.get(key), Some(value));
        }
        let _ = pg_install::Installation::new(config);
        let _ = pg_install::ServerParameters::parse(&bytes);
    }
}
