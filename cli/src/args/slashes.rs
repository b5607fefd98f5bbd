//! HPC Pack's spelling, `/name:value`: read here and nowhere else.
//!
//! Its commands ran on a system whose paths do not begin with a slash; ours do. So `/name` is an option only when the
//! name is letters and digits up to the end or the first colon: `/workdir:/scratch/run` is an option, `/bin/hostname` a
//! program. A program that lies directly under `/` needs `--` before it, and the refusal of `/prog` says so.

/// An option as HPC Pack writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlashOption<'a> {
    /// Without the slash.
    pub(super) name: &'a str,
    /// After the first colon.
    pub(super) value: Option<&'a str>,
}

/// The option that a word is, or none when it is a word or a path.
pub(super) fn option_of(word: &str) -> Option<SlashOption<'_>> {
    let rest = word.strip_prefix('/')?;
    let (name, value) = match rest.split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (rest, None),
    };
    let is_name = name == "?"
        || (name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    is_name.then_some(SlashOption { name, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_from_paths() {
        let option = |name, value| Some(SlashOption { name, value });
        assert_eq!(option_of("/numnodes:4"), option("numnodes", Some("4")));
        assert_eq!(option_of("/exclusive"), option("exclusive", None));
        assert_eq!(option_of("/?"), option("?", None));
        assert_eq!(option_of("/workdir:/a:b/c"), option("workdir", Some("/a:b/c")));
        assert_eq!(option_of("/env:A=/x"), option("env", Some("A=/x")));
        for word in ["/bin/hostname", "/", "hostname", "--x", "/4", "/.x", "/opt/x:y"] {
            assert_eq!(option_of(word), None, "{word}");
        }
    }
}
