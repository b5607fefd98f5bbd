//! Why a connection could not be made or was lost, in the words of the person who has to do something about it.
//!
//! TLS tells the two sides apart by who found the fault: the finder has the error at hand, the other is told one byte,
//! the alert. Both map to the same [`CertificateFault`]s here, so that both logs tell the same story.

use std::fmt;

use quinn::{ApplicationClose, ConnectionError, TransportErrorCode};
use rustls::AlertDescription;

use super::Fingerprint;

/// Why a connection could not be made, or why it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeProblem {
    /// A certificate was not accepted.
    Certificate {
        /// Whose certificate.
        whose: Whose,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// The dialled side does not serve that name: an allocation that is not, or no longer, there.
    NameNotServed {
        /// Who asked for the name: [`Whose::Ours`] when we dialled.
        asked: Whose,
    },
    /// The other side speaks something else: another version, or another program.
    OtherProtocol,
    /// The dialled side takes no more connections now.
    Refused,
    /// The other side ended the connection and said why.
    Closed {
        /// A number, see `control::CloseCode`.
        code: u64,
        /// For people; at most 200 characters.
        reason: String,
    },
    /// Nothing was heard for the idle time.
    TimedOut,
    /// The other side was restarted and knows nothing of the connection.
    Restarted,
    /// We ended the connection ourselves.
    ClosedHere,
    /// Something else, in the words of the QUIC library.
    Other {
        /// Those words; at most 200 characters.
        detail: String,
    },
}

/// One of the two sides of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This side's: the other side told us.
    Ours,
    /// The other side's: we found out.
    Theirs,
}

/// What can be wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// Another authority made it.
    Foreign,
    /// It has expired, or is not good yet.
    Expired,
    /// There is none.
    Missing,
    /// It is not for the name that was dialled.
    WrongName,
    /// It was made for another purpose, such as a user's for a server.
    WrongPurpose,
    /// Its authority is not the one that a join token names.
    NotPinned,
}

/// Texts of a peer are cut to this many characters before anybody shows them.
const MAX_TEXT_CHARACTERS: usize = 200;

/// TLS alerts in QUIC (RFC 9001 section 4.8): 0x100 plus the alert.
const ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// What a connection error means.
#[must_use]
pub fn explain(error: &ConnectionError) -> HandshakeProblem {
    match error {
        ConnectionError::TransportError(own) => of_code(own.code, Whose::Theirs, &own.to_string()),
        ConnectionError::ConnectionClosed(told) => of_code(told.error_code, Whose::Ours, &told.to_string()),
        ConnectionError::ApplicationClosed(ApplicationClose { error_code, reason }) => {
            let reason = String::from_utf8_lossy(reason);
            HandshakeProblem::Closed {
                code: error_code.into_inner(),
                reason: harmless(&reason),
            }
        }
        ConnectionError::TimedOut => HandshakeProblem::TimedOut,
        ConnectionError::Reset => HandshakeProblem::Restarted,
        ConnectionError::LocallyClosed => HandshakeProblem::ClosedHere,
        ConnectionError::VersionMismatch => HandshakeProblem::OtherProtocol,
        ConnectionError::CidsExhausted => HandshakeProblem::Other {
            detail: error.to_string(),
        },
    }
}

fn of_code(code: TransportErrorCode, whose: Whose, detail: &str) -> HandshakeProblem {
    let number = u64::from(code);
    let alert = u8::try_from(number & 0xff).map(AlertDescription::from);
    match alert {
        Ok(alert) if ALERTS.contains(&number) => of_alert(alert, whose, detail),
        _ if code == TransportErrorCode::CONNECTION_REFUSED => HandshakeProblem::Refused,
        _ => HandshakeProblem::Other {
            detail: harmless(detail),
        },
    }
}

fn of_alert(alert: AlertDescription, whose: Whose, detail: &str) -> HandshakeProblem {
    let fault = match alert {
        // The second: an authority of the same name with another key.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => CertificateFault::Foreign,
        AlertDescription::CertificateExpired => CertificateFault::Expired,
        AlertDescription::CertificateRequired => CertificateFault::Missing,
        AlertDescription::BadCertificate => CertificateFault::WrongName,
        AlertDescription::UnsupportedCertificate => CertificateFault::WrongPurpose,
        AlertDescription::CertificateUnknown => CertificateFault::NotPinned,
        AlertDescription::AccessDenied | AlertDescription::UnrecognisedName => {
            return HandshakeProblem::NameNotServed { asked: whose };
        }
        AlertDescription::NoApplicationProtocol | AlertDescription::ProtocolVersion => {
            return HandshakeProblem::OtherProtocol;
        }
        _ => {
            return HandshakeProblem::Other {
                detail: harmless(detail),
            };
        }
    };
    HandshakeProblem::Certificate { whose, fault }
}

/// A peer's text for our log and terminal: short, and without control characters.
fn harmless(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(MAX_TEXT_CHARACTERS)
        .collect()
}

