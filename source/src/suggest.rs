//! "Did you mean": the nearest of a few known words.

/// Words less alike than this (Damerau–Levenshtein, 1 = the same) are no help as a suggestion.
const SIMILARITY_MIN: f64 = 0.6;

/// Longest word, in characters, that may be a misspelling of another: comparing two takes time and memory by the
/// product of their lengths.
const COMPARED_MAX: usize = 64;

/// Most words listed where none is near: a longer list is no longer read.
const LISTED_MAX: usize = 16;

/// The known word most like `written`, if one is like it at all.
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if !is_comparable(written) {
        return None;
    }
    let written = written.to_lowercase();
    known
        .into_iter()
        .filter(|word| is_comparable(word))
        .map(|word| {
            (
                strsim::normalized_damerau_levenshtein(&written, &word.to_lowercase()),
                word,
            )
        })
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

fn is_comparable(word: &str) -> bool {
    word.chars().nth(COMPARED_MAX).is_none()
}

/// A help line for an unknown word: the nearest known one, else all of them.
pub fn did_you_mean<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(word) = nearest(written, known.iter().copied()) {
        return format!("did you mean `{word}`?");
    }
    match known.as_slice() {
        [] => "nothing can be named here".to_owned(),
        [only] => format!("write `{only}`"),
        many => {
            let more = if many.len() > LISTED_MAX { ", …" } else { "" };
            let listed: Vec<String> = many
                .iter()
                .take(LISTED_MAX)
                .map(|word| format!("`{word}`"))
                .collect();
            format!("write one of {}{more}", listed.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_far_one_is_not() {
        let known = ["decline", "approve", "flag"];
        assert_eq!(did_you_mean("declien", known), "did you mean `decline`?");
        assert_eq!(did_you_mean("Flag", known), "did you mean `flag`?");
        assert_eq!(
            did_you_mean("xyz", known),
            "write one of `decline`, `approve`, `flag`"
        );
        assert_eq!(did_you_mean("xyz", ["flag"]), "write `flag`");
        assert_eq!(
            nearest(&"é".repeat(64), [&*"é".repeat(63)]),
            Some(&*"é".repeat(63))
        );
        assert_eq!(did_you_mean("xyz", []), "nothing can be named here");
    }

    /// Two words of a megabyte would take 8 TB to compare.
    #[test]
    fn endless_words_are_not_compared() {
        let endless = "decline".repeat(150_000);
        assert_eq!(nearest(&endless, ["decline", &endless[1..]]), None);
        assert_eq!(
            nearest("declines", [&endless[..], "decline"]),
            Some("decline")
        );
    }
}
