//! mpi-launcher.
