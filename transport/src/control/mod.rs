//! Control traffic: framed messages on QUIC streams between machines, and on unix sockets within one.
//!
//! ```text
//!   Listener::bind -> accept -> Pending::complete --+
//!                                                   +--> Connection -> open_stream, accept_stream -> writer, reader
//!   Dialer::bind ------------> dial ----------------+
//! ```
//!
//! A [`Connection`] knows whom its peer proved to be. What that peer may say is for its owner to decide; nothing here
//! knows a message. With TLS 1.3 the dialling side is ready before the other side has looked at its certificate: a
//! refusal arrives with the first [`FrameReader::recv`] as [`StreamError::Lost`], or by [`Connection::closed`].
//!
//! Everything runs on the runtime of the caller, a current_thread one included, and nothing blocks it.

mod backoff;
mod connection;
mod dialer;
mod failure;
mod frames;
mod later;
mod listener;
mod settings;
mod socket;
#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use connection::{CloseCode, Connection, StreamReader, StreamWriter};
pub use dialer::{DialError, Dialer, dial};
pub use failure::{ConnectionFailure, StreamError};
pub use frames::{FrameReader, FrameWriter, split_socket};
pub use later::{LaterMessage, encode, later_message, spoken};
pub use listener::{AcceptError, Listener, Pending};
pub use settings::Settings;
