//! Versions, major versions and requests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pg_install::{Discovery, MajorVersion, ParameterContext, Request, Source, Stage, Version};
use proptest::prelude::*;

fn parse(text: &str) -> Version {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The tuple that py-postgresql calls `version_info`.
fn info(version: &Version) -> (u16, u16, u16, String, u16) {
    let state = version.stage().to_string();
    (
        version.major(),
        version.minor(),
        version.patch(),
        state,
        version.level(),
    )
}

#[test]
fn the_example_of_py_postgresql() {
    assert_eq!(
        info(&parse("PostgreSQL 9.0devel")),
        (9, 0, 0, "devel".into(), 0)
    );
}

#[test]
fn lines_and_versions_as_vendors_print_them() {
    let final_ = || "final".to_owned();
    let cases = [
        (
            "15.18 (Debian 15.18-0+deb12u1)",
            (15, 18, 0, final_(), 0),
            Some("(Debian 15.18-0+deb12u1)"),
        ),
        ("postgres (PostgreSQL) 16.3", (16, 3, 0, final_(), 0), None),
        (
            "postgres (PostgreSQL) 10.23 (Ubuntu 10.23-1.pgdg22.04+1)\n",
            (10, 23, 0, final_(), 0),
            Some("(Ubuntu 10.23-1.pgdg22.04+1)"),
        ),
        ("EnterpriseDB 9.5.0.5", (9, 5, 0, final_(), 0), Some(".5")),
        (
            "postgres (EnterpriseDB) 15.2.0 (Debian 15.2.0-1)",
            (15, 2, 0, final_(), 0),
            Some(".0 (Debian 15.2.0-1)"),
        ),
        (
            "PostgreSQL 11.2-YB-2.15.0.0-b0",
            (11, 2, 0, final_(), 0),
            Some("-YB-2.15.0.0-b0"),
        ),
        ("9.6.24", (9, 6, 24, final_(), 0), None),
        ("8.0", (8, 0, 0, final_(), 0), None),
        ("17devel", (17, 0, 0, "devel".into(), 0), None),
        ("18beta1", (18, 0, 0, "beta".into(), 1), None),
        ("17rc1", (17, 0, 0, "rc".into(), 1), None),
        ("9.1alpha5", (9, 1, 0, "alpha".into(), 5), None),
        ("16.3mybuild", (16, 3, 0, final_(), 0), Some("mybuild")),
        ("16.3YB", (16, 3, 0, final_(), 0), Some("YB")),
        (
            "postgres (PostgreSQL) 9.6.24x",
            (9, 6, 24, final_(), 0),
            Some("x"),
        ),
        ("17develx1", (17, 0, 0, "devel".into(), 0), Some("x1")),
        (
            "PostgreSQL 18beta2mybuild 1",
            (18, 0, 0, "beta".into(), 2),
            Some("mybuild 1"),
        ),
        (
            "18beta1 (Debian 18~beta1-1.pgdg12+1)",
            (18, 0, 0, "beta".into(), 1),
            Some("(Debian 18~beta1-1.pgdg12+1)"),
        ),
    ];
    for (text, expected, vendor) in cases {
        let version = parse(text);
        assert_eq!(info(&version), expected, "{text}");
        assert_eq!(version.vendor(), vendor, "{text}");
    }
}

#[test]
fn texts_that_are_not_versions() {
    for text in [
        "",
        " ",
        "PostgreSQL",
        "MariaDB",
        "v16",
        "(16.3)",
        "16YB",
        "3rd",
        "Loading module 3 of 4",
        "PostgreSQL module 3",
        "17beta",
        "17.1beta1",
        "65536",
        "16.10000",
        "9.100",
        "0.5",
        "99999999999999999999",
        "16.99999999999999",
    ] {
        assert!(text.parse::<Version>().is_err(), "{text:?}");
    }
}

#[test]
fn versions_are_ordered_by_release() {
    let order = [
        "7.4.30",
        "8.0.0",
        "9.0devel",
        "9.0alpha5",
        "9.0beta1",
        "9.0rc1",
        "9.0.0",
        "9.0.23",
        "9.1.0",
        "9.6.24",
        "10beta1",
        "10.0",
        "10.1",
        "10.23",
        "11devel",
        "17beta1",
        "17beta2",
        "17rc1",
        "17.0",
        "17.1",
        "17.10",
        "18devel",
    ];
    let versions: Vec<_> = order.iter().map(|text| parse(text)).collect();
    assert!(versions.is_sorted_by(|a, b| a < b));
    let texts: Vec<_> = versions.iter().map(Version::to_string).collect();
    assert_eq!(texts, order);
}

/// In PostgreSQL's configure, a version with devel, alpha, beta or rc has minor version 0.
#[test]
fn numbers_equal_pg_version_num() {
    for (text, num) in [
        ("15.18", 150_018),
        ("9.6.24", 90_624),
        ("10.0", 100_000),
        ("18beta1", 180_000),
        ("9.0devel", 90_000),
        ("7.4.30", 70_430),
    ] {
        assert_eq!(parse(text).num(), num);
    }
    assert_eq!(
        Version::from_num(150_018).unwrap(),
        Version::new(15, 18).unwrap()
    );
    assert_eq!(Version::from_num(90_624).unwrap(), parse("9.6.24"));
    assert_eq!(
        (Version::from_num(0), Version::from_num(u32::MAX)),
        (None, None)
    );
    assert_eq!((Version::new(9, 6), Version::new(16, 10_000)), (None, None));
}

#[test]
fn comparisons_ignore_the_vendor() {
    let (debian, plain) = (parse("15.18 (Debian 15.18-0+deb12u1)"), parse("15.18"));
    assert_eq!(debian, plain);
    assert_eq!(debian.without_vendor().to_string(), "15.18");
}

#[test]
fn a_pg_version_file_contains_a_major_version() {
    let directory = tempfile::tempdir().unwrap();
    let path = camino::Utf8Path::from_path(directory.path())
        .unwrap()
        .join("PG_VERSION");
    let read = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        MajorVersion::from_pg_version_file(&path)
    };
    assert_eq!(read(b"16\n").unwrap(), MajorVersion::new(16));
    assert_eq!(read(b"9.6\n").unwrap(), MajorVersion::of(9, 6));
    assert_eq!(read(b"15").unwrap(), parse("15.18").major_version());
    for junk in [
        &b""[..],
        b"\n16\n",
        b"16.3\n",
        b"9\n",
        b"sixteen\n",
        b"\xff\xfe",
    ] {
        assert!(read(junk).is_err(), "{junk:?}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = MajorVersion::from_pg_version_file(&path).unwrap_err();
    assert_eq!(error.path(), path);
    assert!(matches!(
        error.kind(),
        pg_install::PgVersionFileErrorKind::Read(_)
    ));
}

#[test]
fn requests_accept_matching_versions() {
    let cases = [
        ("any", "9.6.24 10.23 17beta1 17.10", ""),
        ("", "9.6.24 17beta1", ""),
        ("newest", "9.6.24 17beta1", ""),
        ("16", "16.0 16.3 16beta1", "15.18 17.0 9.6.24"),
        ("9.6", "9.6.0 9.6.24", "9.5.6 10.6"),
        ("15.18", "15.18", "15.17 15.19 16.18"),
        ("= 15.18", "15.18", "15.17"),
        ("9.6.24", "9.6.24", "9.6.23"),
        ("18beta1", "18beta1", "18beta2 18.0"),
        (">=14", "14beta1 14.0 18.4", "13.23 9.6.24"),
        (">14", "15beta1 15.0", "14.23 14.0"),
        ("<=14", "14.23 9.6.1", "15beta1"),
        ("<16", "15.18", "16beta1 16.0"),
        (">=14.2", "14.2 14.3 15.0", "14.1 14beta1"),
        ("<15.4", "15.3 15beta1", "15.4"),
        (">=9.6, <12", "9.6.0 11.22", "9.5.25 12.0"),
        (">=14,<17,newest", "14.0 16.14", "17beta1"),
    ];
    for (text, accepted, rejected) in cases {
        let request: Request = text.parse().unwrap_or_else(|error| panic!("{error}"));
        for version in accepted.split_whitespace() {
            assert!(
                request.accepts(&parse(version)),
                "{text} must accept {version}"
            );
        }
        for version in rejected.split_whitespace() {
            assert!(
                !request.accepts(&parse(version)),
                "{text} must reject {version}"
            );
        }
        assert_eq!(request.wants_newest(), text.contains("newest"));
        assert_eq!(request.to_string().parse(), Ok(request), "{text}");
    }
    for text in [
        "9",
        "sixteen",
        ">=",
        ",",
        "16,",
        "16 17",
        "PostgreSQL 16.3",
        "~16",
        "16.x",
        ">>14",
    ] {
        assert!(text.parse::<Request>().is_err(), "{text:?}");
    }
}

fn stage() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("devel".to_owned()),
        (prop_oneof!["alpha", "beta", "rc"], 0u16..100)
            .prop_map(|(name, level)| format!("{name}{level}")),
    ]
}

