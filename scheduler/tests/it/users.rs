//! Users, log-ins and credentials, and what is set for the cluster.

use proto::client::RefusalCode;
use proto::event::Event;
use proto::ids::UserName;
use proto::model::owner::{Caller, Role};
use proto::model::user::{Credential, LoginToken, MAX_CREDENTIALS};
use proto::units::{Millis, Timestamp};
use scheduler::{Answer, Input, Settings, parameters_in_force};

use crate::requests::refused;
use crate::world::{World, key, root, user};

fn name(text: &str) -> UserName {
    UserName::new(text).expect("a user name")
}

fn add(who: &str, uid: u32, role: Role) -> Input {
    Input::AddUser {
        caller: root(),
        user: name(who),
        ids: (uid, uid),
        role,
    }
}

fn token(world: &World, hash: &str, seconds: u64) -> LoginToken {
    LoginToken {
        hash: hash.to_owned(),
        expires_at: world.now.wall + Millis::from_seconds(seconds),
    }
}

fn offer(caller: Caller, who: &str, token: LoginToken) -> Input {
    Input::MakeLogin {
        caller,
        user: name(who),
        token,
    }
}

fn credential(world: &World, number: u32) -> Credential {
    Credential {
        key: key(number),
        issued_at: world.now.wall,
        expires_at: world.now.wall + Millis::from_seconds(3600),
        host: "laptop\u{1b}[2J".to_owned(),
    }
}

fn login(world: &World, hash: &str, number: u32) -> Input {
    Input::Login {
        secret_hash: hash.to_owned(),
        credential: credential(world, number),
    }
}

#[track_caller]
fn done(world: &mut World, input: &Input) -> Vec<String> {
    match world.round(input).answer.expect("no refusal") {
        Answer::Notes(notes) => notes,
        other => panic!("answered by {other:?}"),
    }
}

#[track_caller]
fn in_as(world: &mut World, input: &Input) -> (String, Role) {
    match world.round(input).answer.expect("no refusal") {
        Answer::LoggedIn { user, role } => (user.to_string(), role),
        other => panic!("answered by {other:?}"),
    }
}

#[test]
fn users_are_added_changed_and_removed() {
    let mut world = World::new(Settings::default());
    refused(&mut world, &add("anna", 0, Role::User), "would be root");
    refused(&mut world, &add("root", 5, Role::User), "would be root");
    refused(
        &mut world,
        &add("anna", 5, Role::Node),
        "the role 'node' is for compute nodes",
    );
    let by_user = Input::AddUser {
        caller: user("ann"),
        user: name("bob"),
        ids: (5, 5),
        role: Role::User,
    };
    refused(&mut world, &by_user, "'ann' may not add users");

    assert_eq!(done(&mut world, &add("anna", 1001, Role::User)), [""; 0]);
    assert_eq!(
        done(&mut world, &add("anna", 1001, Role::User)),
        ["'anna' is user already"]
    );
    let notes = done(&mut world, &add("anna", 1002, Role::Operator));
    assert_eq!(
        notes,
        [
            "'anna' was user and is operator now",
            "jobs from now on run as 1002:1002, no longer as 1001:1001"
        ]
    );
    let row = world.cluster.user(&name("anna")).expect("a user");
    assert_eq!((row.uid, row.role), (1002, Role::Operator));
    // Another name with the same number is fine.
    done(&mut world, &add("service", 1002, Role::User));
    assert_eq!(world.cluster.users().len(), 2);

    let remove = |who: &str| Input::RemoveUser {
        caller: root(),
        user: name(who),
    };
    refused(
        &mut world,
        &remove("ana"),
        "there is no user 'ana'; did you mean 'anna'?",
    );
    done(&mut world, &remove("anna"));
    assert!(world.cluster.user(&name("anna")).is_none());
}

#[test]
fn a_token_lets_in_once() {
    let mut world = World::new(Settings::default());
    done(&mut world, &add("ann", 1097, Role::Operator));
    let unknown = "this cluster does not know the login token, or it has ended or was used";
    let attempt = login(&world, "t1", 1);
    refused(&mut world, &attempt, unknown);

    // For oneself or by an administrator, for somebody who is there.
    let by_bob = offer(user("bob"), "ann", token(&world, "t1", 60));
    refused(&mut world, &by_bob, "'bob' may not make tokens for others");
    let for_nobody = offer(root(), "nobody", token(&world, "t1", 60));
    refused(&mut world, &for_nobody, "there is no user 'nobody'");
    let dead = offer(root(), "ann", token(&world, "t1", 0));
    refused(&mut world, &dead, "no lifetime");
    let own = offer(user("ann"), "ann", token(&world, "t1", 60));
    assert_eq!(done(&mut world, &own), [""; 0]);
    // The newest wins.
    let newer = offer(root(), "ann", token(&world, "t2", 60));
    assert_eq!(done(&mut world, &newer), ["an earlier token of 'ann' is void now"]);
    let old = login(&world, "t1", 1);
    refused(&mut world, &old, unknown);

    let good = login(&world, "t2", 1);
    assert_eq!(in_as(&mut world, &good), ("ann".to_owned(), Role::Operator));
    refused(&mut world, &good, unknown);
    let row = world.cluster.user_of_key(key(1)).expect("her key");
    assert_eq!(row.name.as_str(), "ann");
    assert_eq!(row.credentials[0].host, "laptop[2J", "nothing that moves a terminal");

    // Ended; the same words.
    let late = offer(root(), "ann", token(&world, "t3", 10));
    done(&mut world, &late);
    world.pass(Millis::from_seconds(10));
    let attempt = login(&world, "t3", 2);
    refused(&mut world, &attempt, unknown);
}

