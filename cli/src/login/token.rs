//! The text of a token: on the command line, in a file, from standard input, or typed where nobody sees it.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use transport::identity::{LoginToken, TokenKind};

use super::LoginError;

/// Longer texts are no tokens.
const MAX_BYTES: u64 = 4096;

/// Whether a word is a token, and no host.
pub(crate) fn is_token(word: &str) -> bool {
    [TokenKind::Login, TokenKind::Join]
        .iter()
        .any(|kind| word.starts_with(kind.prefix()))
}

/// The token from wherever it is: `given` is the token, the name of a file, or `-`; none asks for it.
pub(crate) fn read(given: Option<&str>) -> Result<LoginToken, LoginError> {
    let text = match given {
        Some("-") => bounded(io::stdin().lock(), Path::new("-"))?,
        Some(word) if is_token(word) => word.to_owned(),
        // A word that is no file either is a token that was copied badly more often than a file that is missing.
        Some(word) => match File::open(word) {
            Ok(file) => bounded(file, Path::new(word))?,
            Err(_) => word.to_owned(),
        },
        None if io::stdin().is_terminal() => asked()?,
        None => return Err(LoginError::NoToken),
    };
    if text.trim().is_empty() {
        return Err(LoginError::NoToken);
    }
    text.trim().parse().map_err(LoginError::Token)
}

fn bounded(from: impl Read, path: &Path) -> Result<String, LoginError> {
    let mut text = String::new();
    match from.take(MAX_BYTES).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(source) => Err(LoginError::Files {
            doing: "reading",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Asks on the terminal, which shows nothing of what is typed.
fn asked() -> Result<String, LoginError> {
    let failed = |source| LoginError::Files {
        doing: "reading",
        path: "/dev/tty".into(),
        source,
    };
    let stdin = io::stdin();
    let before = tcgetattr(stdin.as_fd()).map_err(|errno| failed(errno.into()))?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    // When standard error is closed there is nobody to ask, and the answer is read all the same.
    let _ = write!(io::stderr(), "Token: ");
    tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &silent).map_err(|errno| failed(errno.into()))?;
    let mut line = String::new();
    let read = stdin.lock().take(MAX_BYTES).read_line(&mut line);
    let restored = tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &before);
    // As above.
    let _ = writeln!(io::stderr());
    read.map_err(failed)?;
    restored.map_err(|errno| failed(errno.into()))?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use transport::identity::{Fingerprint, JoinToken, TokenError};

    use super::*;

    #[test]
    fn a_token_comes_as_a_word_or_from_a_file() {
        let authority = Fingerprint::of(b"some authority");
        let login = LoginToken::generate(authority).expect("a token").to_string();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, format!("{login}\n")).expect("writes");
        for given in [Some(login.as_str()), file.to_str()] {
            assert_eq!(read(given).expect("a token").to_string(), login);
        }
        let join = JoinToken::generate(authority).expect("a token").to_string();
        let error = read(Some(&join)).expect_err("is for a node");
        assert!(
            matches!(error, LoginError::Token(TokenError::OtherKind { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn what_is_neither_a_token_nor_a_file_is_refused_without_repeating_it() {
        let error = read(Some("muster-login-1.abc")).expect_err("is cut");
        assert!(
            matches!(error, LoginError::Token(TokenError::Parts { .. })),
            "{error:?}"
        );
        let error = read(Some("nonsense")).expect_err("is none");
        assert!(matches!(error, LoginError::Token(_)) && error.exit() == crate::exit::Exit::Usage);
    }
}
