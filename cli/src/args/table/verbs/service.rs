//! The commands about the head node as a service of the system.

use super::{Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        Verb::ServiceInstall,
        Noun::Service,
        "install",
        "have systemd start the head node now and with the machine",
    )
    .takes("[head]", 0, 1, "")
    .examples(&[
        "muster service install head",
        "muster service install head --listen 10.0.0.1",
        "muster service install head --print",
    ]),
    verb(
        Verb::ServiceUninstall,
        Noun::Service,
        "uninstall",
        "stop that service and take it away; jobs and keys stay",
    )
    .takes("[head]", 0, 1, "")
    .examples(&["muster service uninstall head"]),
];
