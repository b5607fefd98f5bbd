//! Command lines about nodes, users, tokens, settings and many nodes at once.

use proto::ids::{GroupName, JobId, NodeName, PoolName, Sequence, UserName};
use proto::model::node::{AdminState, Deallocation};
use proto::model::owner::Role;
use proto::units::Millis;

use super::{command, refused};
use crate::args::Page;
use crate::request::{
    AccessCommand, ClusRun, ClusterCommand, Command, CompletionShell, Invitation, NodeCommand, Selector, Telling,
};

fn node(name: &str) -> NodeName {
    NodeName::new(name).expect("a name")
}

fn user(name: &str) -> UserName {
    UserName::new(name).expect("a name")
}

fn access(line: &str) -> AccessCommand {
    match command(line) {
        Ok(Command::Access(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn cluster(line: &str) -> ClusterCommand {
    match command(line) {
        Ok(Command::Cluster(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn clusrun(line: &str) -> ClusRun {
    match cluster(line) {
        ClusterCommand::ClusRun(wanted) => *wanted,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn switches_and_groups() {
    let switch = |nodes, admin, option| Ok(Command::Node(NodeCommand::Switch { nodes, admin, option }));
    let three = || vec![node("n1"), node("n2"), node("x")];
    assert_eq!(
        command("node offline n[1-2] x"),
        switch(three(), AdminState::Draining, Deallocation::TaskCompletion)
    );
    assert_eq!(
        command("node drain n[1-2] x --requeue"),
        switch(three(), AdminState::Draining, Deallocation::Requeue)
    );
    assert_eq!(
        command("node online /all"),
        switch(vec![], AdminState::Online, Deallocation::TaskCompletion)
    );
    let group = GroupName::new("g").expect("a name");
    assert_eq!(
        command("nodegroup add g n1"),
        Ok(Command::Node(NodeCommand::GroupAdd {
            group,
            nodes: vec![node("n1")]
        }))
    );
    assert_eq!(
        command("node remove n1 --force"),
        Ok(Command::Node(NodeCommand::Remove {
            nodes: vec![node("n1")],
            force: true
        }))
    );
}

#[test]
fn invitations() {
    let usual = Invitation {
        pool: PoolName::new("default").expect("a name"),
        groups: vec![GroupName::new("ComputeNodes").expect("a name")],
        uses: 1,
        lifetime: Millis::from_seconds(3600),
        head_address: None,
    };
    assert_eq!(cluster("muster token"), ClusterCommand::Token(usual.clone()));
    assert_eq!(cluster("node join-command"), ClusterCommand::JoinCommand(usual.clone()));
    let given = "muster node join-command --pool lab --groups A,B --uses 4 --lifetime 2d --head-address h:1";
    assert_eq!(
        cluster(given),
        ClusterCommand::JoinCommand(Invitation {
            pool: PoolName::new("lab").expect("a name"),
            groups: ["A", "B"].map(|name| GroupName::new(name).expect("a name")).to_vec(),
            uses: 4,
            lifetime: Millis::from_seconds(2 * 86_400),
            head_address: Some("h:1".to_owned()),
        })
    );
    assert!(refused("muster token --uses 0").contains("1 to 1000000"));
}

#[test]
fn log_ins() {
    let login = |host: Option<&str>, token: Option<&str>| AccessCommand::Login {
        host: host.map(str::to_owned),
        token: token.map(str::to_owned),
    };
    assert_eq!(access("muster login head"), login(Some("head"), None));
    assert_eq!(access("muster login head:9 -- -"), login(Some("head:9"), Some("-")));
    assert_eq!(access("muster login head -"), login(Some("head"), Some("-")));
    assert_eq!(
        access("muster login --scheduler head token.txt"),
        login(None, Some("token.txt"))
    );
    assert_eq!(
        access("muster login muster-login-1.a.b"),
        login(None, Some("muster-login-1.a.b"))
    );
    assert_eq!(access("muster logout"), AccessCommand::Logout { host: None });
}

#[test]
fn users() {
    assert_eq!(
        access("muster user add alice --role Operator --uid 5 --gid 6"),
        AccessCommand::UserAdd {
            user: user("alice"),
            role: Role::Operator,
            ids: Some((5, 6))
        }
    );
    assert!(refused("muster user add alice --uid 5").contains("--gid"));
    assert!(refused("muster user add alice --role boss").contains("user, operator, administrator"));
    assert!(refused("muster user add -x").contains("no option"));
    assert_eq!(
        access("muster user revoke alice ABCDEF0123"),
        AccessCommand::UserRevoke {
            user: user("alice"),
            key: "abcdef0123".to_owned()
        }
    );
    assert!(refused("muster user revoke alice abc").contains("8 hex digits"));
    assert_eq!(
        access("muster user token"),
        AccessCommand::UserToken {
            user: None,
            lifetime: Millis::from_seconds(86_400)
        }
    );
}

#[test]
fn many_nodes() {
    let plain = clusrun("clusrun hostname -s");
    assert_eq!((plain.on, plain.telling), (Selector::Ready, Telling::Interleaved));
    assert_eq!(plain.command, ["hostname", "-s"]);
    let given = clusrun("clusrun /nodes:n[1-2] /exclude:n2 /sorted /env:A=1 /workdir:/w /stdin:i ls /all");
    assert_eq!(given.on, Selector::Named(vec![node("n1"), node("n2")]));
    assert_eq!((given.exclude, given.telling), (vec![node("n2")], Telling::Sorted));
    assert_eq!(given.command, ["ls", "/all"], "the program's own words");
    assert_eq!(
        (given.workdir.as_deref(), given.stdin.as_deref()),
        (Some("/w"), Some("i"))
    );
    assert_eq!(clusrun("muster clusrun /job:7 id").on, Selector::Job(JobId(7)));
    assert_eq!(clusrun("clusrun --output-dir d id").telling, Telling::Files("d".into()));
    assert!(refused("clusrun /all /nodes:n1 id").contains("/all and /nodes exclude each other"));
    assert!(refused("clusrun /sorted /interleaved id").contains("exclude each other"));
    assert!(refused("clusrun").contains("the program to run"));
}

#[test]
fn settings() {
    let ClusterCommand::SetEnvs(env) = cluster("cluscfg setenvs A=1;2 B=") else {
        panic!("variables");
    };
    assert_eq!((env["A"].as_deref(), &env["B"]), (Some("1;2"), &None));
    assert_eq!(
        cluster("cluscfg setparams TaskRetryCount=3"),
        ClusterCommand::SetParameters(vec![("TaskRetryCount".to_owned(), "3".to_owned())])
    );
    assert!(refused("cluscfg setenvs A").contains("'A' is no NAME=VALUE"));
    assert_eq!(cluster("cluscfg listenvs"), ClusterCommand::Envs);
}

#[test]
fn the_rest() {
    assert_eq!(
        cluster("muster events -f --after 12"),
        ClusterCommand::Events {
            follow: true,
            after: Some(Sequence(12))
        }
    );
    assert_eq!(cluster("muster doctor --probe"), ClusterCommand::Doctor { probe: true });
    assert_eq!(cluster("hpcfwutil register all"), ClusterCommand::Firewall);
    assert!(refused("hpcfwutil break").contains("register, unregister"));
    assert_eq!(
        cluster("muster completions ZSH"),
        ClusterCommand::Completions(CompletionShell::Zsh)
    );
    assert!(refused("muster completions tcsh").contains("bash, zsh, fish"));
    assert_eq!(
        cluster("muster man job"),
        ClusterCommand::Man {
            page: Page::named("job"),
            dir: None
        }
    );
    assert!(refused("muster man nosuch").contains("muster-user"));
    let ClusterCommand::Up(up) = cluster("muster up --nodes 0 --listen 10.0.0.1") else {
        panic!("up");
    };
    assert_eq!((up.nodes, up.listen), (Some(0), "10.0.0.1:8745".parse().ok()));
    assert!(refused("muster up --port 1 --listen ::").contains("exclude each other"));
    assert!(refused("muster service install node").contains("muster-computenode join"));
}
