//! The QUIC settings of rank links, each with the measurement behind it.
//!
//! Measured on loopback of a two-core machine; bytes per packet and socket buffers decide throughput, everything else
//! is within a few per cent. Never set here: `min_mtu` (above 16383 quinn panics) and a larger `initial_mtu` (with the
//! default initial window it never sends a byte); MTU discovery gets there by itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::socket;

/// How much unread data a peer may have on its way to us, per pair.
const RECEIVE_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// How much of ours may be unacknowledged, per pair. Half of a socket buffer, so that a burst can't overflow the
/// receiver's even when it does not look for a while.
const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// First guess of the round trip; the default of 333 ms would make the first lost packet cost a second.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(10);

/// Settings of the endpoint: take packets as large as UDP carries.
pub(super) fn endpoint() -> Arc<EndpointConfig> {
    let mut config = EndpointConfig::default();
    // 65527 is the protocol's own maximum, so this cannot be refused; were it, the default of 1472 still works.
    if config.max_udp_payload_size(65_527).is_err() {
        tracing::warn!("large packets were refused by the QUIC settings; rank links will be slow");
    }
    Arc::new(config)
}

/// Settings of each connection, for ranks that publish this address.
pub(super) fn transport(local: IpAddr) -> Arc<TransportConfig> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(socket::payload_bound_bytes(local));
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        // A rank that computes says nothing; whether that is too long is decided by who waits for it.
        .max_idle_timeout(None)
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .send_fairness(false)
        .initial_rtt(INITIAL_ROUND_TRIP)
        .mtu_discovery_config(Some(discovery));
    Arc::new(config)
}
