//! Refusals: what was asked, what is wrong, what to type next.

use proto::client::{Refusal, RefusalCode};

/// The most names that a refusal lists.
const NAMES_SHOWN: usize = 8;

/// A refusal of a thing that is not there, with the nearest name and those that exist.
#[must_use]
pub fn unknown<'a>(kind: &str, asked: &str, names: impl Iterator<Item = &'a str>, remedy: &str) -> Refusal {
    let mut names: Vec<&str> = names.collect();
    names.sort_by(|a, b| crate::natural_order(a, b));
    let mut hints = Vec::new();
    if let Some(name) = nearest(asked, &names) {
        hints.push(format!("did you mean '{name}'?"));
    }
    if names.is_empty() {
        hints.push(format!("there is no {kind} yet"));
    } else {
        let shown = names.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMES_SHOWN);
        let and_more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        hints.push(format!("there is: {shown}{and_more}"));
    }
    if !remedy.is_empty() {
        hints.push(remedy.to_owned());
    }
    Refusal {
        code: RefusalCode::NotFound,
        what: format!("there is no {kind} '{asked}'"),
        remedy: hints.join("; ").replace("?;", "?"),
        retry_after: None,
    }
}

pub(crate) fn invalid(what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal {
        code: RefusalCode::Invalid,
        what: what.into(),
        remedy: remedy.into(),
        retry_after: None,
    }
}

pub(crate) fn wrong_state(what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal {
        code: RefusalCode::WrongState,
        what: what.into(),
        remedy: remedy.into(),
        retry_after: None,
    }
}

pub(crate) fn forbidden(what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal {
        code: RefusalCode::Forbidden,
        what: what.into(),
        remedy: remedy.into(),
        retry_after: None,
    }
}

pub(crate) fn not_found(what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal {
        code: RefusalCode::NotFound,
        what: what.into(),
        remedy: remedy.into(),
        retry_after: None,
    }
}

pub(crate) fn unsupported(what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal {
        code: RefusalCode::Unsupported,
        what: what.into(),
        remedy: remedy.into(),
        retry_after: None,
    }
}

pub(crate) fn busy(what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal {
        code: RefusalCode::Busy,
        what: what.into(),
        remedy: remedy.into(),
        retry_after: None,
    }
}

/// `1 task`, `2 tasks`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// The name that was probably meant: at most a third of its letters differ.
fn nearest<'a>(asked: &str, names: &[&'a str]) -> Option<&'a str> {
    let asked = asked.to_ascii_lowercase();
    let near = names
        .iter()
        .map(|name| (strsim::levenshtein(&asked, &name.to_ascii_lowercase()), *name));
    let (far, name) = near.min_by_key(|(far, _)| *far)?;
    (far <= name.len() / 3).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let names = ["ComputeNodes", "AzureNodes"];
        let refusal = unknown("node group", "azurnodes", names.into_iter(), "see 'nodegroup list'");
        assert_eq!(
            refusal.to_string(),
            "there is no node group 'azurnodes'; did you mean 'AzureNodes'? there is: AzureNodes, ComputeNodes; \
             see 'nodegroup list'"
        );
        let refusal = unknown("pool", "x", std::iter::empty(), "");
        assert_eq!(refusal.to_string(), "there is no pool 'x'; there is no pool yet");
    }

    #[test]
    fn many_names_are_cut() {
        let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
        let refusal = unknown("node", "gpu", names.iter().map(String::as_str), "");
        assert!(refusal.remedy.ends_with("n7 and 12 more"), "{}", refusal.remedy);
        assert!(!refusal.remedy.contains("did you mean"), "nothing is near");
    }
}
