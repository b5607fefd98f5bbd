//! Output of tasks as it comes, also across a restart of the head node: what was shown already is not shown again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use proto::client::{Output, OutputPart, Reply, Request};
use proto::control::{FollowFrom, Piece, TaskFile};
use proto::ids::{AttemptId, JobId, TaskId};

use super::Door;
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::{Live, Seen};

/// When nothing came for so long, what is there now is known, and its last lines are told.
const QUIET: Duration = Duration::from_millis(300);

/// What is followed.
#[derive(Debug, Clone)]
pub(super) struct Following {
    pub(super) job: JobId,
    /// Empty means all of the job.
    pub(super) tasks: Vec<TaskId>,
    pub(super) from: FollowFrom,
    /// Until they are over.
    pub(super) to_the_end: bool,
}

/// Shows output until it has ended, or nobody reads it any more.
pub(super) async fn follow(what: &Following, live: &RefCell<Live>, door: &Door) -> Result<Seen, CliError> {
    let mut shown = Shown::default();
    let mut client = door.connect().await?;
    loop {
        let error = match once(what, &mut shown, live, &mut client).await {
            Ok(seen) => return Ok(seen),
            Err(CliError::Client(error)) if error.is_passing() && what.to_the_end => error,
            Err(error) => return Err(error),
        };
        live.borrow_mut().waiting("the head node went away; waiting for it");
        client = door.reconnect(error).await?;
    }
}

/// Over one connection.
async fn once(
    what: &Following,
    shown: &mut Shown,
    live: &RefCell<Live>,
    client: &mut Client,
) -> Result<Seen, CliError> {
    let request = Request::Tail {
        job: what.job,
        tasks: what.tasks.clone(),
        from: shown.from(what),
        follow: what.to_the_end,
    };
    client.open(&request).await?;
    loop {
        let held_back = live.borrow().is_held_back();
        let next = match held_back && what.to_the_end {
            true => match tokio::time::timeout(QUIET, client.next()).await {
                Ok(next) => next,
                Err(_) => {
                    live.borrow_mut().release().map_err(CliError::Output)?;
                    continue;
                }
            },
            false => client.next().await,
        };
        let seen = match next? {
            Reply::Output(output) => match shown.fresh(*output) {
                Some(output) => live.borrow_mut().take(&output).map_err(CliError::Output)?,
                None => Seen::Yes,
            },
            Reply::Done { .. } => return live.borrow_mut().finish().map_err(CliError::Output),
            _ => return Err(ClientError::Unexpected { asked: "task tail" }.into()),
        };
        if seen == Seen::No {
            return Ok(Seen::No);
        }
    }
}

/// How far each file was shown.
#[derive(Debug, Default)]
struct Shown {
    /// The try, the bytes of its output and of its error output.
    files: BTreeMap<(TaskId, AttemptId), (u64, u64)>,
}

impl Shown {
    /// Where to begin again.
    fn from(&self, what: &Following) -> FollowFrom {
        let newest = self.files.iter().next_back();
        match (newest, what.tasks.as_slice()) {
            (None, _) => what.from,
            // One task's newest try goes on where it was; the head node takes no such place for several.
            (Some(((task, _), (stdout, stderr))), [asked]) if task == asked => FollowFrom::At {
                stdout: *stdout,
                stderr: *stderr,
            },
            (Some(_), _) => FollowFrom::Start,
        }
    }

    /// What of an output was not shown before.
    fn fresh(&mut self, mut output: Output) -> Option<Output> {
        let OutputPart::Piece(Piece {
            file, offset, bytes, ..
        }) = &mut output.part
        else {
            return Some(output);
        };
        let (stdout, stderr) = self.files.entry((output.task, output.attempt)).or_default();
        let end = match file {
            TaskFile::Stdout => stdout,
            TaskFile::Stderr => stderr,
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let known = usize::try_from(end.saturating_sub(*offset)).unwrap_or(usize::MAX);
        *end = (*end).max(offset.saturating_add(length));
        if known >= bytes.len() {
            return None;
        }
        bytes.drain(..known);
        *offset += u64::try_from(known).unwrap_or(u64::MAX);
        Some(output)
    }
}

#[cfg(test)]
mod tests {
    use proto::ids::NodeName;

    use super::*;

    fn piece(offset: u64, text: &str) -> Output {
        Output {
            task: "3.1".parse().expect("an id"),
            attempt: AttemptId(1),
            node: NodeName::new("n").expect("a name"),
            part: OutputPart::Piece(Piece {
                file: TaskFile::Stdout,
                offset,
                bytes: text.as_bytes().to_vec(),
                rank: None,
                on: None,
            }),
        }
    }

    fn text(output: Option<Output>) -> Option<String> {
        match output?.part {
            OutputPart::Piece(piece) => String::from_utf8(piece.bytes).ok(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_shown_twice() {
        let what = Following {
            job: JobId(3),
            tasks: vec!["3.1".parse().expect("an id")],
            from: FollowFrom::Last { bytes: 10 },
            to_the_end: true,
        };
        let mut shown = Shown::default();
        assert_eq!(shown.from(&what), FollowFrom::Last { bytes: 10 });
        assert_eq!(text(shown.fresh(piece(90, "abcdef"))).as_deref(), Some("abcdef"));
        assert_eq!(shown.from(&what), FollowFrom::At { stdout: 96, stderr: 0 });
        assert_eq!(text(shown.fresh(piece(90, "abcdef"))), None);
        assert_eq!(text(shown.fresh(piece(92, "cdefgh"))).as_deref(), Some("gh"));
        assert_eq!(text(shown.fresh(piece(98, "i"))).as_deref(), Some("i"));
        let all = Following { tasks: vec![], ..what };
        assert_eq!(shown.from(&all), FollowFrom::Start);
    }
}
