//! PMI-1: one line per command, `key=value` words separated by spaces, the first key is `cmd`.
//!
//! The flow of one rank, over the inherited socket named by `PMI_FD`:
//!
//! ```text
//! rank                                     server
//! cmd=init pmi_version=1 pmi_subversion=1  cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1
//! cmd=get_maxes                            cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024
//! cmd=get_my_kvsname                       cmd=my_kvsname rc=0 kvsname=NAME
//! cmd=put kvsname=NAME key=K value=V       cmd=put_result rc=0 msg=success
//! cmd=barrier_in                           cmd=barrier_out rc=0          (when all ranks of the launch are in)
//! cmd=get kvsname=NAME key=K               cmd=get_result rc=0 msg=success value=V
//! cmd=finalize                             cmd=finalize_ack rc=0
//! ```
//!
//! A client has one request under way and blocks until its answer, so a server must answer everything it can read.

pub mod client;
pub mod parse;
pub mod server;
