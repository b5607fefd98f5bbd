//! pmi.
