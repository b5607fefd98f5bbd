//! The commands about variables and parameters of the cluster.

use super::{ANY, Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        Verb::CfgListEnvs,
        Noun::ClusCfg,
        "listenvs",
        "variables that every task gets",
    )
    .examples(&["cluscfg listenvs"]),
    verb(
        Verb::CfgSetEnvs,
        Noun::ClusCfg,
        "setenvs",
        "set variables for every task; NAME= takes one away",
    )
    .takes("NAME=VALUE...", 1, ANY, "a variable, NAME=VALUE")
    .examples(&[
        "cluscfg setenvs LICENSE_SERVER=27000@lic OMP_NUM_THREADS=1",
        "cluscfg setenvs OMP_NUM_THREADS=",
    ]),
    verb(
        Verb::CfgListParams,
        Noun::ClusCfg,
        "listparams",
        "parameters of the cluster with what they do",
    )
    .examples(&["cluscfg listparams"]),
    verb(
        Verb::CfgSetParams,
        Noun::ClusCfg,
        "setparams",
        "set parameters; NAME= takes one back to its default",
    )
    .takes("NAME=VALUE...", 1, ANY, "a parameter, NAME=VALUE")
    .examples(&["cluscfg setparams TaskCancelGracePeriod=30 TaskRetryCount=3"]),
];