/// Generates every version that PostgreSQL's numbering allows.
fn version() -> impl Strategy<Value = Version> {
    let old = (1u16..10, 0u16..100, 0u16..100).prop_map(|(a, b, c)| format!("{a}.{b}.{c}"));
    let new = (10u16..10_000, 0u16..10_000).prop_map(|(a, b)| format!("{a}.{b}"));
    let old_test =
        (1u16..10, 0u16..100, stage()).prop_map(|(a, b, stage)| format!("{a}.{b}{stage}"));
    let new_test = (10u16..10_000, stage()).prop_map(|(a, stage)| format!("{a}{stage}"));
    prop_oneof![old, new, old_test, new_test].prop_map(|text| parse(&text))
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_rejected(text in any::<String>()) {
        for text in [
            text.as_str(),
            &format!("PostgreSQL {text}"),
            &format!("16{text}"),
            &format!("9.6{text}"),
        ] {
            if let Ok(version) = text.parse::<Version>() {
                let again = parse(&version.to_string());
                prop_assert_eq!(&again, &version);
                prop_assert_eq!(again.vendor(), version.vendor());
            }
            if let Ok(major) = text.parse::<MajorVersion>() {
                prop_assert_eq!(major.to_string().parse(), Ok(major));
            }
            if let Ok(request) = text.parse::<Request>() {
                prop_assert_eq!(request.to_string().parse(), Ok(request));
            }
        }
    }

    #[test]
    fn versions_survive_display_and_parse(version in version(), vendor in "( \\([ -~]*\\))?") {
        let text = format!("{version}{vendor}");
        prop_assert_eq!(parse(&text).to_string(), text.trim_end());
        prop_assert_eq!(parse(&format!("postgres (PostgreSQL) {text}\n")), version);
    }

    #[test]
    fn order_agrees_with_the_numbers_and_puts_tests_before_releases(
        a in version(),
        b in version(),
    ) {
        if a < b {
            prop_assert!(a.num() <= b.num());
            prop_assert!(a.major_version() <= b.major_version());
        }
        if a.num() < b.num() {
            prop_assert!(a < b);
        }
        if a.num() == b.num() && a.stage() == Stage::Final && b.stage() != Stage::Final {
            prop_assert!(b < a);
        }
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    }

    #[test]
    fn order_is_transitive(mut versions in prop::collection::vec(version(), 3)) {
        versions.sort();
        prop_assert!(versions[0] <= versions[1]);
        prop_assert!(versions[1] <= versions[2]);
        prop_assert!(versions[0] <= versions[2]);
    }

    #[test]
    fn releases_survive_a_conversion_to_numbers(version in version()) {
        let from_num = Version::from_num(version.num()).unwrap();
        if version.stage() == Stage::Final {
            prop_assert_eq!(&from_num, &version);
        }
        prop_assert_eq!(from_num.stage(), Stage::Final);
        prop_assert_eq!(from_num.major_version(), version.major_version());
    }

    #[test]
    fn no_number_panics(num in any::<u32>()) {
        if let Some(version) = Version::from_num(num) {
            prop_assert_eq!(version.num(), num);
        }
    }
}

#[test]
fn displayed_names_are_parsed() {
    for stage in [
        Stage::Devel,
        Stage::Alpha,
        Stage::Beta,
        Stage::Rc,
        Stage::Final,
    ] {
        assert_eq!(stage.to_string().parse(), Ok(stage));
    }
    for (source, _) in Discovery::places() {
        assert_eq!(source.to_string().parse(), Ok(source));
    }
    assert_eq!("PATH".parse(), Ok(Source::Path));
    assert!("path".parse::<Source>().is_err());
    let context = ParameterContext::SuperuserBackend;
    assert_eq!(context.to_string().parse(), Ok(context));
}
