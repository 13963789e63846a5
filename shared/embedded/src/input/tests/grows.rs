//! Inputs that get more while they are read.

use std::fs::OpenOptions;

use super::*;

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// The texts up to the next pause.
fn now(input: &mut Input) -> Vec<String> {
    let (found, end) = read(input);
    assert!(matches!(end, Ok(Next::Nothing)), "{end:?}");
    texts(&found).into_iter().map(str::to_string).collect()
}

#[test]
fn a_followed_file_gives_lines_when_they_are_whole() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "x", b"");
    let follow = InputSpec { follow: true, ..spec(&path, 2) };
    let mut input = Input::open(&follow).unwrap();
    assert_eq!((now(&mut input).len(), input.head()), (0, None));
    append(&path, "one\ntw");
    assert_eq!(now(&mut input), ["one"]);
    assert_eq!(now(&mut input).len(), 0);
    append(&path, "o\r\nthree");
    assert_eq!(now(&mut input), ["two"]);
    append(&path, "\n");
    assert_eq!(now(&mut input), ["three"]);
    let head = input.head().cloned().unwrap();
    // A later run knows the file, goes on in it, and ends.
    let mut again = Input::open(&spec(&path, 2)).unwrap();
    assert_eq!(again.head(), Some(&head));
    append(&path, "four");
    again.resume_after(&[Position::from_offset(4), Position::START]).unwrap();
    assert_eq!(texts(&read_all(&mut again)), ["three", "four"]);
}

#[test]
fn a_followed_file_that_shrinks_is_an_error() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "x", b"one\ntwo\n");
    let mut input = Input::open(&InputSpec { follow: true, ..spec(&path, 1) }).unwrap();
    assert_eq!(now(&mut input), ["one", "two"]);
    std::fs::write(&path, "new\n").unwrap();
    assert!(matches!(read(&mut input).1, Err(InputError::Changed { offset: 8, .. })));
}

#[test]
fn identity_is_that_of_the_first_record() {
    let dir = TempDir::new().unwrap();
    let identity = |bytes: &[u8], csv_header| {
        let spec = InputSpec { csv_header, ..spec(&file(&dir, "x", bytes), 1) };
        Input::open(&spec).unwrap().head().unwrap().identity.clone()
    };
    let known = identity(b"{\"a\":1}\n", false);
    assert!(known.is_some());
    assert_eq!(identity(b"{\"a\":1}\n{\"a\":2}\n", false), known);
    assert_eq!(identity(&gzip(b"{\"a\":1}\n{\"a\":2}\n"), false), known);
    assert_ne!(identity(b"{\"a\":2}\n", false), known);
    // Files of one stream have the same header.
    assert_ne!(identity(b"a,b\n1,2\n", true), identity(b"a,b\n3,4\n", true));
    assert_eq!(identity(b"a,b\n1,2\n", true), identity(b"a,b\n1,2\n5,6\n", true));
    // Too little to tell: it may grow.
    assert_eq!(identity(b"{\"a\":1}", false), None);
    assert_eq!(identity(b"a,b\n1,2", true), None);
    // A first line without end.
    let long = vec![b'x'; 100_000];
    assert_eq!(identity(&long, false), identity(&long[..5_000], false));
}

#[test]
fn a_pipe_pauses_and_goes_on() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let spec = InputSpec {
        path: InputPath::Stdin,
        csv_header: true,
        shards: NonZeroUsize::MIN,
        follow: false,
    };
    let bounds = Bounds { split_bytes: SPLIT_BYTES, record_bytes_max: RECORD_BYTES_MAX };
    let mut input = Input::of_source(Source::of_pipe(reader), &spec, bounds).unwrap();
    assert_eq!((now(&mut input).len(), input.head()), (0, None));
    writer.write_all(b"name,x\n1,").unwrap();
    let mut found = Vec::new();
    let mut more = |input: &mut Input, want: usize| {
        // The pipe's thread may need a while.
        for _ in 0..50 {
            found.extend(now(input));
            if found.len() >= want {
                break;
            }
        }
        found.clone()
    };
    assert_eq!(more(&mut input, 0), [""; 0]);
    writer.write_all(b"2\n3,4\n5,").unwrap();
    assert_eq!(more(&mut input, 2), ["1,2", "3,4"]);
    assert_eq!(input.head().unwrap().csv_header.as_deref(), Some(&b"name,x"[..]));
    writer.write_all(b"6").unwrap();
    drop(writer);
    assert_eq!(texts(&read_all(&mut input)), ["5,6"]);
}

#[test]
fn a_pipe_may_be_compressed_or_broken() {
    let bounds = Bounds { split_bytes: SPLIT_BYTES, record_bytes_max: RECORD_BYTES_MAX };
    let spec = InputSpec {
        path: InputPath::parse("-"),
        csv_header: false,
        shards: NonZeroUsize::MIN,
        follow: false,
    };
    let open = |bytes: Vec<u8>| {
        let source = Source::of_pipe(std::io::Cursor::new(bytes));
        Input::of_source(source, &spec, bounds).unwrap()
    };
    let text: Vec<u8> = (0..300_000).map(|n| format!("{n}\n")).collect::<String>().into();
    for bytes in [text.clone(), gzip(&text), zstd(&text)] {
        assert_eq!(read_all(&mut open(bytes)), expected(&text, false, 1, bounds));
    }
    let bytes = gzip(&text);
    let (found, end) = read(&mut open(bytes[..bytes.len() / 2].to_vec()));
    assert!(found.len() > 1_000 && matches!(end, Err(InputError::Truncated { .. })), "{end:?}");
    let end = read(&mut open(b"\xfd7zXZ\0....".to_vec())).1;
    assert!(matches!(end, Err(InputError::Unsupported { found: "an xz file", .. })), "{end:?}");
}
