//! Conversion between settings and structs.

#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod inputs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pgconf_parse::{Document, Memory, Resolver, SettingName, to_settings};
use proptest::collection::btree_map;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Settings {
    port: u16,
    fsync: bool,
    random_page_cost: f64,
    work_mem: Memory,
    wal_level: WalLevel,
    listen_addresses: Vec<String>,
    #[serde(rename = "pg_stat_statements.max")]
    statements: Option<u32>,
    cluster_name: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum WalLevel {
    Minimal,
    Replica,
}

#[test]
fn a_struct_is_read_and_written() {
    let mut document = Document::parse(
        "PORT = 0x1538\nfsync 'FALSE'\nrandom_page_cost = 1.5e0\nwork_mem = '1.5 GB'\n\
         wal_level = REPLICA\nlisten_addresses = '127.0.0.1, ::1'\n\
         pg_stat_statements.max = '1e3'\n",
    );
    let settings: Settings = document.deserialize().unwrap();
    let expected = Settings {
        port: 5432,
        fsync: false,
        random_page_cost: 1.5,
        work_mem: Memory::from_bytes(3 << 29),
        wal_level: WalLevel::Replica,
        listen_addresses: vec!["127.0.0.1".into(), "::1".into()],
        statements: Some(1000),
        cluster_name: None,
    };
    assert_eq!(settings, expected);
    document.update(to_settings(&settings).unwrap()).unwrap();
    assert_eq!(document.deserialize::<Settings>().unwrap(), settings);
    assert_eq!(document.get("work_mem").unwrap().value_lossy(), "1536MB");
    assert!(document.get("cluster_name").is_none());
}

#[test]
fn errors_name_file_line_and_setting() {
    let files = BTreeMap::from([
        (
            PathBuf::from("/d/postgresql.conf"),
            b"port = 1\ninclude 'b.conf'\n".to_vec(),
        ),
        (PathBuf::from("/d/b.conf"), b"\n\nPort = '70000'\n".to_vec()),
    ]);
    let read = Resolver::new()
        .load(&files, Path::new("/d/postgresql.conf"))
        .unwrap();
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Port {
        #[allow(dead_code, reason = "only deserialized")]
        port: u16,
    }
    let error = read.deserialize::<Port>().unwrap_err();
    assert_eq!(
        (error.file(), error.line()),
        (Some(Path::new("/d/b.conf")), Some(3))
    );
    assert_eq!(error.setting(), Some("Port"));
    assert_eq!(
        error.to_string(),
        "/d/b.conf: line 3: setting `Port`: invalid value: integer `70000`, expected u16",
    );
    let of = |text: &str| {
        Document::parse(text)
            .deserialize::<Port>()
            .unwrap_err()
            .to_string()
    };
    assert_eq!(of(""), "missing field `port`");
    assert_eq!(
        of("port = 1 x\nport = '1 x'"),
        "line 2: setting `port`: `1 x` is not an integer"
    );
    assert_eq!(
        of("port = 1\na = 2"),
        "line 2: setting `a`: unknown field `a`, expected `port`"
    );
}

#[test]
fn types_that_are_not_settings_are_rejected() {
    let error = to_settings(&BTreeMap::from([("a b", 1)])).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`a b` is not the name of a setting")
    );
    let nested = BTreeMap::from([("a", BTreeMap::from([("b", 1)]))]);
    let error = to_settings(&nested).unwrap_err();
    assert_eq!(
        error.to_string(),
        "setting `a`: a setting cannot have a value of this type"
    );
    assert!(to_settings("text").is_err());
}

proptest! {
    #[test]
    fn memory_survives_a_round_trip(
        bytes in prop_oneof![0..5_u64, any::<u64>(), (0..99_u64).prop_map(|n| n << 30)],
    ) {
        // The low bits are cleared because a double has a precision of 53 bits.
        let memory = Memory::from_bytes(bytes & !0 << 11);
        prop_assert_eq!(memory.to_string().parse::<Memory>().unwrap(), memory);
        let json = serde_json::to_string(&memory).unwrap();
        prop_assert_eq!(serde_json::from_str::<Memory>(&json).unwrap(), memory);
    }

    #[test]
    fn a_map_survives_a_round_trip(map in btree_map("[a-z]{1,3}", "\\PC{0,8}", 0..5)) {
        let mut document = Document::default();
        document.update(to_settings(&map).unwrap()).unwrap();
        prop_assert_eq!(document.deserialize::<BTreeMap<String, String>>().unwrap(), map.clone());
        let json = serde_json::to_value(&document).unwrap();
        prop_assert_eq!(&json, &serde_json::to_value(&map).unwrap());
        let again: Document = serde_json::from_value(json).unwrap();
        prop_assert_eq!(again.deserialize::<BTreeMap<String, String>>().unwrap(), map);
    }

    #[test]
    fn each_name_is_serialized_once(source in inputs::likely_file()) {
        let document = Document::parse(source);
        if let Ok(json) = serde_json::to_value(&document) {
            let map = json.as_object().unwrap();
            for (name, value) in map {
                let found = document.get(name).unwrap();
                prop_assert_eq!(&found.value_lossy(), value.as_str().unwrap());
            }
            let found = document.assignments();
            let names = found.filter_map(|found| SettingName::new(found.name()).ok());
            prop_assert_eq!(map.len(), names.collect::<std::collections::BTreeSet<_>>().len());
        }
    }
}
