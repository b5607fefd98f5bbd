//! Hosts made of namespaces are really apart, and really joined.

use std::fs;

use nix::unistd::Uid;
use tests::hosts::{ALICE, Network, ROOT};

#[test]
fn hosts_share_nothing_but_the_network() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: hosts_share_nothing_but_the_network needs root");
        return;
    }
    let mut network = Network::new().expect("a bridge");
    network.add("left").expect("a host");
    network.add("right").expect("a host");
    let (left, right) = (network.host("left").unwrap(), network.host("right").unwrap());
    assert_eq!(left.types(ROOT, "hostname").unwrap(), "left\n");
    left.types(
        ALICE,
        "echo mine > /dev/shm/mine; echo mine > /tmp/mine; echo mine > ~/mine",
    )
    .unwrap();
    assert_eq!(
        right
            .types(ROOT, "ls /dev/shm /tmp /home/alice")
            .unwrap()
            .matches("mine")
            .count(),
        0
    );
    assert_eq!(left.types(ALICE, "id -un; pwd").unwrap(), "alice\n/home/alice\n");
    assert!(
        left.types(ROOT, "ls -d /proc/[0-9]* | wc -l")
            .unwrap()
            .trim()
            .parse::<u32>()
            .unwrap()
            < 10,
        "a host has processes of its own only"
    );
    assert!(
        !fs::exists("/opt/muster/bin").unwrap_or(true) || !fs::exists("/dev/shm/mine").unwrap_or(true),
        "nothing is mounted on this machine"
    );
    let hear = "exec 3<>/dev/tcp/172.16.0.2/4000 && read -r line <&3 && echo $line";
    // Perl is part of every Debian.
    let mut speaker = right
        .command(ROOT, "perl")
        .args(["-MIO::Socket::INET", "-e"])
        .arg("my $s = IO::Socket::INET->new(Listen => 1, LocalPort => 4000) or die; my $c = $s->accept; print $c qq(hello\n)")
        .spawn()
        .expect("starts");
    let heard = tests::wait::until("the other host to be heard", tests::cluster::SOON, || {
        let said = left.run(ROOT, &["bash", "-c", hear])?;
        Ok((said.code == 0).then_some(said.out))
    });
    assert_eq!(heard.unwrap(), "hello\n");
    assert!(speaker.wait().expect("ends").success());
}
