//! The commands about the cluster itself.

use super::{ANY, Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        Verb::Up,
        Noun::Cluster,
        "up",
        "start a head node and compute nodes on this machine",
    )
    .examples(&[
        "muster up",
        "muster up --nodes 2 --state /tmp/try",
        "muster up --nodes 0 --listen 10.0.0.1    # a head node alone, for real hosts",
    ]),
    verb(Verb::Down, Noun::Cluster, "down", "stop what 'muster up' started")
        .examples(&["muster down", "muster down --purge"]),
    verb(
        Verb::Env,
        Noun::Cluster,
        "env",
        "print the shell commands that put job, task, mpiexec, ... into PATH",
    )
    .examples(&["eval \"$(muster env)\"", "muster env | source    # fish"]),
    verb(Verb::Status, Noun::Cluster, "status", "the head node and its counts").examples(&["muster status"]),
    verb(
        Verb::Token,
        Noun::Cluster,
        "token",
        "make a token with which nodes join",
    )
    .examples(&["muster token --pool lab --groups ComputeNodes --uses 16 --lifetime 1h"]),
    verb(
        Verb::ClusRun,
        Noun::Cluster,
        "clusrun",
        "run a command on many nodes beside the queue, for operators",
    )
    .takes("PROGRAM [ARGUMENTS]", 1, ANY, "a command, the program to run")
    .command()
    .examples(&[
        "clusrun hostname",
        "clusrun /nodes:n[1-4] /sorted uptime",
        "clusrun /nodegroup:azurenodes /exclude:n3 df -h /scratch",
        "clusrun /all /outputdir:logs dmesg",
    ]),
    verb(
        Verb::Events,
        Noun::Cluster,
        "events",
        "what happened in the cluster, one line each",
    )
    .examples(&[
        "muster events",
        "muster events -f",
        "muster events --after 1200 -o json",
    ]),
    verb(
        Verb::Doctor,
        Noun::Cluster,
        "doctor",
        "look for what keeps the cluster from working, and say what to type",
    )
    .examples(&["muster doctor", "muster doctor --probe"]),
    verb(
        Verb::Backup,
        Noun::Cluster,
        "backup",
        "write all that the head node knows into a file, whether it runs or not",
    )
    .takes("FILE", 1, 1, "a file to write")
    .examples(&["muster backup /backup/muster-monday"]),
    verb(
        Verb::Restore,
        Noun::Cluster,
        "restore",
        "make the head node's store from a backup; what was there before is kept",
    )
    .takes("FILE", 1, 1, "a file that 'muster backup' has written")
    .examples(&["muster restore /backup/muster-monday"]),
    verb(
        Verb::Dump,
        Noun::Cluster,
        "dump",
        "print every row of the store, or of a backup, as a line of JSON",
    )
    .takes("[FILE]", 0, 1, "")
    .examples(&["muster dump | grep '^{\"key\":\"j/'"]),
    verb(
        Verb::Check,
        Noun::Cluster,
        "check",
        "read the whole store and say what is wrong with it",
    )
    .examples(&["muster check"]),
    verb(
        Verb::Compact,
        Noun::Cluster,
        "compact",
        "make the database of the store as small as it can be",
    )
    .examples(&["muster compact"]),
    verb(
        Verb::Firewall,
        Noun::Cluster,
        "hpcfwutil",
        "what to open in firewalls for this cluster; changes nothing",
    )
    .takes("[show|register|unregister|open]...", 0, ANY, "")
    .examples(&["hpcfwutil show", "hpcfwutil register"]),
    verb(
        Verb::Completions,
        Noun::Cluster,
        "completions",
        "print what makes a shell complete commands, options, ids and names",
    )
    .takes("bash|zsh|fish", 1, 1, "a shell: bash, zsh or fish")
    .examples(&[
        "eval \"$(muster completions bash)\"",
        "muster completions zsh > ~/.zfunc/_muster",
        "muster completions fish > ~/.config/fish/completions/muster.fish",
    ]),
    verb(Verb::Man, Noun::Cluster, "man", "write the pages of the manual")
        .takes("[PAGE]", 0, 1, "")
        .examples(&[
            "muster man job | man -l -",
            "muster man --dir /usr/local/share/man/man1",
        ]),
    verb(
        Verb::Complete,
        Noun::Cluster,
        "__complete",
        "what could stand for the last word",
    )
    .takes("WORDS...", 0, ANY, "")
    .command()
    .examples(&["muster __complete -- job view 1"]),
];
