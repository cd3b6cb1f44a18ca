//! What a user is told by an error.

use pg_cluster::{Cluster, Report, StartError, StartOptions};

/// The error of a start that leaves no server.
#[track_caller]
pub fn refused(cluster: &Cluster, options: &StartOptions) -> StartError {
    let error = cluster.start(options).expect_err("no start");
    assert_eq!(
        cluster.pid().expect("a state"),
        None,
        "no server is left: {error:?}"
    );
    error
}

/// The whole of what a program prints.
pub fn report(error: &(dyn std::error::Error + 'static)) -> String {
    Report::new(error).to_string()
}

/// Fails unless all of these words are in the text.
#[track_caller]
pub fn assert_says(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }
}
