//! Which cluster is meant, by all that may name one.

use super::*;

fn around() -> Surroundings {
    Surroundings {
        home: Some("/home/a".into()),
        hostname: "head1.lab".to_owned(),
        ..Surroundings::default()
    }
}

fn nobody() -> Logins {
    Logins::of(&Surroundings::default())
}

/// Where every file is there, or none.
fn found(globals: &Globals, around: &Surroundings, there: bool) -> Result<String, PlaceError> {
    find(globals, around, &nobody(), |_| there).map(|target| target.to_string())
}

fn socket_of(globals: &Globals, around: &Surroundings) -> String {
    found(globals, around, true).expect("a place")
}

fn scheduler(host: &str) -> Globals {
    Globals {
        scheduler: Some(host.to_owned()),
        ..Globals::default()
    }
}

#[test]
fn the_nearest_word_counts() {
    let mut globals = Globals::default();
    let mut around = around();
    assert_eq!(
        socket_of(&globals, &around),
        "/home/a/.local/state/muster/head/head.sock"
    );
    around.xdg_state = Some("/x".into());
    assert_eq!(socket_of(&globals, &around), "/x/muster/head/head.sock");
    assert_eq!(
        found(&globals, &around, false),
        Ok("/var/lib/muster/head/head.sock".to_owned())
    );
    around.state = Some("/s".into());
    assert_eq!(found(&globals, &around, false), Ok("/s/head/head.sock".to_owned()));
    around.socket = Some("/sock".into());
    assert_eq!(socket_of(&globals, &around), "/sock");
    globals.socket = Some("/other".into());
    assert_eq!(socket_of(&globals, &around), "/other");
    let root = Surroundings {
        is_root: true,
        ..Surroundings::default()
    };
    assert_eq!(socket_of(&Globals::default(), &root), "/var/lib/muster/head/head.sock");
    assert_eq!(
        state(&Globals::default(), &Surroundings::default()),
        Err(PlaceError::NoState)
    );
}

#[test]
fn another_machine_needs_a_log_in() {
    for here in [
        "localhost",
        "127.0.0.1",
        "127.0.0.1:8745",
        "::1",
        "[::1]:8745",
        "HEAD1",
        "head1.lab",
        "Head1.lab:1",
    ] {
        assert!(found(&scheduler(here), &around(), true).is_ok(), "{here}");
    }
    for far in ["far.example", "head1.other", "10.0.0.1", "2001:db8::1"] {
        let error = found(&scheduler(far), &around(), true).expect_err(far);
        assert_eq!(error.exit(), Exit::Forbidden);
        let text = error.to_string();
        assert!(text.contains("no credential for the cluster at") && text.contains(&format!("muster login {far}")));
    }
}

#[test]
fn a_profile_is_heard_unless_something_nearer_speaks() {
    let mut around = Surroundings {
        scheduler: Some("far.example".to_owned()),
        ..around()
    };
    assert!(found(&Globals::default(), &around, true).is_err());
    assert!(found(&scheduler("localhost"), &around, true).is_ok());
    let folder = Globals {
        state: Some("/s".into()),
        ..Globals::default()
    };
    assert_eq!(socket_of(&folder, &around), "/s/head/head.sock");
    around.socket = Some("/sock".into());
    assert!(found(&Globals::default(), &around, true).is_ok());
    assert_eq!(socket_of(&folder, &around), "/s/head/head.sock");
}

#[test]
fn a_log_in_is_found_by_its_host_and_the_newest_where_nothing_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let around = Surroundings {
        xdg_config: Some(folder.path().to_owned()),
        ..around()
    };
    let logins = Logins::of(&around);
    for (host, port, at) in [("old.example", 8745, 5), ("new.example", 9000, 6)] {
        crate::login::tests_support::remember(&logins, host, port, at);
    }
    let found =
        |globals: &Globals, there: bool| find(globals, &around, &logins, |_| there).map(|target| target.to_string());
    assert_eq!(
        found(&scheduler("OLD.example"), true),
        Ok("old.example:8745".to_owned())
    );
    assert_eq!(
        found(&scheduler("new.example:9000"), true),
        Ok("new.example:9000".to_owned())
    );
    assert!(
        found(&scheduler("new.example:9001"), true).is_err(),
        "another head node"
    );
    assert_eq!(found(&Globals::default(), false), Ok("new.example:9000".to_owned()));
    assert!(
        found(&Globals::default(), true)
            .expect("a place")
            .ends_with("head.sock"),
        "a head node on this machine goes before"
    );
}
