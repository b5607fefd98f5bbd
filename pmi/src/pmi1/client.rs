//! The client's side of PMI-1: requests to lines, reply lines to values. For our own ranks (`mpipingpong`) and for tests.
//!
//! Calling order: [`Request::Init`] first, [`Request::Finalize`] last; send one line, read one line, and only then send
//! the next. [`Request::Abort`] has no answer: the launcher ends the process. There is no socket here; whoever reads uses
//! [`super::parse::Lines`] to cut the stream.

use super::parse::{Line, ParseError};
use crate::limits::{MAX_KEY_BYTES, MAX_KVSNAME_BYTES, MAX_VALUE_BYTES};

/// What a rank asks of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Opens the conversation with version 1.1.
    Init,
    /// Asks for the limits of names, keys and values.
    GetMaxes,
    /// Asks for the section of the command line that this program stands in.
    GetAppnum,
    /// Asks for the name of the launch's key-value space.
    GetMyKvsname,
    /// Asks how many ranks the launch may ever have.
    GetUniverseSize,
    /// Publishes a value; others see it after the next barrier.
    Put {
        /// The space, as told by [`Reply::MyKvsname`].
        kvsname: String,
        /// The key: no space, no newline, no `=`.
        key: String,
        /// The value: no space, no newline.
        value: String,
    },
    /// Waits for all ranks of the launch.
    Barrier,
    /// Reads what was put before the last barrier.
    Get {
        /// The space, as told by [`Reply::MyKvsname`].
        kvsname: String,
        /// The key.
        key: String,
    },
    /// Ends the conversation; the rank then closes its socket.
    Finalize,
    /// Ends the whole launch with this exit code. No reply comes.
    Abort {
        /// The exit code; the launcher keeps 8 bits and makes 0 a 1.
        code: i32,
    },
}

/// Why a request cannot be written as a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The protocol has no escapes, so these characters cannot be sent.
    #[error("the {field} '{text}' holds a space, a newline or nothing, which PMI-1 cannot carry")]
    Unsendable {
        /// Which part of the request.
        field: &'static str,
        /// Its text.
        text: String,
    },
    /// Longer than the server takes.
    #[error("the {field} has {bytes} bytes, the bound is {limit}")]
    TooLong {
        /// Which part of the request.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The bound, from [`crate::limits`].
        limit: usize,
    },
}

