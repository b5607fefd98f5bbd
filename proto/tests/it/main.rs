//! Golden bytes: every message and stored row as it is written today. A change here is a visible act: an old peer or an
//! old store must still be understood. `RECORD=1 cargo test -p proto` writes the file anew.

mod samples;

use std::fmt::Write as _;

use proto::frame;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One line of the golden file: a name and the body, bytes that are no text escaped.
struct Line {
    name: &'static str,
    body: String,
}

fn line<T>(name: &'static str, message: &T) -> Line
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes).expect("encodes");
    let body = &bytes[frame::HEADER_BYTES..];
    assert_eq!(frame::decode::<T>(body).expect("decodes"), *message, "{name}");
    Line {
        name,
        body: body.escape_ascii().to_string(),
    }
}

#[test]
fn messages_and_rows_are_written_as_ever() {
    let mut text = String::new();
    for Line { name, body } in samples::all() {
        writeln!(text, "{name} {body}").expect("a string takes all");
    }
    if std::env::var_os("RECORD").is_some() {
        record(&text);
        return;
    }
    let golden = include_str!("golden.txt");
    for (now, then) in text.lines().zip(golden.lines()) {
        assert_eq!(
            now, then,
            "bytes changed; if old peers and stores still work, record them anew with RECORD=1"
        );
    }
    assert_eq!(
        text.lines().count(),
        golden.lines().count(),
        "messages came or went; RECORD=1 records them"
    );
}

#[expect(clippy::disallowed_methods, reason = "recording is the one thing that writes here")]
fn record(text: &str) {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden.txt"), text).expect("writes");
}
