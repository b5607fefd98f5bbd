//! The identity that a server shows, exchangeable while its listeners run.
//!
//! A head node runs for longer than its certificate is good; who is connected must not notice when it gets a new one.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

#[derive(Debug)]
pub(super) struct Shown {
    /// Guards the pointer for the length of one read or write.
    key: RwLock<Arc<CertifiedKey>>,
}

impl Shown {
    pub(super) const fn new(key: Arc<CertifiedKey>) -> Self {
        Self { key: RwLock::new(key) }
    }

    /// For handshakes that begin from now on.
    pub(super) fn replace(&self, key: Arc<CertifiedKey>) {
        // A thread that panicked with the lock has left a whole pointer.
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner)))
    }
}
