//! Scripts that `job submit` carries to the node: which words name one, and the options in its `#MUSTER` lines.
//!
//! ```text
//!   #!/bin/sh
//!   #MUSTER /numnodes:4 --runtime 30m       options as on the command line, which wins
//!   mpiexec -c 1 ./solver                   the first line that is no comment ends them
//! ```
//!
//! A program is never carried: only a text that begins with `#!` or has such lines. Where there is neither, the word is a
//! program that the nodes have.

use std::io::Read;
use std::path::Path;

use proto::model::task::MAX_SCRIPT_BYTES;

/// What begins a line of options.
const MARK: &str = "#MUSTER";

/// What begins such lines elsewhere.
const FOREIGN: [&str; 3] = ["#SBATCH", "#PBS", "#BSUB"];

/// A text that is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// As it will be started: with a first line that names its interpreter.
    pub text: String,
    /// The words of its lines of options, each with the number of its line.
    pub directives: Vec<(usize, Vec<String>)>,
    /// Numbers of such lines below the first command, which say nothing.
    pub late: Vec<usize>,
    /// The first line of options of another scheduler: its number and its mark.
    pub foreign: Option<(usize, &'static str)>,
    /// Whether its lines ended as on Windows; they do no more.
    pub windows: bool,
}

/// Why a text that is a script cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Too long.
    #[error(
        "the script {name} is longer than {MAX_SCRIPT_BYTES} bytes and cannot be sent along; put it where the nodes see \
         it and submit 'sh /shared/{name}'"
    )]
    TooLong {
        /// The word.
        name: String,
    },
    /// A quote without its end.
    #[error("{name}, line {line}: a quote has no end")]
    Quote {
        /// The word.
        name: String,
        /// Which line, from 1.
        line: usize,
    },
}

/// Reads the file that a word names, if it is a script.
///
/// # Errors
/// When it is one and cannot be carried. A file that is none, or that cannot be read, is no script.
pub fn read(word: &str) -> Result<Option<Script>, ScriptError> {
    let path = Path::new(word);
    // A pipe or device would never end.
    if !path.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let Ok(file) = std::fs::File::open(path) else {
        return Ok(None);
    };
    let most = u64::try_from(MAX_SCRIPT_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    if file.take(most + 1).read_to_end(&mut bytes).is_err() {
        return Ok(None);
    }
    of_bytes(word, &bytes)
}

/// The script that the bytes of a file are, if they are one.
fn of_bytes(name: &str, bytes: &[u8]) -> Result<Option<Script>, ScriptError> {
    let too_long = bytes.len() > MAX_SCRIPT_BYTES;
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // The cut may go through a character.
        Err(error) if too_long && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Ok(None),
    };
    let marked = valid.lines().any(|line| directive(line).is_some());
    if valid.contains('\0') || !(valid.starts_with("#!") || marked) {
        return Ok(None);
    }
    if too_long {
        return Err(ScriptError::TooLong { name: name.to_owned() });
    }
    // The kernel would look for an interpreter whose name ends with a carriage return.
    let windows = valid.contains("\r\n") && valid.split('\n').all(|line| line.is_empty() || line.ends_with('\r'));
    let text = if windows {
        valid.replace("\r\n", "\n")
    } else {
        valid.to_owned()
    };
    let foreign = (1..).zip(valid.lines()).find_map(|(number, line)| {
        let mark = FOREIGN.iter().find(|mark| line.starts_with(**mark))?;
        Some((number, *mark))
    });
    let mut script = Script {
        text: if text.starts_with("#!") {
            text
        } else {
            // The kernel starts no text without it; every shell would take it for its own.
            format!("#!/bin/sh\n{text}")
        },
        directives: Vec::new(),
        late: Vec::new(),
        foreign,
        windows,
    };
    let mut begun = false;
    for (number, line) in (1..).zip(valid.lines()) {
        let comment = line.trim_start();
        match directive(line) {
            Some(_) if begun => script.late.push(number),
            Some(options) => {
                let words = split(options).ok_or_else(|| ScriptError::Quote {
                    name: name.to_owned(),
                    line: number,
                })?;
                script.directives.push((number, words));
            }
            None => begun |= !comment.is_empty() && !comment.starts_with('#'),
        }
    }
    Ok(Some(script))
}

