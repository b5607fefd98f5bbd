//! headnode.
