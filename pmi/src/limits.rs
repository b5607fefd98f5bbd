//! Bounds of PMI-1, each with the reason for its number.

/// Longest name of a key-value space, in bytes, as announced by `maxes`. MPICH's own servers announce the same.
pub const MAX_KVSNAME_BYTES: usize = 256;

/// Longest key, in bytes, as announced by `maxes`.
pub const MAX_KEY_BYTES: usize = 64;

/// Longest value, in bytes, as announced by `maxes`.
///
/// A client of MPICH 4.0 lowers it to 674 by itself, because its whole `put` line must fit in 1024 bytes, and asserts
/// when the remainder is below 256; with smaller figures here, addresses of UCX would be cut into segments.
pub const MAX_VALUE_BYTES: usize = 1024;

/// Longest line that a server reads, in bytes without the newline. A `put` with all three maxima needs 1373; the rest is
/// room for clients that send more fields than we know, such as the arguments of `spawn`.
pub const MAX_LINE_BYTES: usize = 8 * 1024;

/// Longest line of a reply that a client may get, in bytes with the newline: MPICH reads into a buffer of this size.
pub const MAX_REPLY_BYTES: usize = 1024;

/// All keys and values of one launch on one node, in bytes. A rank puts some hundred bytes, so this is beyond
/// 100,000 ranks; what asks for more is a program that abuses the space as a store.
pub const MAX_KVS_BYTES: usize = 64 * 1024 * 1024;