#[test]
fn a_key_is_one_persons_and_a_log_in_uses_its_token_up() {
    let mut world = World::new(Settings::default());
    done(&mut world, &add("ann", 1097, Role::User));
    done(&mut world, &add("bob", 1098, Role::User));
    for (who, hash) in [("ann", "a1"), ("ann", "a2"), ("bob", "b1")] {
        let offered = offer(root(), who, token(&world, hash, 60));
        done(&mut world, &offered);
        let attempt = login(&world, hash, 1);
        assert_eq!(in_as(&mut world, &attempt).0, who);
        assert!(world.cluster.user(&name(who)).expect("a user").login.is_none());
    }
    assert_eq!(world.cluster.user_of_key(key(1)).expect("a user").name.as_str(), "bob");
    assert!(world.cluster.user(&name("ann")).expect("ann").credentials.is_empty());
}

#[test]
fn credentials_are_renewed_bounded_and_revoked_at_once() {
    let mut world = World::new(Settings::default());
    done(&mut world, &add("ann", 1097, Role::User));
    let most = u32::try_from(MAX_CREDENTIALS).expect("few");
    for number in 1..=most + 1 {
        let offered = offer(root(), "ann", token(&world, "t", 60));
        done(&mut world, &offered);
        let attempt = login(&world, "t", number << 8);
        in_as(&mut world, &attempt);
    }
    let row = world.cluster.user(&name("ann")).expect("ann");
    assert_eq!(row.credentials.len(), MAX_CREDENTIALS);
    assert!(
        world.cluster.user_of_key(key(1 << 8)).is_none(),
        "the oldest is dropped"
    );

    // A pending token outlives a renewal.
    let offered = offer(root(), "ann", token(&world, "t", 60));
    done(&mut world, &offered);
    let renew = |world: &World, who: &str, number: u32| Input::RenewCredential {
        caller: user(who),
        credential: Credential {
            expires_at: Timestamp(u64::MAX),
            ..credential(world, number)
        },
    };
    let own = renew(&world, "ann", 2 << 8);
    assert_eq!(in_as(&mut world, &own), ("ann".to_owned(), Role::User));
    let row = world.cluster.user(&name("ann")).expect("ann");
    assert_eq!(row.credentials.len(), MAX_CREDENTIALS);
    assert_eq!(row.credentials.last().map(|c| c.expires_at), Some(Timestamp(u64::MAX)));
    assert!(row.login.is_some());
    let strange = renew(&world, "bob", 2 << 8);
    refused(&mut world, &strange, "'bob' holds no credential with this key");
    let gone = renew(&world, "ann", 1 << 8);
    refused(&mut world, &gone, "log in anew");

    let revoke = |caller: Caller, digits: &str| Input::RevokeCredential {
        caller,
        user: name("ann"),
        key: digits.to_owned(),
    };
    refused(
        &mut world,
        &revoke(user("bob"), "00000200"),
        "may not take back credentials of others",
    );
    refused(&mut world, &revoke(root(), "000002"), "names no key");
    refused(&mut world, &revoke(root(), "zzzzzzzz"), "names no key");
    refused(
        &mut world,
        &revoke(root(), "00000201"),
        "'ann' has no credential with the key 00000201",
    );
    let notes = done(&mut world, &revoke(user("ann"), "00000200"));
    assert_eq!(notes[0], "the credential 00000200 of 'ann' from laptop[2J is void");
    assert!(world.cluster.user_of_key(key(2 << 8)).is_none());

    world.restart();
    assert!(world.cluster.user_of_key(key(3 << 8)).is_some(), "kept over a restart");
    let removed = Input::RemoveUser {
        caller: root(),
        user: name("ann"),
    };
    assert_eq!(
        done(&mut world, &removed),
        ["31 credentials of 'ann' can be used no longer"]
    );
    assert!(world.cluster.user_of_key(key(3 << 8)).is_none());
    let attempt = login(&world, "t", 9);
    refused(&mut world, &attempt, "does not know the login token");
}

