//! A target's seeds and the words of its dictionary, as files that libFuzzer reads too.

use std::fs;
use std::path::PathBuf;

fn folder(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(kind)
}

/// The seeds of a target with their files' names, in the order of these.
pub(crate) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder("seeds").join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<(String, Vec<u8>)> = files
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

/// The words of a target's dictionary; none when it has none.
pub(crate) fn words(target: &str) -> Vec<Vec<u8>> {
    let file = folder("dictionaries").join(format!("{target}.dict"));
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(word).collect()
}

/// The bytes of `"…"`, in which a backslash stands before a quote, a backslash or `xNN`.
fn word(line: &str) -> Vec<u8> {
    let quoted = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
    let mut rest = quoted.unwrap_or_else(|| panic!("no word in quotes: {line}")).as_bytes();
    let mut word = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            word.push(*first);
            continue;
        }
        let (kind, after) = rest.split_first().unwrap_or_else(|| panic!("it ends early: {line}"));
        rest = after;
        if *kind != b'x' {
            word.push(*kind);
            continue;
        }
        let (digits, after) = rest.split_at(2);
        rest = after;
        word.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TARGETS;

    #[test]
    fn a_word_is_read_as_libfuzzer_reads_it() {
        assert_eq!(word(r#""a\x00\"\\\xffb""#), b"a\0\"\\\xffb");
    }

    #[test]
    fn every_target_has_seeds_and_a_program() {
        let programs = fs::read_dir(folder("cargo-fuzz/fuzz_targets")).unwrap();
        let mut programs: Vec<String> = programs
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string())
            .collect();
        programs.sort();
        let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        targets.sort_unstable();
        assert_eq!(programs, targets);
        for target in targets {
            assert!(seeds(target).len() >= 3, "{target} has too few seeds");
            let file = folder("cargo-fuzz/fuzz_targets").join(format!("{target}.rs"));
            let calls = format!("fuzz::{target}(input)");
            assert!(fs::read_to_string(file).unwrap().contains(&calls));
        }
    }
}
