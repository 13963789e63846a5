//! What a mistyped word may have meant.

/// The candidate nearest to `word`, when it is near enough to be a slip of the fingers.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = word.to_lowercase();
    let slips = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A help text: the nearest candidate, or all of them.
pub(crate) fn suggest<'c>(word: &str, candidates: impl Iterator<Item = &'c str> + Clone) -> String {
    match nearest(word, candidates.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("write {}", one_of(candidates)),
    }
}

/// "`a`, `b` or `c`"
pub(crate) fn one_of<'c>(candidates: impl Iterator<Item = &'c str>) -> String {
    let mut quoted: Vec<String> = candidates.map(|candidate| format!("`{candidate}`")).collect();
    let Some(last) = quoted.pop() else { return String::new() };
    if quoted.is_empty() { last } else { format!("{} or {last}", quoted.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let of = |word| nearest(word, ["event_time", "sink", "late", "format"].into_iter());
        assert_eq!(of("event_tiem"), Some("event_time"));
        assert_eq!(of("EVENT_TIME"), Some("event_time"));
        assert_eq!(of("sinks"), Some("sink"));
        assert_eq!(of("lat"), Some("late"));
        assert_eq!(of("formatt"), Some("format"));
        assert_eq!(of("grace"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn lists_read_like_a_sentence() {
        assert_eq!(one_of(["a"].into_iter()), "`a`");
        assert_eq!(one_of(["a", "b", "c"].into_iter()), "`a`, `b` or `c`");
    }
}
