//! Inputs that cannot be read, or not to their end.

use super::*;

fn open_error(spec: &InputSpec) -> InputError {
    Input::open(spec).unwrap_err()
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("missing.jsonl");
    let path = missing.display().to_string();
    assert_eq!(open_error(&spec(&missing, 1)), InputError::NotFound { path });
    let path = dir.path().display().to_string();
    assert_eq!(open_error(&spec(dir.path(), 1)), InputError::Directory { path });
}

#[test]
fn other_formats_are_named() {
    let dir = TempDir::new().unwrap();
    for (bytes, name) in [
        (&b"\xfd7zXZ\0\0\x04"[..], "an xz file"),
        (b"BZh91AY&SY..", "a bzip2 file"),
        (b"PK\x03\x04....", "a zip file"),
        (b"\x04\x22\x4d\x18...", "an lz4 file"),
        (b"\xff\xfe{\0}\0\n\0", "UTF-16 text"),
    ] {
        let error = open_error(&spec(&file(&dir, "x", bytes), 1));
        assert!(matches!(error, InputError::Unsupported { found, .. } if found == name), "{error}");
    }
    // These only begin like them.
    for text in [&b"BZh9,x\n"[..], b"PK,x\n", b"\x1f\n", b"(\n"] {
        let mut input = Input::open(&spec(&file(&dir, "x", text), 1)).unwrap();
        assert_eq!(read_all(&mut input).len(), 1);
    }
}

/// Text that hardly compresses, so that a cut file still has many lines.
fn noise(lines: u64) -> Vec<u8> {
    (0..lines)
        .map(|line| format!("{:016x}\n", xxh3_64(&line.to_le_bytes())))
        .collect::<String>()
        .into()
}

#[test]
fn a_truncated_file_gives_its_whole_lines_and_then_an_error() {
    let dir = TempDir::new().unwrap();
    let text = noise(200_000);
    let bounds = Bounds { split_bytes: SPLIT_BYTES, record_bytes_max: RECORD_BYTES_MAX };
    let whole = expected(&text, false, 2, bounds);
    for (name, bytes) in [("gz", gzip(&text)), ("zst", zstd(&text))] {
        for kept in [bytes.len() / 2, bytes.len() - 1] {
            let mut input = Input::open(&spec(&file(&dir, name, &bytes[..kept]), 2)).unwrap();
            let (found, end) = read(&mut input);
            assert_eq!(found, whole[..found.len()], "{name}");
            assert!(found.len() > 60_000, "{name}: {}", found.len());
            let Err(InputError::Truncated { offset, .. }) = &end else { panic!("{name}: {end:?}") };
            // Nothing whole was left behind, and the broken line was not handed out.
            let next = found.len() as u64 * 17;
            assert!((next..next + 17).contains(offset), "{name}: {offset} after {next}");
            assert_eq!(read(&mut input).1.unwrap_err(), end.unwrap_err());
        }
    }
}

#[test]
fn a_file_that_was_cut_goes_on_when_it_is_whole_again() {
    let dir = TempDir::new().unwrap();
    let text = noise(200_000);
    let bytes = zstd(&text);
    let path = file(&dir, "x", &bytes[..bytes.len() / 2]);
    let (before, end) = read(&mut Input::open(&spec(&path, 2)).unwrap());
    assert!(end.is_err());
    std::fs::write(&path, &bytes).unwrap();
    let mut input = Input::open(&spec(&path, 2)).unwrap();
    let mut after = [Position::START; 2];
    before.iter().for_each(|(shard, offset, _)| after[*shard] = Position::from_offset(*offset));
    input.resume_after(&after).unwrap();
    let bounds = Bounds { split_bytes: SPLIT_BYTES, record_bytes_max: RECORD_BYTES_MAX };
    let all = [before, read_all(&mut input)].concat();
    assert_eq!(all, expected(&text, false, 2, bounds));
}

#[test]
fn a_damaged_file_is_corrupt() {
    let dir = TempDir::new().unwrap();
    let text = noise(200_000);
    for (name, mut bytes) in [("gz", gzip(&text)), ("zst", zstd(&text))] {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 4000].fill(0xff);
        let mut input = Input::open(&spec(&file(&dir, name, &bytes), 1)).unwrap();
        let (found, end) = read(&mut input);
        assert!(matches!(end, Err(InputError::Corrupt { .. })), "{name}: {end:?}");
        assert!(found.len() > 10_000, "{name}: {}", found.len());
    }
    // Something else behind the compressed part.
    let path =
        file(&dir, "tail", &[gzip(b"1\n2\n"), b"garbage that is no header".to_vec()].concat());
    let (found, end) = read(&mut Input::open(&spec(&path, 1)).unwrap());
    assert_eq!(texts(&found), ["1", "2"]);
    assert!(matches!(end, Err(InputError::Corrupt { .. })), "{end:?}");
}

#[test]
fn a_header_without_end_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "x.csv", &vec![b'x'; RECORD_BYTES_MAX + SPLIT_BYTES as usize]);
    let error = open_error(&InputSpec { csv_header: true, ..spec(&path, 1) });
    assert!(matches!(error, InputError::HeaderTooLong { .. }), "{error}");
}

#[test]
fn positions_of_another_file_are_refused() {
    let dir = TempDir::new().unwrap();
    for (name, bytes) in [("plain", b"aaa\nbbb\nccc\n".to_vec()), ("gz", gzip(b"aaa\nbbb\nccc\n"))]
    {
        let path = file(&dir, name, &bytes);
        for (offset, known) in
            [(0, true), (4, true), (8, true), (5, false), (12, false), (99, false)]
        {
            let mut input = Input::open(&spec(&path, 1)).unwrap();
            let resumed = input.resume_after(&[Position::from_offset(offset)]);
            let end = resumed.and_then(|()| read(&mut input).1);
            let path = path.display().to_string();
            match known {
                true => assert!(matches!(end, Ok(Next::End)), "{name} {offset}: {end:?}"),
                false => {
                    assert_eq!(end.unwrap_err(), InputError::Changed { path, offset }, "{name}")
                }
            }
        }
    }
}

#[test]
fn errors_say_what_to_do() {
    let error = InputError::Truncated { path: "x.gz".to_string(), offset: 17 };
    assert_eq!(
        error.to_string(),
        "the compressed input is cut off; every whole line before the break was read. Fetch the \
         whole file and run again: the run goes on where it was. path=`x.gz` decompressed_bytes=`17`"
    );
}
