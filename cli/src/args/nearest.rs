//! The name that somebody probably meant.

/// How alike two names must be, from 0 to 1. With less, a suggestion is more puzzling than none: 'pool' for 'tool' is
/// good, 'list' for 'view' is not.
const ALIKE: f64 = 0.78;

/// The name most like the given one, if one is alike.
pub(crate) fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    let rated = names.into_iter().map(|name| {
        let plain = name.to_ascii_lowercase();
        // Swapped letters are the commonest slip; Jaro-Winkler alone favours names that only begin alike.
        let close = strsim::normalized_damerau_levenshtein(&given, &plain);
        (close.max(strsim::jaro_winkler(&given, &plain) - 0.08), name)
    });
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= ALIKE).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_understood() {
        let verbs = ["submit", "list", "view", "wait", "cancel", "why"];
        assert_eq!(nearest("sumbit", verbs), Some("submit"));
        assert_eq!(nearest("SUBMITT", verbs), Some("submit"));
        assert_eq!(nearest("cancle", verbs), Some("cancel"));
        assert_eq!(nearest("frobnicate", verbs), None);
        assert_eq!(
            nearest("numnode", ["numnodes", "nodegroup", "numcores"]),
            Some("numnodes")
        );
    }
}
