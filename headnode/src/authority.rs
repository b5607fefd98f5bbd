//! The cluster's certificate authority and the head node's own certificate, in one folder that only its owner reads.
//!
//! The first start makes both, and the secret that allocations' authorities are derived from.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use proto::control::{AllocationAuthority, HeadMessage, Order};
use transport::control::{Listener, Settings};
use transport::identity::{
    AllocationSecret, Alpn, Authority, CertificateDer, ClientCertificate, Fingerprint, Identity, KeyPair, RequestDer,
    ServerTls, Subject,
};

/// Of the cluster's authority: a new one means that every node joins anew, so it is long.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);

/// Of the head's and the nodes' certificates.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// The cluster's authority and the head's own identity.
#[derive(Debug)]
pub struct ClusterAuthority {
    authority: Authority,
    head: Identity,
    allocations: AllocationSecret,
}

impl ClusterAuthority {
    /// Reads the folder, or fills it at the first start.
    ///
    /// # Errors
    /// Names the file that cannot be read or written.
    pub fn open(dir: &Path, cluster: &str) -> anyhow::Result<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("the folder {} cannot be made", dir.display()))?;
        let now = SystemTime::now();
        let authority = match Authority::load(dir) {
            Err(error) if error.is_missing() => {
                let authority = Authority::create(&format!("Muster {cluster}"), now, AUTHORITY_LIFETIME)?;
                authority.save(dir)?;
                tracing::info!(fingerprint = %authority.fingerprint(), "first start: made the cluster's authority");
                authority
            }
            other => other?,
        };
        // A fresh certificate at each start: nobody pins it, nodes pin the authority.
        let key = KeyPair::generate()?;
        let certificate = authority.issue(&key.certificate_request()?, &Subject::Head, now, CERTIFICATE_LIFETIME)?;
        let head = Identity::new(key, certificate, authority.certificate().clone())?;
        let allocations = AllocationSecret::open(&dir.join("allocations.secret"))?;
        Ok(Self {
            authority,
            head,
            allocations,
        })
    }

    /// Opens the port where nodes dial in. A peer without a certificate may only join.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn listen(&self, address: SocketAddr, idle: Duration) -> anyhow::Result<Listener> {
        let tls = ServerTls::new(&self.head, ClientCertificate::Optional, Alpn::Head)?;
        let settings = Settings::default().with_idle_timeout(idle);
        let secret = self.allocations.key_for("connections of the head node");
        Ok(Listener::bind_restarting(address, &tls, settings, &secret)?)
    }

    /// A certificate for whoever holds the key that signed the request.
    ///
    /// # Errors
    /// When the request is damaged or not signed by its own key.
    pub fn issue(&self, request: &RequestDer<'_>, subject: &Subject) -> anyhow::Result<CertificateDer<'static>> {
        Ok(self
            .authority
            .issue(request, subject, SystemTime::now(), CERTIFICATE_LIFETIME)?)
    }

    /// Whether a request could be granted.
    ///
    /// # Errors
    /// When it is damaged or not signed by its own key.
    pub fn check(&self, request: &RequestDer<'_>) -> anyhow::Result<()> {
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

    /// Fills in what launches need, just before starts leave for their node.
    pub fn fill_in(&self, message: &mut HeadMessage) {
        let HeadMessage::Orders { orders } = message else {
            return;
        };
        for order in orders {
            if let Order::Start(start) = order {
                let seed = self.allocations.seed(start.attempt).to_vec();
                start.authority = Some(AllocationAuthority { seed });
            }
        }
    }
}
