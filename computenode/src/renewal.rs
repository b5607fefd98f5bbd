//! The node's certificate: when it is renewed, and where the new one goes.
//!
//! The key stays the same for the life of the folder; only the certificate is replaced, its file whole or not at all. A
//! certificate is renewed when two thirds of its life are over, each node a little earlier than that by an amount of its
//! own, so that nodes that joined together do not all ask together. Nothing here talks to the head node.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use proto::control::NodeMessage;
use transport::control::spoken;
use transport::identity::{
    Alpn, CLOCK_SKEW, CertificateDer, ClientTls, Identity, IdentityError, Subject, Trust, Validity, subject_of,
    validity_of,
};

/// The name of the identity's files in the node's folder.
pub(crate) const IDENTITY_NAME: &str = "node";

/// Between two askings when the first one was not answered: a part of the certificate's life, within these bounds.
const RETRIES_IN_A_LIFE: u32 = 24;
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// How much earlier than after two thirds of its life a certificate may be renewed: at most this part of it.
const JITTER_PART: u32 = 20;

/// What this node shows of itself. Clones share it, so that a new certificate counts for the next dial.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    identity: Arc<Mutex<Identity>>,
    folder: PathBuf,
    /// Of 1000, for the life of this process.
    jitter: u32,
}

impl Credential {
    pub(crate) fn new(identity: Identity, folder: &Path) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = now.unwrap_or_default().subsec_nanos() ^ std::process::id();
        Self {
            identity: Arc::new(Mutex::new(identity)),
            folder: folder.to_owned(),
            jitter: seed % 1000,
        }
    }

    /// For one dial to the head node.
    pub(crate) fn tls(&self) -> Result<ClientTls, IdentityError> {
        let identity = self.identity();
        ClientTls::new(Some(&identity), &identity.trust(), Alpn::Head)
    }

    /// To trust whom the cluster's authority vouches for.
    pub(crate) fn trust(&self) -> Trust {
        self.identity().trust()
    }

    /// Asks for a new certificate of the same key.
    pub(crate) fn request(&self) -> Result<NodeMessage, IdentityError> {
        let request = self.identity().key().certificate_request()?.to_vec();
        Ok(NodeMessage::Renew {
            version: spoken(),
            request,
        })
    }

    /// Takes the new certificate, once it is on the disk.
    ///
    /// # Errors
    /// When it is of another key or another node, does not end later than the one before, or cannot be written.
    pub(crate) fn replace(&self, certificate: Vec<u8>, authority: Vec<u8>) -> anyhow::Result<()> {
        let before = self.identity();
        let renewed = Identity::new(before.key().clone(), certificate.into(), authority.into())?;
        let (old, new) = (subject_of(before.certificate())?, subject_of(renewed.certificate())?);
        anyhow::ensure!(old == new, "the new certificate names '{new}', this is '{old}'");
        anyhow::ensure!(
            before.authority() == renewed.authority(),
            "the new certificate is of another authority"
        );
        renewed
            .save(&self.folder, IDENTITY_NAME)
            .context("the new certificate cannot be kept")?;
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    pub(crate) fn life(&self) -> Option<Life> {
        Life::of(self.identity().certificate())
    }

    /// When to ask for the next one; now, for one that cannot be read.
    pub(crate) fn renew_at(&self) -> SystemTime {
        self.life()
            .map_or(SystemTime::UNIX_EPOCH, |life| life.renew_at(self.jitter))
    }

    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        self.renew_at() <= now
    }

    pub(crate) fn is_expired(&self, now: SystemTime) -> bool {
        self.life().is_some_and(|life| life.ends <= now)
    }

    /// Between two askings.
    pub(crate) fn retry_after(&self) -> Duration {
        let span = self.life().map_or(SHORTEST_RETRY, |life| life.span());
        (span / RETRIES_IN_A_LIFE).clamp(SHORTEST_RETRY, LONGEST_RETRY)
    }

    fn identity(&self) -> Identity {
        // It is replaced whole, so a poisoned one is as good.
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// From when to when a certificate is good, without the time by which it is dated back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    begins: SystemTime,
    pub(crate) ends: SystemTime,
}