/// What stands behind the mark.
fn directive(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(MARK)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then_some(rest)
}

/// Words as a shell would read them, with quotes and nothing else. None when a quote has no end.
pub(crate) fn split(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().push(rest.next()?),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            // As in a shell, the rest is a remark.
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// A word that [`split`] reads as it is.
pub(crate) fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./:=,@%+*^".contains(c));
    if plain {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        of_bytes("run.sh", text.as_bytes())
            .expect("no error")
            .expect("a script")
    }

    #[test]
    fn lines_of_options_end_at_the_first_command() {
        let script = script(
            "#!/bin/bash\n# about\n\n#MUSTER /numnodes:4 --job-name 'two words' # why\n#MUSTER\n#MUSTERING\nmpiexec x\n#MUSTER /exclusive\n",
        );
        assert_eq!(script.directives.len(), 2);
        assert_eq!(
            script.directives[0],
            (
                4,
                ["/numnodes:4", "--job-name", "two words"].map(str::to_owned).to_vec()
            )
        );
        assert_eq!(script.late, [8]);
        assert!(script.text.starts_with("#!/bin/bash\n"));
    }

    #[test]
    fn scripts_from_elsewhere() {
        let from_windows = script("#!/bin/sh\r\n#MUSTER /numnodes:2\r\necho hi\r\n");
        assert!(from_windows.windows && !from_windows.text.contains('\r'));
        assert_eq!(from_windows.directives[0].1, ["/numnodes:2"]);
        // A carriage return here and there is meant.
        let mixed = "#!/bin/sh\nprintf 'a\r\nb'\n";
        assert_eq!((script(mixed).windows, script(mixed).text.as_str()), (false, mixed));
        assert_eq!(script("#!/bin/sh\n#SBATCH -N 2\n").foreign, Some((2, "#SBATCH")));
    }

    #[test]
    fn what_is_no_script_is_not_carried() {
        for bytes in [
            b"echo hi\n".as_slice(),
            b"\x7fELF\xff\xfe",
            b"",
            b"#!/bin/sh\n\0",
            b"#!/bin/sh\n\xff\xfe",
        ] {
            assert_eq!(of_bytes("x", bytes), Ok(None));
        }
        assert_eq!(
            script("#MUSTER /numcores:2\ntrue\n").text,
            "#!/bin/sh\n#MUSTER /numcores:2\ntrue\n"
        );
        let long = format!("#!/bin/sh\n{}", "ä".repeat(MAX_SCRIPT_BYTES));
        let cut = &long.as_bytes()[..=MAX_SCRIPT_BYTES];
        assert!(of_bytes("x", cut).unwrap_err().to_string().contains("sh /shared/x"));
        assert_eq!(read("/dev/null"), Ok(None));
        assert_eq!(read("/no/such/file"), Ok(None));
    }

    #[test]
    fn quotes() {
        let words = |text: &str| split(text);
        assert_eq!(
            words(r#" a "b c" 'd"e' f\ g "h\"" "#),
            Some(["a", "b c", "d\"e", "f g", "h\""].map(str::to_owned).to_vec())
        );
        assert_eq!(words("'open"), None);
        assert_eq!(words("''"), Some(vec![String::new()]));
        assert_eq!(words("  "), Some(vec![]));
        for word in ["a", "", "two words", "it's", r"a\b", "#x", "\"", "*"] {
            assert_eq!(words(&quoted(word)), Some(vec![word.to_owned()]), "{word}");
        }
    }
}
