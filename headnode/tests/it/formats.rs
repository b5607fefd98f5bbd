//! Rows of every format that was ever written are read: `stored/format-N.txt` holds them as the build of that format wrote
//! them, a name and the body of the envelope on each line, bytes that are no text escaped. The files are never recorded anew;
//! a new format adds one, from the golden file of `proto`.

use proto::stored::{FORMAT, Row, StoredError, decode, encode};

const FORMATS: [(u8, &str); 4] = [
    (1, include_str!("stored/format-1.txt")),
    (2, include_str!("stored/format-2.txt")),
    (3, include_str!("stored/format-3.txt")),
    (4, include_str!("stored/format-4.txt")),
];

/// The other direction of `escape_ascii`.
fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().expect("an escape goes on") {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.expect("two digits"));
                let digits = std::str::from_utf8(&digits).expect("digits");
                u8::from_str_radix(digits, 16).expect("hexadecimal")
            }
            plain => plain,
        });
    }
    bytes
}

/// `{v: format, row: ...}`
fn enveloped(format: u8, body: &str) -> Vec<u8> {
    [&b"\x82\xa1v"[..], &[format], b"\xa3row", &unescaped(body)].concat()
}

#[test]
fn rows_of_all_formats_are_read_and_written_as_todays() {
    for (format, text) in FORMATS {
        assert!(
            text.lines().count() >= 9,
            "format {format} had nine kinds of rows at least"
        );
        for line in text.lines() {
            let (name, body) = line.split_once(' ').expect("a name and a body");
            let row =
                decode(&enveloped(format, body)).unwrap_or_else(|error| panic!("{name} of format {format}: {error}"));
            let again = decode(&encode(&row).expect("encodes")).expect("decodes");
            assert_eq!(again, row, "{name} of format {format}");
            if let Row::Meta(meta) = row {
                assert_eq!(meta.format, u32::from(format), "the fixture is of that format");
            }
        }
    }
    assert_eq!(
        FORMATS.last().map(|(format, _)| u32::from(*format)),
        Some(FORMAT),
        "add today's format"
    );
}

#[test]
fn rows_of_a_newer_format_are_refused() {
    let next = u8::try_from(FORMAT + 1).expect("a small number");
    let (_, meta) = FORMATS[3]
        .1
        .lines()
        .find_map(|line| line.split_once(' ').filter(|(name, _)| *name == "row.meta"))
        .expect("a row");
    assert!(matches!(decode(&enveloped(next, meta)), Err(StoredError::Newer { found }) if found == FORMAT + 1));
}
