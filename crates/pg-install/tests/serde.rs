//! The feature `serde`.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pg_install::{
    InstallationDirectory, MajorVersion, PgConfig, Program, Request, ServerParameters, Source,
    Version,
};
use serde_json::{from_value, json, to_value};

#[test]
fn versions_and_requests_are_text() {
    let version: Version = from_value(json!("15.18 (Debian 15.18-0+deb12u1)")).unwrap();
    assert_eq!(version.num(), 150_018);
    assert_eq!(
        to_value(&version).unwrap(),
        json!("15.18 (Debian 15.18-0+deb12u1)")
    );
    assert_eq!(to_value(version.major_version()).unwrap(), json!("15"));
    assert_eq!(
        from_value::<MajorVersion>(json!("9.6")).unwrap(),
        MajorVersion::of(9, 6)
    );
    let request: Request = from_value(json!(">=14,newest")).unwrap();
    assert_eq!(to_value(&request).unwrap(), json!(">=14,newest"));
    let error = from_value::<Request>(json!("sixteen")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to parse \"sixteen\" as a request for PostgreSQL"
    );
    assert!(
        from_value::<Version>(json!(16)).is_err(),
        "a version must be text: as a number, 16.10 would be 16.1"
    );
}

#[test]
fn pg_config_is_a_map() {
    let config = PgConfig::from_bytes(
        b"INCLUDEDIR-SERVER = /a\nBINDIR = /\xff\nVERSION = PostgreSQL 16.3\n",
    );
    let value = to_value(&config).unwrap();
    assert_eq!(
        value,
        json!({"includedir_server": "/a", "version": "PostgreSQL 16.3"})
    );
    let config: PgConfig = from_value(value).unwrap();
    assert_eq!(config.get("includedir-server"), Some("/a"));
}

#[test]
fn names_and_parameters_are_written_and_read() {
    let names = (
        Program::PgCtl,
        InstallationDirectory::IncludeServer,
        Source::PostgresApp,
    );
    let written = to_value(names).unwrap();
    assert_eq!(
        written,
        json!(["pg_ctl", "includedir_server", "postgres-app"])
    );
    assert_eq!(
        from_value::<(Program, InstallationDirectory, Source)>(written).unwrap(),
        names
    );
    from_value::<Program>(json!("mysqld")).unwrap_err();
    let described = b"log_connections\tsuperuser-backend\tLogging\tBOOLEAN\tFALSE\t\t\tLogs.\t\n";
    let parsed = ServerParameters::parse(described).unwrap();
    let parameters = to_value(&parsed).unwrap();
    let read: ServerParameters = from_value(parameters.clone()).unwrap();
    assert_eq!(read, parsed);
    from_value::<ServerParameters>(json!([])).unwrap_err();
    assert_eq!(
        parameters,
        json!([{
            "name": "log_connections", "context": "superuser-backend", "group": "Logging",
            "kind": "boolean", "boot_value": null, "minimum": null, "maximum": null,
            "description": "Logs.", "details": null
        }])
    );
}
