//! computenode.
