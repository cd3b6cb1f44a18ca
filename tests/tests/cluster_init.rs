//! Making data directories: options, passwords, refusals, interruptions.

use pg_cluster::{Cluster, ConnectionInfo, Escalation, InitErrorKind};
use pg_tests::{Room, ask, connect_to, init_options, servers};

#[test]
fn a_password_is_asked_for() {
    for installation in servers() {
        let room = Room::new();
        let cluster = Cluster::new(installation, room.join("data")).unwrap();
        let password = r#" it's "$(odd)" \n pässwörd=#"#;
        cluster
            .init(&init_options().user("o'Neil \"\\ é").password(password))
            .unwrap();
        cluster.start(&room.start_options()).unwrap();
        let info = cluster.connection_info().unwrap().unwrap();
        let info = info.with_user("o'Neil \"\\ é").with_database("postgres");
        let mut client = connect_to(&info.clone().with_password(password));
        assert_eq!(ask(&mut client, "SELECT current_user"), "o'Neil \"\\ é");
        assert!(postgres::Client::connect(&info.with_password("wrong").uri(), postgres::NoTls).is_err());
    }
}
