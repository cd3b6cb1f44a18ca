//! Strategies for property tests: confusing bytes, values that need quotes, and files with every
//! kind of line.

#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Arbitrary bytes, mostly those with a meaning to the scanner.
pub(crate) fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => select(&b"abx_0129eE.:/+-'\\=# \t\r\n"[..]),
        1 => any::<u8>(),
    ];
    prop_oneof![2 => vec(byte, 0..120), 3 => likely_file()]
}

/// Plausible lines, correct and broken, with names from [`name`] and any line ends.
pub(crate) fn likely_file() -> impl Strategy<Value = Vec<u8>> {
    (
        vec((line(), select(&["\n", "\r\n", "\n\n"][..])), 0..12),
        any::<bool>(),
    )
        .prop_map(|(lines, complete)| {
            let mut text = Vec::new();
            for (line, end) in lines {
                text.extend(line);
                text.extend(end.as_bytes());
            }
            while !complete && text.ends_with(b"\n") {
                text.pop();
            }
            text
        })
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let blank = || select(&["", " ", "\t", "  ", "\t\t"][..]);
    let equals = select(&["=", " = ", " ", "\t=", "= ", ""][..]);
    let hash = prop_oneof![4 => Just(""), 2 => Just("#"), 1 => Just("# "), 1 => Just("##")];
    let comment =
        prop_oneof![3 => Just(""), 1 => Just("# why"), 1 => Just("#"), 1 => Just("# Größe\t1")];
    let raw = prop_oneof![
        4 => select(
            &[
                "5", "+5", "-1", "1.5", "0x1F", "on", "64MB", "'x'", "''", "'it''s'", "'a\\\\b'",
                "a-b.c",
            ][..]
        ).prop_map(|text| text.as_bytes().to_vec()),
        1 => select(&["127.0.0.1", "a.b", "'open", "1.5GB", "$user", "", "'a' 'b'"][..])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>().prop_filter("within the line", |byte| *byte != b'\n'), 0..6),
    ];
    (blank(), hash, name(), equals, raw, blank(), comment).prop_map(
        |(indent, hash, name, equals, raw, gap, comment)| {
            [indent, hash, &name, equals]
                .map(str::as_bytes)
                .into_iter()
                .chain([raw.as_slice()])
                .chain([gap, comment].map(str::as_bytes))
                .collect::<Vec<_>>()
                .concat()
        },
    )
}

/// A few names in different spellings, so that they recur.
pub(crate) fn name() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "a", "A", "a.b", "A.B", "port", "PORT", "Port", "_x", "é", "work_mem", "includes",
    ];
    select(NAMES).prop_map(str::to_owned)
}

/// Values that a file can express: all bytes but NUL.
pub(crate) fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => select(&b"a1.'\\\"\n\r\t#= ,-+0\xe9"[..]),
        1 => 1..=u8::MAX,
    ];
    prop_oneof![
        2 => select(&["", "on", "-1", "64MB", "127.0.0.1", "it's", "1.5GB", "\\", "'", "a.b"][..])
            .prop_map(|text| text.as_bytes().to_vec()),
        3 => vec(byte, 0..12),
    ]
}
