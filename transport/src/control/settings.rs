//! QUIC settings for control traffic, as measured: Cubic, segmentation offload, large socket buffers, larger packets only
//! where the path surely takes them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;

/// Streams that a peer may have open at once: the head node follows up to 256 outputs of one node, beside requests.
const MAX_STREAMS: u32 = 320;

/// The most unread bytes that a peer may make us keep for one stream; of this size are quinn's own windows.
const STREAM_WINDOW_BYTES: u32 = 1_250_000;

/// The same for all streams of a connection together. Without it the streams would add up to 400 MB for each peer.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Up to where packets are tried on loopback and jumbo networks. More would be worse: the system takes at most 64 KiB
/// from one segmented send, quinn makes ten segments of it, and a longer send is lost without an error.
const LARGE_PACKET_BYTES: u16 = 6500;

/// Above every packet size that is tried. Must be raised with it, or the peer may not send them.
const MAX_PAYLOAD_BYTES: u16 = 6600;

/// What differs between the places where control traffic is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A connection on which nothing was heard for so long is lost. Three heartbeats where there are heartbeats.
    pub idle_timeout: Duration,
    /// How often to say something when there is nothing to say; heartbeats make it superfluous.
    pub keep_alive: Option<Duration>,
    /// The network carries packets of 9000 bytes. Loopback is known without this.
    pub jumbo: bool,
    /// Connections that a listener has at once; more are refused.
    pub max_connections: usize,
}

impl Default for Settings {
    /// For heartbeats every 5 s and up to 4096 peers.
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(15),
            keep_alive: None,
            jumbo: false,
            max_connections: 4096,
        }
    }
}

impl Settings {
    /// These, with another idle time.
    #[must_use]
    pub const fn with_idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout, ..self }
    }

    /// These, with a packet at least so often.
    #[must_use]
    pub const fn with_keep_alive(self, interval: Duration) -> Self {
        Self {
            keep_alive: Some(interval),
            ..self
        }
    }

    /// For a connection with that peer.
    pub(super) fn transport_for(&self, peer: IpAddr) -> Arc<TransportConfig> {
        self.transport(self.jumbo || peer.to_canonical().is_loopback())
    }

    pub(super) fn transport(&self, large_packets: bool) -> Arc<TransportConfig> {
        let mut config = TransportConfig::default();
        let most_idle = IdleTimeout::try_from(self.idle_timeout).unwrap_or_else(|_| VarInt::MAX.into());
        config
            .max_idle_timeout(Some(most_idle))
            .keep_alive_interval(self.keep_alive)
            .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
            .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
            .datagram_receive_buffer_size(None);
        if large_packets {
            let mut discovery = MtuDiscoveryConfig::default();
            discovery.upper_bound(LARGE_PACKET_BYTES);
            config.mtu_discovery_config(Some(discovery));
        }
        Arc::new(config)
    }
}

/// For a socket, whatever its connections are.
pub(super) fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    if let Err(error) = config.max_udp_payload_size(MAX_PAYLOAD_BYTES) {
        // Only sizes under 1200 are refused.
        tracing::error!(%error, "large packets stay off");
    }
    config
}

/// For a socket whose next life is to recognise the connections of this one: they bear ids and reset tokens made with
/// keys derived from the secret.
pub(super) fn restarting_endpoint_config(secret: &[u8; 32]) -> EndpointConfig {
    let derive = |what: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        hmac::sign(&key, what)
    };
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, derive(b"stateless reset").as_ref());
    let mut id_key = [0; 8];
    id_key.copy_from_slice(&derive(b"connection ids").as_ref()[..8]);
    let id_key = u64::from_be_bytes(id_key);
    let mut config = endpoint_config();
    config
        .reset_key(Arc::new(reset_key))
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config
}