impl Request {
    /// The line to send, with its newline.
    ///
    /// # Errors
    /// [`LineError`] when a name, key or value cannot be carried by the protocol.
    pub fn line(&self) -> Result<String, LineError> {
        let line = match self {
            Self::Init => "cmd=init pmi_version=1 pmi_subversion=1\n".to_owned(),
            Self::GetMaxes => "cmd=get_maxes\n".to_owned(),
            Self::GetAppnum => "cmd=get_appnum\n".to_owned(),
            Self::GetMyKvsname => "cmd=get_my_kvsname\n".to_owned(),
            Self::GetUniverseSize => "cmd=get_universe_size\n".to_owned(),
            Self::Put { kvsname, key, value } => {
                check("name of the space", kvsname, MAX_KVSNAME_BYTES)?;
                check("key", key, MAX_KEY_BYTES)?;
                check("value", value, MAX_VALUE_BYTES)?;
                format!("cmd=put kvsname={kvsname} key={key} value={value}\n")
            }
            Self::Barrier => "cmd=barrier_in\n".to_owned(),
            Self::Get { kvsname, key } => {
                check("name of the space", kvsname, MAX_KVSNAME_BYTES)?;
                check("key", key, MAX_KEY_BYTES)?;
                format!("cmd=get kvsname={kvsname} key={key}\n")
            }
            Self::Finalize => "cmd=finalize\n".to_owned(),
            Self::Abort { code } => format!("cmd=abort exitcode={code}\n"),
        };
        Ok(line)
    }
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Init`]: the version that is spoken from here on.
    Init {
        /// Major version, 1.
        version: u32,
        /// Minor version.
        subversion: u32,
    },
    /// To [`Request::GetMaxes`], in bytes.
    Maxes {
        /// Longest name of a space.
        kvsname: usize,
        /// Longest key.
        key: usize,
        /// Longest value.
        value: usize,
    },
    /// To [`Request::GetAppnum`].
    Appnum(i32),
    /// To [`Request::GetMyKvsname`].
    MyKvsname(String),
    /// To [`Request::GetUniverseSize`]; absent when the launcher does not know.
    UniverseSize(Option<u32>),
    /// To [`Request::Put`].
    Put,
    /// To [`Request::Barrier`]: everyone was there.
    BarrierOut,
    /// To [`Request::Get`].
    Value(String),
    /// To [`Request::Finalize`].
    Finalized,
    /// The server refused; the command is the reply's, such as `get_result`.
    Refused {
        /// Which reply carried the refusal.
        command: String,
        /// The server's reason, one word.
        message: String,
    },
}

impl Reply {
    /// Reads one line, with or without its newline.
    ///
    /// # Errors
    /// [`ParseError`] when the line is no reply of PMI-1.
    pub fn parse(line: &str) -> Result<Self, ParseError> {
        let line = Line::parse(line)?;
        let command = line.command();
        if line.field("rc").is_some_and(|rc| rc != "0") {
            let message = line.field("msg").unwrap_or("no reason given").to_owned();
            return Ok(Self::Refused {
                command: command.to_owned(),
                message,
            });
        }
        match command {
            "response_to_init" => Ok(Self::Init {
                version: line.number("pmi_version")?,
                subversion: line.number("pmi_subversion")?,
            }),
            "maxes" => Ok(Self::Maxes {
                kvsname: line.number("kvsname_max")?,
                key: line.number("keylen_max")?,
                value: line.number("vallen_max")?,
            }),
            "appnum" => Ok(Self::Appnum(line.number("appnum")?)),
            "my_kvsname" => Ok(Self::MyKvsname(line.required("kvsname")?.to_owned())),
            "universe_size" => Ok(Self::UniverseSize(u32::try_from(line.number::<i64>("size")?).ok())),
            "put_result" => Ok(Self::Put),
            "barrier_out" => Ok(Self::BarrierOut),
            "get_result" => Ok(Self::Value(line.required("value")?.to_owned())),
            "finalize_ack" => Ok(Self::Finalized),
            other => Err(ParseError::UnknownCommand {
                command: other.to_owned(),
            }),
        }
    }
}

fn check(field: &'static str, text: &str, limit: usize) -> Result<(), LineError> {
    if text.len() > limit {
        return Err(LineError::TooLong {
            field,
            bytes: text.len(),
            limit,
        });
    }
    let breaks_key = field == "key" && text.contains('=');
    let empty = text.is_empty() && field != "value";
    if empty || breaks_key || text.contains([' ', '\n', '\r', '\0']) {
        return Err(LineError::Unsendable {
            field,
            text: text.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_hydra_and_ours_are_read() {
        let read = |line: &str| Reply::parse(line).expect("a reply");
        assert_eq!(
            read("cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1\n"),
            Reply::Init {
                version: 1,
                subversion: 1
            }
        );
        assert_eq!(
            read("cmd=maxes rc=0 kvsname_max=256 keylen_max=64 vallen_max=1024"),
            Reply::Maxes {
                kvsname: 256,
                key: 64,
                value: 1024
            }
        );
        assert_eq!(
            read("cmd=get_result rc=0 msg=success value=a=b"),
            Reply::Value("a=b".into())
        );
        assert_eq!(read("cmd=barrier_out"), Reply::BarrierOut);
        assert_eq!(read("cmd=universe_size rc=0 size=-1"), Reply::UniverseSize(None));
        assert_eq!(
            read("cmd=get_result rc=-1 msg=key_x_not_found value=unknown"),
            Reply::Refused {
                command: "get_result".into(),
                message: "key_x_not_found".into()
            }
        );
        assert!(Reply::parse("cmd=dance").is_err());
        assert!(Reply::parse("cmd=maxes kvsname_max=x").is_err());
    }

    #[test]
    fn what_the_protocol_cannot_carry_is_refused_before_it_is_sent() {
        let put = |key: &str, value: &str| Request::Put {
            kvsname: "k".into(),
            key: key.into(),
            value: value.into(),
        };
        assert_eq!(
            put("a", "b=c").line().expect("a line"),
            "cmd=put kvsname=k key=a value=b=c\n"
        );
        assert!(matches!(
            put("a b", "c").line(),
            Err(LineError::Unsendable { field: "key", .. })
        ));
        assert!(matches!(
            put("a", "b\nc").line(),
            Err(LineError::Unsendable { field: "value", .. })
        ));
        let long = "v".repeat(MAX_VALUE_BYTES + 1);
        assert!(matches!(
            put("a", &long).line(),
            Err(LineError::TooLong {
                limit: MAX_VALUE_BYTES,
                ..
            })
        ));
    }
}
