//! Lists of hosts in the short form that clusters use: `n[0-3,7],login`.

/// The most names one list may give; a typing error must not fill the memory.
pub const MAX_HOSTS: usize = 100_000;

/// Why a text is no list of hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostListError {
    /// A bracket without its partner, or one inside another.
    #[error("'{text}': brackets do not match; write n[0-3,7]")]
    Brackets {
        /// The whole list.
        text: String,
    },
    /// What stands between the brackets is no range.
    #[error("'{range}' is no range of numbers; write n[0-3,7]")]
    Range {
        /// The part that is wrong.
        range: String,
    },
    /// More than [`MAX_HOSTS`].
    #[error("'{text}' names more than {MAX_HOSTS} hosts")]
    TooMany {
        /// The whole list.
        text: String,
    },
}

/// All names of the list, in its order. Numbers keep the width of the range's first number: `n[08-10]` is n08, n09, n10.
///
/// # Errors
/// [`HostListError`], naming the part that is wrong.
pub fn expand(text: &str) -> Result<Vec<String>, HostListError> {
    let mut names = Vec::new();
    for part in split_outside_brackets(text)? {
        expand_one(part, &mut names)?;
        if names.len() > MAX_HOSTS {
            return Err(HostListError::TooMany { text: text.to_owned() });
        }
    }
    Ok(names)
}

fn split_outside_brackets(text: &str) -> Result<Vec<&str>, HostListError> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '[' if inside => return Err(HostListError::Brackets { text: text.to_owned() }),
            ']' if !inside => return Err(HostListError::Brackets { text: text.to_owned() }),
            '[' => inside = true,
            ']' => inside = false,
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(HostListError::Brackets { text: text.to_owned() });
    }
    parts.push(&text[start..]);
    Ok(parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect())
}

fn expand_one(part: &str, names: &mut Vec<String>) -> Result<(), HostListError> {
    let Some((head, rest)) = part.split_once('[') else {
        names.push(part.to_owned());
        return Ok(());
    };
    let Some((ranges, tail)) = rest.split_once(']') else {
        return Err(HostListError::Brackets { text: part.to_owned() });
    };
    for range in ranges.split(',') {
        let wrong = || HostListError::Range {
            range: range.to_owned(),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u32, u32) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if to < from {
            return Err(wrong());
        }
        if (to - from) as usize >= MAX_HOSTS {
            return Err(HostListError::TooMany { text: part.to_owned() });
        }
        let width = first.len();
        names.extend((from..=to).map(|number| format!("{head}{number:0width$}{tail}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_expand_in_order_and_width() {
        assert_eq!(
            expand("n[08-10],login, x[1,3]y").expect("list"),
            ["n08", "n09", "n10", "login", "x1y", "x3y"]
        );
    }

    #[test]
    fn wrong_lists_are_named() {
        assert!(matches!(expand("n[1-"), Err(HostListError::Brackets { .. })));
        assert!(matches!(expand("n[3-1]"), Err(HostListError::Range { .. })));
        assert!(matches!(expand("n[0-4000000]"), Err(HostListError::TooMany { .. })));
    }
}
