//! What the agent and the session of a task say to each other on its socket `input`. No IO.
//!
//! Agent to session: one byte of kind, four bytes of length with the low byte first, the content. The session answers
//! each with one byte, when it was written to where the program reads; only then comes the next. Both are of the same
//! program, but a session lives as long as its task: kinds are added, never changed.

use proto::control::Input;

/// The most bytes of one input.
pub(crate) const MAX_INPUT_BYTES: usize = 64 * 1024;

/// Bytes before the content.
pub(crate) const HEADER_BYTES: usize = 5;

/// It was written.
pub(crate) const TAKEN: u8 = b'k';

/// The program reads no more.
pub(crate) const CLOSED: u8 = b'c';

const BYTES: u8 = b'i';
const SIZE: u8 = b's';
const END: u8 = b'e';

/// What came is none of the above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an input of a task")]
pub(crate) struct NoInput;

/// One input as it travels; the caller has bounded it.
pub(crate) fn encode(input: &Input) -> Vec<u8> {
    let (kind, content) = match input {
        Input::Bytes { bytes } => (BYTES, bytes.clone()),
        Input::Size { rows, columns } => (SIZE, [rows.to_le_bytes(), columns.to_le_bytes()].concat()),
        Input::End => (END, Vec::new()),
    };
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&[kind][..], &length.to_le_bytes(), &content].concat()
}

/// Takes one whole input from the beginning of `buffer`; none when more of it has to come.
pub(crate) fn take(buffer: &mut Vec<u8>) -> Result<Option<Input>, NoInput> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let [kind, length @ ..] = *header;
    let end = HEADER_BYTES + u32::from_le_bytes(length) as usize;
    if end > HEADER_BYTES + MAX_INPUT_BYTES {
        return Err(NoInput);
    }
    let Some(content) = buffer.get(HEADER_BYTES..end) else {
        return Ok(None);
    };
    let input = match (kind, content) {
        (BYTES, bytes) => Input::Bytes { bytes: bytes.to_vec() },
        (SIZE, [row, rows, column, columns]) => Input::Size {
            rows: u16::from_le_bytes([*row, *rows]),
            columns: u16::from_le_bytes([*column, *columns]),
        },
        (END, []) => Input::End,
        _ => return Err(NoInput),
    };
    buffer.drain(..end);
    Ok(Some(input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_arrive_as_they_were_sent_whole() {
        let inputs = [
            Input::Bytes {
                bytes: b"hi\n".to_vec(),
            },
            Input::Size { rows: 50, columns: 300 },
            Input::End,
        ];
        let mut buffer = Vec::new();
        for byte in inputs.iter().flat_map(encode) {
            assert!(buffer.len() < 64);
            buffer.push(byte);
        }
        for input in inputs {
            assert_eq!(take(&mut buffer), Ok(Some(input)));
        }
        assert_eq!(take(&mut buffer), Ok(None));
        buffer.extend([b'i', 9, 0, 0, 0, b'x']);
        assert_eq!(take(&mut buffer), Ok(None));
        assert_eq!(take(&mut vec![b'x', 0, 0, 0, 0]), Err(NoInput));
        assert_eq!(take(&mut vec![b'i', 0, 0, 0, 1]), Err(NoInput));
    }
}
