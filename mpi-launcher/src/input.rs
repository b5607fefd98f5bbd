//! mpiexec's standard input, read for rank 0 by a thread of its own.
//!
//! Reading blocks for as long as nobody types, and no read can be called back; so a thread does it, which the end of the
//! process takes along. One piece waits at most: mpiexec asks for the next when rank 0 took the last.

use std::io::{self, Read};
use std::thread;

use proto::launch::MAX_OUTPUT_BYTES;
use tokio::sync::mpsc;

/// Starts reading. An empty piece is the end of the input.
pub(crate) fn start() -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (pieces, waiting) = mpsc::channel(1);
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || read_all(&mut io::stdin(), &pieces))?;
    Ok(waiting)
}

fn read_all(stdin: &mut dyn Read, pieces: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; MAX_OUTPUT_BYTES];
    loop {
        // An input that cannot be read, such as a closed one, is at its end.
        let count = match stdin.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.unwrap_or(0),
        };
        if pieces.blocking_send(buffer[..count].to_vec()).is_err() || count == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_an_empty_piece() {
        let (pieces, mut waiting) = mpsc::channel(4);
        read_all(&mut b"hello".as_slice(), &pieces);
        assert_eq!(waiting.try_recv().expect("input"), b"hello");
        assert_eq!(waiting.try_recv().expect("the end"), b"");
    }
}
