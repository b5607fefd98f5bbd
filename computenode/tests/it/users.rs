//! Two users of one node, tried as those users: neither gets at the other's files, processes, sockets or input, nor at
//! the node's own key.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::unistd::{User, geteuid};
use proto::control::{Report, StartOrder};
use proto::model::owner::Owner;
use proto::model::task::{AttemptOutcome, Interactive};

use crate::agent::{joined, run, stdout, text};
use crate::node::script;
use crate::wait::{pid_in, until};

/// A user that is made for the test, and taken away with it.
struct TestUser {
    owner: Owner,
}

impl TestUser {
    /// None where no users can be made.
    fn make(name: &str, uid: u32) -> Option<Self> {
        let uid = uid.to_string();
        // One that an earlier run left behind is as good.
        let _ = Command::new("useradd")
            .args(["--no-create-home", "--shell", "/bin/sh", "--uid", &uid, name])
            .output();
        let user = User::from_name(name).expect("accounts can be read")?;
        let owner = Owner {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        };
        Some(Self { owner })
    }
}

impl Drop for TestUser {
    fn drop(&mut self) {
        // What is left behind is used by the next run.
        let _ = Command::new("userdel").args(["--force", &self.owner.name]).output();
    }
}

/// Tries as `owner` what has to fail, and says what did not.
fn got_at(node_folder: &str, mark: &str) -> String {
    format!(
        "try() {{ if \"$@\" > /dev/null 2>&1; then echo \"GOT AT: $*\"; fi; }}
        try true
        D={node_folder}; V=$D/tasks/12/1-1; P=$(cat /tmp/{mark})
        try ls $D; try ls $D/tasks; try ls $D/tasks/12; try ls $D/launch; try ls $D/records
        try cat $D/node.key; try cat $D/spawner.pid; try cat $D/spawner.boot; try cat $D/agent.pid; try cat $D/spawner.log
        try ls $V; try ls $V/wd; try cat $V/stdout.txt; try cat $V/wd/secret; try cat $V/script; try test -S $V/input
        try touch $D/x; try touch $D/tasks/x; try touch $D/tasks/12/x; try touch $V/x; try rm -rf $V/wd/secret
        try ln -s /etc $D/tasks/12/1-3; try mkdir $D/tasks/13
        try kill -0 $P; try kill -9 $P; try cat /proc/$P/environ; try ls /proc/$P/fd; try readlink /proc/$P/cwd
        try readlink /proc/$P/exe; try cat /proc/$P/mem
        test \"$(id -u)\" != 0 && env | grep -i 'token\\|secret\\|seed' ; ls /proc/self/fd | wc -l"
    )
}

#[tokio::test]
async fn a_user_does_not_get_at_the_task_of_another() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED a_user_does_not_get_at_the_task_of_another: needs root");
        return;
    }
    let (Some(alice), Some(bob)) = (TestUser::make("muster-t1", 60_001), TestUser::make("muster-t2", 60_002)) else {
        eprintln!("SKIPPED a_user_does_not_get_at_the_task_of_another: useradd makes no users here");
        return;
    };
    let (_head, agent, mut node) = joined().await;
    let mark = format!("muster-users-{}", std::process::id());
    let pid_file = std::path::Path::new("/tmp").join(&mark);
    std::fs::write(&pid_file, "").expect("writes");
    std::fs::set_permissions(&pid_file, PermissionsExt::from_mode(0o666)).expect("sets the mode");
    let victim = StartOrder {
        owner: alice.owner.clone(),
        command: vec!["job.sh".to_owned()],
        script: Some(format!(
            "umask 0; echo secret > secret; echo $$ > {}; sleep 1000\n",
            pid_file.display()
        )),
        interactive: Some(Interactive { terminal: false }),
        ..script(1, "")
    };
    node.start(victim).await;
    assert!(matches!(node.report().await, Report::Started { .. }));
    let victims = pid_in(&pid_file);
    let folder = agent.path("");
    until("the session's socket", || {
        folder.join("tasks/12/1-1/input").exists().then_some(())
    });

    let attack = StartOrder {
        owner: bob.owner.clone(),
        ..script(2, &got_at(folder.to_str().expect("text").trim_end_matches('/'), &mark))
    };
    assert_eq!(run(&mut node, attack).await, AttemptOutcome::Exited { code: 0 });
    // What any user may, and of files the standard streams and the folder that is listed.
    assert_eq!(text(stdout(&node, 2).await), "GOT AT: true\n4\n");
    assert!(crate::wait::alive(victims) && folder.join("tasks/12/1-1/wd/secret").exists());
    std::fs::remove_file(&pid_file).expect("is there");
}