impl Life {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let Validity { not_before, not_after } = validity_of(certificate)?;
        let made = not_before + CLOCK_SKEW;
        Some(Self {
            begins: if made < not_after { made } else { not_before },
            ends: not_after,
        })
    }

    fn span(self) -> Duration {
        self.ends.duration_since(self.begins).unwrap_or_default()
    }

    fn renew_at(self, jitter: u32) -> SystemTime {
        let span = self.span();
        self.begins + span * 2 / 3 - span / JITTER_PART * jitter / 1000
    }
}

/// Which node a certificate names.
///
/// # Errors
/// When it names something else, or is none.
pub(crate) fn node_of(identity: &Identity) -> anyhow::Result<proto::ids::NodeId> {
    match subject_of(identity.certificate())? {
        Subject::Node(node) => Ok(node),
        other => anyhow::bail!("the certificate in this folder names '{other}' and no node; give another --dir"),
    }
}

#[cfg(test)]
mod tests {
    use proto::ids::NodeId;
    use transport::identity::{Authority, KeyPair};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn issue(authority: &Authority, key: &KeyPair, node: u32, at: SystemTime, life: Duration) -> Identity {
        let request = key.certificate_request().expect("a request");
        let subject = Subject::Node(NodeId(node));
        let certificate = authority.issue(&request, &subject, at, life).expect("issues");
        Identity::new(key.clone(), certificate, authority.certificate().clone()).expect("fits")
    }

    fn parts() -> (Authority, KeyPair, SystemTime) {
        // Certificates count whole seconds.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let authority = Authority::create("test", now, 1000 * HOUR).expect("an authority");
        (authority, KeyPair::generate().expect("a key"), now)
    }

    #[test]
    fn it_is_due_when_two_thirds_are_over_whatever_it_was_dated_back() {
        let (authority, key, now) = parts();
        let identity = issue(&authority, &key, 1, now, 3 * HOUR);
        let life = Life::of(identity.certificate()).expect("a life");
        assert_eq!((life.begins, life.ends), (now, now + 3 * HOUR));
        assert_eq!(life.renew_at(0), now + 2 * HOUR);
        let earliest = life.renew_at(999);
        assert!(
            earliest < now + 2 * HOUR && earliest > now + 110 * HOUR / 60,
            "{earliest:?}"
        );

        let folder = tempfile::tempdir().expect("a folder");
        let credential = Credential::new(identity, folder.path());
        assert!(!credential.is_due(now + HOUR) && credential.is_due(now + 2 * HOUR));
        assert!(!credential.is_expired(now + 2 * HOUR) && credential.is_expired(now + 3 * HOUR));
        assert_eq!(credential.retry_after(), HOUR / 8);
    }

    #[test]
    fn a_new_certificate_is_kept_and_one_of_another_node_is_not() {
        let (authority, key, now) = parts();
        let folder = tempfile::tempdir().expect("a folder");
        let first = issue(&authority, &key, 1, now, HOUR);
        first.save(folder.path(), IDENTITY_NAME).expect("saves");
        let credential = Credential::new(first, folder.path());

        let second = issue(&authority, &key, 1, now + HOUR, HOUR);
        let ca = authority.certificate().to_vec();
        credential
            .replace(second.certificate().to_vec(), ca.clone())
            .expect("replaces");
        let kept = Identity::load(folder.path(), IDENTITY_NAME).expect("loads");
        assert_eq!(kept.certificate(), second.certificate());
        assert_eq!(credential.life().expect("a life").ends, now + 2 * HOUR);

        let other = issue(&authority, &key, 2, now, HOUR);
        let error = credential
            .replace(other.certificate().to_vec(), ca)
            .expect_err("another node");
        assert!(error.to_string().contains("node/2"), "{error}");
        let kept = Identity::load(folder.path(), IDENTITY_NAME).expect("loads");
        assert_eq!(kept.certificate(), second.certificate());
    }
}
