//! What a batch does to rows, as bytes: the one form in which the journal and exports keep it.
//!
//! It knows keys and values and not what they mean, so that a journal can be played back by any build that reads the rows.
//! Reading must never panic and never make room for more than what is there: the bytes may be damaged.
//!
//! ```text
//!   operation = kind (1 put, 2 delete, 3 delete all under a prefix), length of the key (u16), key,
//!               of a put: length of the value (u32), value           numbers little-endian
//! ```

use proto::stored::{self, Change, StoredError};

use super::live;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_PREFIX: u8 = 3;

/// One thing that happens to rows. Doing it twice is doing it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// The value of a key, whole.
    Put { key: Vec<u8>, value: Vec<u8> },
    /// A key is taken away.
    Delete { key: Vec<u8> },
    /// All keys that begin so are taken away.
    DeletePrefix { prefix: Vec<u8> },
}

/// The operations of changes, in order.
///
/// # Errors
/// [`StoredError::Encode`], a bug of ours.
pub(super) fn operations(changes: &[Change]) -> Result<Vec<Operation>, StoredError> {
    let mut operations = Vec::with_capacity(changes.len());
    for change in changes {
        operations.extend(live::operation(change));
        match change {
            Change::Put(row) => operations.push(Operation::Put {
                key: row.key().bytes(),
                value: stored::encode(row)?,
            }),
            Change::Delete(key) => operations.push(Operation::Delete { key: key.bytes() }),
            Change::DeleteJob(job) => {
                let prefixes = super::of_job(*job).into_iter();
                operations.extend(prefixes.map(|prefix| Operation::DeletePrefix { prefix }));
            }
        }
    }
    Ok(operations)
}

/// The bytes of operations.
pub(super) fn encode(operations: &[Operation]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for operation in operations {
        match operation {
            Operation::Put { key, value } => {
                put_key(&mut bytes, PUT, key);
                bytes.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend(value);
            }
            Operation::Delete { key } => put_key(&mut bytes, DELETE, key),
            Operation::DeletePrefix { prefix } => put_key(&mut bytes, DELETE_PREFIX, prefix),
        }
    }
    bytes
}

/// Keys are some bytes and a name of at most 64; rows are bounded far below 4 GiB by the scheduler.
fn put_key(bytes: &mut Vec<u8>, kind: u8, key: &[u8]) {
    bytes.push(kind);
    bytes.extend(u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(key);
}

/// The operations of bytes; none when they are not what [`encode`] writes.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Operation>> {
    let mut operations = Vec::new();
    while let Some((kind, rest)) = bytes.split_first() {
        bytes = rest;
        let length = u16::from_le_bytes(take(&mut bytes, 2)?.try_into().ok()?);
        let key = take(&mut bytes, usize::from(length))?.to_vec();
        operations.push(match *kind {
            PUT => {
                let length = u32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?);
                let value = take(&mut bytes, usize::try_from(length).ok()?)?.to_vec();
                Operation::Put { key, value }
            }
            DELETE => Operation::Delete { key },
            DELETE_PREFIX => Operation::DeletePrefix { prefix: key },
            _ => return None,
        });
    }
    Some(operations)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_read_what_they_write() {
        let operations = [
            Operation::Put {
                key: b"j/1".to_vec(),
                value: vec![0; 300],
            },
            Operation::Delete { key: Vec::new() },
            Operation::DeletePrefix { prefix: b"t/".to_vec() },
        ];
        let bytes = encode(&operations);
        assert_eq!(decode(&bytes).as_deref(), Some(&operations[..]));
        for cut in 1..5 {
            assert_eq!(decode(&bytes[..bytes.len() - cut]), None, "cut by {cut}");
        }
        assert_eq!(decode(&[9, 0, 0]), None);
    }
}
