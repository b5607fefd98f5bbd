//! Pairs of a fence on the wire: conversion between `pmi` and `proto`, and the bound of one fence.

use pmi::kvs::Pair;
use proto::frame::MAX_FRAME_BYTES;
use proto::launch::KeyValue;

/// The most bytes that one fence may carry, measured as they are encoded. The whole union must fit into one frame;
/// at some 200 bytes per rank that is beyond 60,000 ranks.
pub(crate) const MAX_FENCE_BYTES: usize = MAX_FRAME_BYTES - 64 * 1024;

/// Pairs as they are sent.
pub(crate) fn to_wire(pairs: Vec<Pair>) -> Vec<KeyValue> {
    pairs.into_iter().map(|(key, value)| KeyValue { key, value }).collect()
}

/// Pairs as the server takes them.
pub(crate) fn from_wire(pairs: Vec<KeyValue>) -> Vec<Pair> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

/// An upper bound of the encoded size.
pub(crate) fn wire_bytes(pairs: &[KeyValue]) -> usize {
    // A map of two fields: its head, two field names, two string heads of at most 5 bytes.
    const OVERHEAD: usize = 24;
    pairs
        .iter()
        .map(|pair| pair.key.len() + pair.value.len() + OVERHEAD)
        .sum()
}
