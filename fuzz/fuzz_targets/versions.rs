//! Lines of text as versions, series and requests. Parsed values survive printing and parsing.
//! Versions are totally ordered, and numbers, series and requests agree with the order.

#![no_main]

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, RandomState};

use libfuzzer_sys::fuzz_target;
use pg_install::{MajorVersion, Request, Stage, Version};

fuzz_target!(|text: &str| {
    let lines: Vec<&str> = text.lines().take(8).collect();
    let versions: Vec<Version> = lines.iter().filter_map(|line| version(line)).collect();
    for line in &lines {
        series(line);
        request(line, &versions);
    }
    order(&versions);
});

fn version(line: &str) -> Option<Version> {
    let version: Version = line.parse().ok()?;
    let again: Version = version.to_string().parse().expect("a displayed version");
    assert_eq!((&version, version.vendor()), (&again, again.vendor()));
    assert!(version.vendor().is_none_or(|vendor| line.contains(vendor)));
    assert!((1..=9999).contains(&version.major()));

    let number = version.num();
    assert_eq!(number / 10_000, version.major().into());
    let release = Version::from_num(number).expect("the number of a version");
    assert_eq!(release.num(), number);
    assert_eq!(release == version, version.stage() == Stage::Final);
    assert_eq!(release.major_version(), version.major_version());
    assert_eq!(
        version.major_version().to_string().parse(),
        Ok(version.major_version())
    );
    Some(version)
}

fn series(line: &str) {
    if let Ok(series) = line.parse::<MajorVersion>() {
        assert_eq!(series.to_string().parse(), Ok(series));
        // 9.6 is also a version: `pg_config` prints it for 9.6.0.
        let version: Version = line.parse().expect("a series is a version");
        assert_eq!(version.major_version(), series);
        assert!(Request::series(series).accepts(&version));
    }
}

fn request(line: &str, versions: &[Version]) {
    let Ok(request) = line.parse::<Request>() else {
        return;
    };
    let again: Request = request.to_string().parse().expect("a displayed request");
    assert_eq!(request, again);
    for version in versions {
        let exactly = Request::exactly(version.clone());
        assert!(exactly.accepts(version));
        assert_eq!(exactly.to_string().parse(), Ok(exactly));
        // All conditions must hold, so each of them accepts an accepted version.
        if request.accepts(version) && !line.contains("newest") && !line.contains("latest") {
            assert!(
                line.split(',')
                    .all(|part| part.parse::<Request>().unwrap().accepts(version))
            );
        }
    }
}

fn order(versions: &[Version]) {
    let hasher = RandomState::new();
    for a in versions {
        for b in versions {
            let order = a.cmp(b);
            assert_eq!(order, b.cmp(a).reverse());
            assert_eq!(order == Ordering::Equal, a == b);
            if a == b {
                assert_eq!(hasher.hash_one(a), hasher.hash_one(b));
            }
            if order.is_le() {
                assert!(a.num() <= b.num() && a.major_version() <= b.major_version());
            }
            for c in versions {
                assert!(!(order.is_le() && b <= c) || a <= c);
            }
        }
    }
}
