//! The cluster's certificate authority and the head node's own certificate, in one folder that only its owner reads.
//!
//! The first start makes both, and the secret that allocations' authorities are derived from. The head node makes itself
//! a certificate at each start, and a new one while it runs when a third of the old one's life is left: nobody pins it,
//! so nobody notices.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use proto::control::{AllocationAuthority, HeadMessage, Order};
use proto::ids::KeyHash;
use proto::units::{Millis, Timestamp};
use transport::control::{Listener, Settings};
use transport::identity::{
    AllocationSecret, Alpn, Authority, CertificateDer, ClientCertificate, Fingerprint, Identity, KeyPair, RequestDer,
    ServerTls, Subject,
};

use crate::clock::{self, Clock};

/// Of the cluster's authority: a new one means that every node joins anew, so it is long.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);

/// Of the head node's own certificate.
const HEAD_LIFE: Millis = Millis::from_seconds(365 * 86_400);

/// With so much of its life left, the head node's certificate is made anew.
const HEAD_RENEWED_WITH: Millis = Millis(HEAD_LIFE.0 / 3);

/// How often that is looked at.
const HEAD_LOOKED_AT: Duration = Duration::from_secs(86_400);

/// With so much of its life left, the log speaks of the authority at each look.
const AUTHORITY_ENDS_SOON: Duration = Duration::from_secs(2 * 365 * 86_400);

/// The cluster's authority and the head's own identity.
#[derive(Debug)]
pub struct ClusterAuthority {
    authority: Authority,
    shown: ServerTls,
    /// When the certificate that is shown ends, in milliseconds since 1970.
    head_ends: AtomicU64,
    allocations: AllocationSecret,
    clock: Clock,
}

impl ClusterAuthority {
    /// Reads the folder, or fills it at the first start.
    ///
    /// # Errors
    /// Names the file that cannot be read or written.
    pub fn open(dir: &Path, cluster: &str, clock: Clock) -> anyhow::Result<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("the folder {} cannot be made", dir.display()))?;
        let now = clock.now().wall;
        let authority = match Authority::load(dir) {
            Err(error) if error.is_missing() => {
                let name = format!("Muster {cluster}");
                let authority = Authority::create(&name, clock::system_time(now), AUTHORITY_LIFE)?;
                authority.save(dir)?;
                tracing::info!(fingerprint = %authority.fingerprint(), "first start: made the cluster's authority");
                authority
            }
            other => other?,
        };
        let (head, ends) = head_identity(&authority, now)?;
        Ok(Self {
            shown: ServerTls::new(&head, ClientCertificate::Renewable, Alpn::Head)?,
            head_ends: AtomicU64::new(ends.0),
            allocations: AllocationSecret::open(&dir.join("allocations.secret"))?,
            authority,
            clock,
        })
    }

    /// Opens the port where nodes and users dial in. A peer without a certificate may only join or log in, a node whose
    /// certificate has expired may only renew it.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn listen(&self, address: SocketAddr, idle: Duration) -> anyhow::Result<Listener> {
        let settings = Settings::default().with_idle_timeout(idle);
        let secret = self.allocations.key_for("connections of the head node");
        Ok(Listener::bind_restarting(address, &self.shown, settings, &secret)?)
    }

    /// When a certificate ends that is made now for such a life: a whole second, and not after the authority itself.
    #[must_use]
    pub fn ends_after(&self, life: Millis) -> Timestamp {
        ends_after(&self.authority, self.clock.now().wall, life)
    }

    /// A certificate for whoever holds the key that signed the request, good until `ends`.
    ///
    /// # Errors
    /// When the request is damaged or not signed by its own key.
    pub fn issue(
        &self,
        request: &RequestDer<'_>,
        subject: &Subject,
        ends: Timestamp,
    ) -> anyhow::Result<CertificateDer<'static>> {
        Ok(issue(&self.authority, request, subject, self.clock.now().wall, ends)?)
    }

    /// The key of a request that could be granted.
    ///
    /// # Errors
    /// When it is damaged or not signed by its own key.
    pub fn check(&self, request: &RequestDer<'_>) -> anyhow::Result<KeyHash> {
        Ok(Authority::check(request)?)
    }

    /// What nodes trust.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        self.authority.certificate()
    }

    /// What tokens pin.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.authority.fingerprint()
    }

    /// When the head node's own certificate ends, as it is shown now.
    #[must_use]
    pub fn head_ends(&self) -> Timestamp {
        Timestamp(self.head_ends.load(Ordering::Relaxed))
    }

    /// Fills in what launches need, just before starts leave for their node.
    pub fn fill_in(&self, message: &mut HeadMessage) {
        let HeadMessage::Orders { orders } = message else {
            return;
        };
        for order in orders {
            let of = |attempt| {
                let seed = self.allocations.seed(attempt).to_vec();
                Some(AllocationAuthority { seed })
            };
            match order {
                Order::Start(start) => start.authority = of(start.attempt),
                Order::StartSteps { steps, .. } => {
                    for step in steps {
                        step.authority = of(step.attempt);
                    }
                }
                _ => {}
            }
        }
    }

    /// Looks after the head node's own certificate until the task is dropped.
    pub async fn keep_fresh(&self) {
        let mut looks = tokio::time::interval(HEAD_LOOKED_AT);
        loop {
            looks.tick().await;
            let now = self.clock.now().wall;
            match self.renew_if_due(now) {
                Ok(true) => tracing::info!("the head node shows a new certificate"),
                Ok(false) => {}
                // Tried again tomorrow, for four months.
                Err(error) => tracing::error!("the head node's certificate cannot be renewed: {error:#}"),
            }
            let left = self.authority.not_after().duration_since(clock::system_time(now));
            if left.unwrap_or_default() < AUTHORITY_ENDS_SOON {
                tracing::warn!("the cluster's authority ends in less than two years; plan to let all nodes join anew");
            }
        }
    }

    /// Shows a new certificate when a third of the old one's life is left. Whether it does.
    fn renew_if_due(&self, now: Timestamp) -> anyhow::Result<bool> {
        if self.head_ends().since(now) > HEAD_RENEWED_WITH {
            return Ok(false);
        }
        let (head, ends) = head_identity(&self.authority, now)?;
        self.shown.show(&head)?;
        self.head_ends.store(ends.0, Ordering::Relaxed);
        Ok(true)
    }
}

