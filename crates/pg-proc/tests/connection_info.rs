//! The address of a server as text.

use pg_proc::ConnectionInfo;

#[test]
fn ipv6_is_bracketed_and_its_zone_encoded() {
    assert_eq!(
        ConnectionInfo::tcp("::1", 5432).uri(),
        "postgresql://[::1]:5432"
    );
    assert_eq!(
        ConnectionInfo::tcp("fe80::1%eth0", 1).uri(),
        "postgresql://[fe80::1%25eth0]:1"
    );
}

#[test]
fn debug_output_omits_the_password() {
    let info = ConnectionInfo::tcp("localhost", 1).with_password("hunter2");
    assert!(!format!("{info:?}").contains("hunter2"));
    assert!(info.uri().contains("hunter2"));
}
