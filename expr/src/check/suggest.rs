//! What somebody may have meant.
//!
//! Words are as like here as keys of files are (`source/src/suggest.rs`): the language knows nothing of files, and files nothing
//! of it, so that neither can ask the other.

/// Words less alike than this (Damerau–Levenshtein, 1 = the same) are no help as a suggestion.
const SIMILARITY_MIN: f64 = 0.6;

/// Longest word, in characters, that may be a misspelling of another: comparing two takes time and memory by the product
/// of their lengths, and the values of an attribute may be of any length.
const COMPARED_MAX: usize = 64;

/// The candidate that `written` is most likely a misspelling of: the most alike, whatever the capitals.
pub(super) fn closest<'c>(
    written: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if !is_comparable(written) {
        return None;
    }
    let small = written.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| is_comparable(candidate))
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(&small, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

fn is_comparable(word: &str) -> bool {
    word.chars().nth(COMPARED_MAX).is_none()
}

/// Help for an unknown name: the likely one, or all there are if they are few.
pub(super) fn help<'c>(
    written: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    const LISTED_MAX: usize = 8;
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(candidate) = closest(written, candidates.iter().copied()) {
        return Some(format!("did you mean `{candidate}`?"));
    }
    match candidates.as_slice() {
        [] => None,
        few if few.len() <= LISTED_MAX => Some(format!("known are {}", few.join(", "))),
        many => Some(format!("known are {}, …", many[..LISTED_MAX].join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_word_and_other_words_none() {
        let known = ["amount", "currency", "card_country", "channel"];
        let table = [
            ("amuont", Some("amount")),
            ("AMOUNT", Some("amount")),
            ("chanel", Some("channel")),
            ("card_contry", Some("card_country")),
            ("origin", None),
            ("", None),
            (&"a".repeat(4_000), None),
        ];
        for (written, expected) in table {
            assert_eq!(closest(written, known), expected, "{written}");
        }
    }

    #[test]
    fn help_lists_the_candidates_only_while_they_are_few() {
        assert_eq!(help("zzz", ["a", "b"]), Some("known are a, b".to_owned()));
        assert_eq!(help("zzz", []), None);
        let many = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        assert_eq!(
            help("zzz", many),
            Some("known are a, b, c, d, e, f, g, h, …".to_owned())
        );
    }
}