fn set(parameters: &[(&str, &str)], env: &[(&str, Option<&str>)]) -> Input {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let variable = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
    Input::SetSettings {
        caller: root(),
        env: env.iter().map(variable).collect(),
        parameters: parameters.iter().map(owned).collect(),
    }
}

#[test]
fn settings_are_checked_kept_and_taken_back() {
    let mut world = World::new(Settings::default());
    let in_force = |world: &World, name: &str| {
        let all = parameters_in_force(&world.cluster);
        let one = all.into_iter().find(|parameter| parameter.name == name).expect("shown");
        one.value
    };
    assert_eq!(in_force(&world, "TaskCancelGracePeriod"), "15");
    let both = set(
        &[("taskcancelgraceperiod", "20"), ("TASKRETRYCOUNT", "5")],
        &[("A", Some("b"))],
    );
    assert_eq!(done(&mut world, &both), [""; 0]);
    assert_eq!(in_force(&world, "TaskCancelGracePeriod"), "20");
    assert_eq!(in_force(&world, "TaskRetryCount"), "5");
    assert!(done(&mut world, &both)[0].contains("set so already"));
    world.restart();
    assert_eq!(in_force(&world, "TaskRetryCount"), "5");
    assert_eq!(world.cluster.settings_row().env["A"].as_deref(), Some("b"));
    done(&mut world, &set(&[("TaskRetryCount", "")], &[("A", None)]));
    assert_eq!(in_force(&world, "TaskRetryCount"), "3");
    assert!(world.cluster.settings_row().env.is_empty());

    let longest = "TaskCancelGracePeriod of 1m 0s and the lease of 10m 0s together with 30s of drift are not shorter \
                   than the lost timeout of 11m 0s";
    for (parameter, says) in [
        (("TaskCancelGracePeriod", "60"), longest),
        (("TaskCancelGracePeriod", "3601"), "from 0 to 3600"),
        (("TaskRetryCount", "-1"), "'-1' is no value of TaskRetryCount"),
        (("LostTimeout", "5"), "is read when the head node starts"),
        (
            ("PreemptionMode", "5"),
            "the parameter 'PreemptionMode' is not built yet",
        ),
        (("taskretrycoun", "5"), "did you mean 'TaskRetryCount'?"),
    ] {
        refused(&mut world, &set(&[parameter], &[]), says);
    }
    refused(
        &mut world,
        &set(&[], &[("muster_X", Some("1"))]),
        "is the cluster's own",
    );
    refused(&mut world, &set(&[], &[("A=B", Some("1"))]), "has a '=' in it");
    let unbuilt = world
        .round(&set(&[("PreemptionType", "1")], &[]))
        .answer
        .expect_err("a refusal");
    assert_eq!(unbuilt.code, RefusalCode::Unsupported);
    let mut by_user = set(&[("TaskRetryCount", "1")], &[]);
    if let Input::SetSettings { caller, .. } = &mut by_user {
        *caller = user("ann");
    }
    refused(
        &mut world,
        &by_user,
        "'ann' may not set the cluster's variables and parameters",
    );
}

#[test]
fn events_of_users_that_are_gone_change_nothing() {
    let mut world = World::new(Settings::default());
    let event = Event::LoggedIn {
        name: name("ann"),
        credential: credential(&world, 1),
    };
    world.cluster.apply(&event);
    assert!(world.cluster.user_of_key(key(1)).is_none());
    assert_eq!(world.cluster.users().len(), 0);
    world.cluster.check().expect("invariants hold");
}

#[test]
fn a_name_alone_makes_nobody_the_user() {
    let mut world = World::new(Settings::default());
    done(&mut world, &add("ann", 7, Role::User));
    let other = offer(user("ann"), "ann", token(&world, "t1", 60));
    refused(&mut world, &other, "'ann' may not make tokens for others");
}

#[test]
fn a_key_that_is_taken_back_takes_along_the_token_that_it_may_have_made() {
    let mut world = World::new(Settings::default());
    done(&mut world, &add("ann", 1097, Role::User));
    let offered = offer(root(), "ann", token(&world, "t1", 60));
    done(&mut world, &offered);
    let first = login(&world, "t1", 1);
    in_as(&mut world, &first);
    let offered = offer(user("ann"), "ann", token(&world, "t2", 60));
    done(&mut world, &offered);
    let revoke = Input::RevokeCredential {
        caller: root(),
        user: name("ann"),
        key: key(1).to_string(),
    };
    let notes = done(&mut world, &revoke);
    assert!(notes[1].contains("is void too"), "{notes:?}");
    let back = login(&world, "t2", 2);
    refused(&mut world, &back, "does not know the login token");
}
