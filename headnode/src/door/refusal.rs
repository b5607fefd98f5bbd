//! What a client is told that is not served, for reasons of the door itself.

use proto::client::{Refusal, RefusalCode};
use proto::frame::{FrameError, VERSION, Version};
use proto::model::owner::Caller;
use proto::units::Millis;

use super::places::{MAX_CLIENTS, MAX_CLIENTS_OF_ONE};

/// When a request that there is no room for may be tried again: some rounds later.
pub const RETRY_AFTER: Millis = Millis(500);

pub(super) fn refused(code: RefusalCode, what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal {
        code,
        what: what.into(),
        remedy: remedy.into(),
        retry_after: None,
    }
}

/// Nothing is wrong but the moment; nothing was changed.
pub(super) fn busy(what: impl Into<String>) -> Refusal {
    Refusal {
        retry_after: Some(RETRY_AFTER),
        ..refused(
            RefusalCode::Busy,
            what,
            format!("try again in {} ms; nothing was changed", RETRY_AFTER.0),
        )
    }
}

pub(super) fn too_many_clients(who: &Caller) -> Refusal {
    let what = format!(
        "{} has {MAX_CLIENTS_OF_ONE} connections to the head node, or all have {MAX_CLIENTS}",
        who.owner.name
    );
    Refusal {
        retry_after: Some(RETRY_AFTER),
        ..refused(RefusalCode::Busy, what, "end some, or try again later")
    }
}

pub(super) fn garbled(error: &FrameError) -> Refusal {
    refused(
        RefusalCode::Invalid,
        format!("the head node cannot read the request: {error}"),
        "use the command line of the head node's release",
    )
}

pub(super) fn ending() -> Refusal {
    refused(
        RefusalCode::Busy,
        "the head node is ending; whether the request was carried out is not known",
        "repeat it when the head node is back: a submission with the same id is taken once",
    )
}

pub(super) fn other_version(theirs: Version) -> Refusal {
    refused(
        RefusalCode::Version,
        format!("the head node speaks version {VERSION}, this command line {theirs}"),
        "use the command line of the head node's release",
    )
}

pub(super) fn unknown_request() -> Refusal {
    refused(
        RefusalCode::Unsupported,
        "the head node does not know this request",
        "it is older than your command line; update it",
    )
}

pub(super) fn a_node() -> Refusal {
    refused(RefusalCode::Forbidden, "a compute node may ask nothing here", "")
}