impl HandshakeProblem {
    /// What is wrong and what to do, for a connection with `peer` on which this side believed the authority with that
    /// fingerprint: the cluster's, or the one of a join token; none for that of an allocation.
    #[must_use]
    pub fn describe(&self, peer: &dyn fmt::Display, authority: Option<&Fingerprint>) -> String {
        let ours = match authority {
            Some(fingerprint) => format!("this cluster's CA (fingerprint {})", fingerprint.short()),
            None => "the CA that we know".to_owned(),
        };
        match self {
            Self::Certificate {
                whose: Whose::Theirs,
                fault,
            } => their_certificate(*fault, peer, &ours),
            Self::Certificate {
                whose: Whose::Ours,
                fault,
            } => our_certificate(*fault, peer, &ours),
            Self::NameNotServed { asked: Whose::Ours } => format!(
                "{peer} does not serve the name that we dialled: its allocation has ended there, or has not begun"
            ),
            Self::NameNotServed { asked: Whose::Theirs } => {
                format!("{peer} dialled a name that we do not serve: its allocation has ended here, or has not begun")
            }
            Self::OtherProtocol => format!(
                "{peer} does not speak our protocol: check that address and port are the right ones and that both sides \
                 run the same version of Muster"
            ),
            Self::Refused => format!("{peer} takes no more connections now: try again later"),
            Self::Closed { code, reason } if reason.is_empty() => format!("{peer} ended the connection (code {code})"),
            Self::Closed { reason, .. } => format!("{peer} ended the connection: {reason}"),
            Self::TimedOut => {
                format!(
                    "nothing was heard from {peer}: check that it runs and that UDP passes between the two machines"
                )
            }
            Self::Restarted => format!("{peer} was restarted"),
            Self::ClosedHere => format!("the connection with {peer} was ended by this side"),
            Self::Other { detail } => format!("the connection with {peer} failed: {detail}"),
        }
    }

    /// Whether trying again without a change by a person may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Certificate { .. } | Self::OtherProtocol => false,
            Self::NameNotServed { .. }
            | Self::Refused
            | Self::Closed { .. }
            | Self::TimedOut
            | Self::Restarted
            | Self::ClosedHere
            | Self::Other { .. } => true,
        }
    }
}

fn their_certificate(fault: CertificateFault, peer: &dyn fmt::Display, ours: &str) -> String {
    match fault {
        CertificateFault::Foreign => format!(
            "the certificate of {peer} was not made by {ours}: it belongs to another cluster or allocation, or its CA \
             was made anew; check the address, or join again with a new token"
        ),
        CertificateFault::Expired => format!(
            "the certificate of {peer} has expired or is not good yet: check that the clocks of both machines agree; if \
             they do, it needs a new certificate"
        ),
        CertificateFault::Missing => {
            format!("{peer} showed no certificate: it has to join with a token, or log in, first")
        }
        CertificateFault::WrongName => {
            format!("the certificate of {peer} is not for what we dialled: check that the address is the right one")
        }
        CertificateFault::WrongPurpose => format!("the certificate of {peer} was made for another purpose"),
        CertificateFault::NotPinned => format!(
            "the CA of {peer} is not the one of the token: the token says {ours}; it is of another cluster, or the \
             CA was made anew, or something answers in the place of the head node; check the address, or make a new \
             token on the head node that is meant"
        ),
    }
}

fn our_certificate(fault: CertificateFault, peer: &dyn fmt::Display, ours: &str) -> String {
    match fault {
        CertificateFault::Foreign => format!(
            "{peer} refused our certificate, for another CA than its own made it; we are of {ours}: check the address, \
             or join the cluster of {peer} with a token from there"
        ),
        CertificateFault::Expired => format!(
            "{peer} refused our certificate as expired or not good yet: check that the clocks of both machines agree; if \
             they do, join again with a new token, or log in again with one from 'muster user token'"
        ),
        CertificateFault::Missing => {
            format!("{peer} wants a certificate and we have none: join with a token, or log in, first")
        }
        CertificateFault::WrongName => format!("{peer} dialled something else than we are: it has a wrong address"),
        CertificateFault::WrongPurpose => {
            format!("{peer} refused our certificate, for it was made for another purpose")
        }
        CertificateFault::NotPinned => format!(
            "{peer} came with a token of another cluster: its token does not name {ours}; make a token on this \
             head node"
        ),
    }
}

impl fmt::Display for HandshakeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(&"the other side", None))
    }
}

impl std::error::Error for HandshakeProblem {}

#[cfg(test)]
mod tests {
    use quinn::VarInt;

    use super::*;

    #[test]
    fn a_peers_reason_is_cut_and_cleaned() {
        let reason = format!("\u{1b}[2Jgo away\n{}", "x".repeat(1000));
        let close = ApplicationClose {
            error_code: VarInt::from_u32(1),
            reason: reason.into_bytes().into(),
        };
        let HandshakeProblem::Closed { code: 1, reason } = explain(&ConnectionError::ApplicationClosed(close)) else {
            panic!("is a close");
        };
        assert!(reason.starts_with("[2Jgo away"), "{reason}");
        assert_eq!(reason.chars().count(), MAX_TEXT_CHARACTERS);
    }

    #[test]
    fn both_sides_of_one_fault_tell_one_story() {
        let code = TransportErrorCode::crypto(48);
        let foreign = |whose| HandshakeProblem::Certificate {
            whose,
            fault: CertificateFault::Foreign,
        };
        assert_eq!(of_code(code, Whose::Theirs, ""), foreign(Whose::Theirs));
        assert_eq!(of_code(code, Whose::Ours, ""), foreign(Whose::Ours));
        assert!(!foreign(Whose::Ours).is_passing());
    }

    #[test]
    fn unknown_codes_keep_their_words() {
        let problem = of_code(TransportErrorCode::crypto(200), Whose::Ours, "some words");
        assert_eq!(
            problem,
            HandshakeProblem::Other {
                detail: "some words".into()
            }
        );
        assert!(problem.to_string().ends_with("some words"), "{problem}");
    }
}
