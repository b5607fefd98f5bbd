//! Ends of tasks' files, asked of the node that has them.

use std::time::Duration;

use proto::client::FileEnd;
use proto::control::{FileReply, FileRequest, MAX_PIECE_BYTES, NodeRequest, TaskFile};
use proto::ids::{AttemptId, NodeId, NodeName};
use proto::model::task::TaskRow;
use transport::control::Connection;

use crate::nodes::Links;

/// How long a node may take; the reader sees the rest of the task in any case.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a reply has beside its piece of the file.
const OVERHEAD_BYTES: usize = 4096;

/// Both files of the newest try; none when there was no try.
pub async fn ends(links: &Links, task: &TaskRow, names: &[(NodeId, NodeName)], bytes: u32) -> Vec<FileEnd> {
    let (Some(attempt), Some(node)) = (task.last_attempt, task.last_nodes.first()) else {
        return Vec::new();
    };
    let name = names
        .iter()
        .find(|(id, _)| id == node)
        .map_or_else(|| node.to_string(), |(_, name)| name.to_string());
    let connection = links.connection(*node);
    let mut ends = Vec::new();
    for file in [TaskFile::Stdout, TaskFile::Stderr] {
        let content = match &connection {
            None => missing(format!("node {name}, which has it, is not connected")),
            Some(connection) => end(connection, task, attempt, file, bytes, &name).await,
        };
        ends.push(FileEnd { file, attempt, content });
    }
    ends
}

async fn end(
    connection: &Connection,
    task: &TaskRow,
    attempt: AttemptId,
    file: TaskFile,
    bytes: u32,
    name: &str,
) -> FileReply {
    let most = u32::try_from(MAX_PIECE_BYTES).unwrap_or(u32::MAX);
    let request = FileRequest {
        job: task.id.job,
        attempt,
        file,
        last_bytes: bytes.min(most),
    };
    match tokio::time::timeout(DEADLINE, ask(connection, &request)).await {
        Ok(Ok(Some(reply))) => reply,
        Ok(Ok(None)) => missing(format!("node {name} did not answer")),
        Ok(Err(error)) => missing(format!("node {name}: {error:#}")),
        Err(_) => missing(format!("node {name} did not answer within {} s", DEADLINE.as_secs())),
    }
}

async fn ask(connection: &Connection, request: &FileRequest) -> anyhow::Result<Option<FileReply>> {
    let (mut to, mut from) = connection.open_stream().await?;
    from.set_limit(MAX_PIECE_BYTES + OVERHEAD_BYTES);
    to.send(&NodeRequest::File(request.clone())).await?;
    Ok(from.recv().await?)
}

fn missing(reason: String) -> FileReply {
    FileReply::Missing { reason }
}