/// A fresh key for the head node with its certificate, and when that ends.
fn head_identity(authority: &Authority, now: Timestamp) -> anyhow::Result<(Identity, Timestamp)> {
    let key = KeyPair::generate()?;
    let ends = ends_after(authority, now, HEAD_LIFE);
    let certificate = issue(authority, &key.certificate_request()?, &Subject::Head, now, ends)?;
    Ok((Identity::new(key, certificate, authority.certificate().clone())?, ends))
}

fn ends_after(authority: &Authority, now: Timestamp, life: Millis) -> Timestamp {
    let whole_seconds = Timestamp((now + life).0 / 1000 * 1000);
    whole_seconds.min(clock::timestamp(authority.not_after()))
}

fn issue(
    authority: &Authority,
    request: &RequestDer<'_>,
    subject: &Subject,
    now: Timestamp,
    ends: Timestamp,
) -> Result<CertificateDer<'static>, transport::identity::IdentityError> {
    let now: SystemTime = clock::system_time(now);
    let life = clock::system_time(ends).duration_since(now).unwrap_or_default();
    authority.issue(request, subject, now, life)
}

#[cfg(test)]
mod tests {
    use transport::identity::validity_of;

    use super::*;

    fn authority() -> (tempfile::TempDir, ClusterAuthority) {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = ClusterAuthority::open(&folder.path().join("identity"), "test", Clock::start());
        (folder, opened.expect("opens"))
    }

    #[test]
    fn the_heads_certificate_is_made_anew_when_a_third_of_its_life_is_left() {
        let (_folder, authority) = authority();
        let first = authority.head_ends();
        let at = |days: u64| Timestamp(authority.clock.now().wall.0) + Millis::from_seconds(days * 86_400);
        assert!(!authority.renew_if_due(at(200)).expect("looks"));
        assert_eq!(authority.head_ends(), first);
        assert!(authority.renew_if_due(at(250)).expect("renews"));
        assert!(authority.head_ends().since(first) >= Millis::from_seconds(249 * 86_400));
        assert!(!authority.renew_if_due(at(250)).expect("looks"));
    }

    #[test]
    fn a_certificate_ends_at_the_moment_that_was_said_before_it_was_made() {
        let (_folder, authority) = authority();
        let key = KeyPair::generate().expect("a key");
        let request = key.certificate_request().expect("a request");
        let ends = authority.ends_after(Millis::from_seconds(5));
        assert_eq!(ends.0 % 1000, 0);
        let subject = Subject::Node(proto::ids::NodeId(1));
        let certificate = authority.issue(&request, &subject, ends).expect("issues");
        let validity = validity_of(&certificate).expect("is one");
        assert_eq!(clock::timestamp(validity.not_after), ends);
        let never = authority.ends_after(Millis(u64::MAX));
        assert_eq!(never, clock::timestamp(authority.authority.not_after()));
    }
}
