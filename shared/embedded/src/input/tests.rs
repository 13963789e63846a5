mod broken;
mod grows;

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;
use tidemill_model::RawBytes;
use xxhash_rust::xxh3::xxh3_64;

use super::*;

const ARRIVAL: WallMs = WallMs(1_700_000_000_000);

/// A record as an input hands it out: its log, its offset, what is known of its bytes.
type Found = (usize, u64, RawBytes);

fn spec(path: &Path, shards: usize) -> InputSpec {
    InputSpec {
        path: InputPath::File(path.to_path_buf()),
        csv_header: false,
        shards: NonZeroUsize::new(shards).unwrap(),
        follow: false,
    }
}

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// The records up to the end, an error, or (with `Nothing`) a pause.
fn read(input: &mut Input) -> (Vec<Found>, Result<Next, InputError>) {
    let mut found = Vec::new();
    loop {
        match input.next_chunk(ARRIVAL) {
            Ok(Next::Records { shard, batch }) => {
                assert!(!batch.records.is_empty());
                for (index, record) in batch.records.iter().enumerate() {
                    assert_eq!(record.arrival, ARRIVAL);
                    let offset = record.position.to_offset().unwrap();
                    found.push((shard, offset, batch.raw_bytes(index)));
                }
            }
            other => return (found, other),
        }
    }
}

fn read_all(input: &mut Input) -> Vec<Found> {
    let (found, end) = read(input);
    assert!(matches!(end, Ok(Next::End)), "{end:?}");
    assert!(input.head().is_some());
    found
}

/// What an input of these bytes must hand out, found the simplest way.
fn expected(bytes: &[u8], header: bool, shards: usize, bounds: Bounds) -> Vec<Found> {
    let mut offset = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut found = Vec::new();
    for (index, line) in bytes[offset..].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        if !(content.is_empty() || header && index == 0) {
            let shard = (offset as u64 / bounds.split_bytes) as usize % shards;
            found.push((shard, offset as u64, RawBytes::of(content, xxh3_64(content))));
        }
        offset += line.len();
    }
    found
}

fn texts(found: &[Found]) -> Vec<&str> {
    found.iter().map(|(_, _, raw)| std::str::from_utf8(&raw.first).unwrap()).collect()
}

#[test]
fn lines_are_records_at_their_offsets() {
    let dir = TempDir::new().unwrap();
    let text = b"\xef\xbb\xbf{\"a\":1}\r\n\n\r\n  \n{\"a\":2}\n{\"a\":3}";
    for (name, bytes) in [("plain", text.to_vec()), ("x.json", gzip(text)), ("y.csv", zstd(text))] {
        let mut input = Input::open(&spec(&file(&dir, name, &bytes), 2)).unwrap();
        let found = read_all(&mut input);
        assert_eq!(texts(&found), ["{\"a\":1}", "  ", "{\"a\":2}", "{\"a\":3}"], "{name}");
        let offsets: Vec<u64> = found.iter().map(|(_, offset, _)| *offset).collect();
        assert_eq!(offsets, [3, 15, 18, 26], "{name}");
        let total = bytes.len() as u64;
        assert_eq!(input.progress(), Progress { read: total, total: Some(total) });
    }
}

#[test]
fn a_header_is_no_record() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "x.csv", b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4\r\n");
    let mut input = Input::open(&InputSpec { csv_header: true, ..spec(&path, 1) }).unwrap();
    assert_eq!(input.head().unwrap().csv_header.as_deref(), Some(&b"a,b"[..]));
    assert_eq!(texts(&read_all(&mut input)), ["1,2", "3,4"]);
    let path = file(&dir, "only.csv", b"a,b");
    let mut input = Input::open(&InputSpec { csv_header: true, ..spec(&path, 1) }).unwrap();
    assert_eq!(input.head().unwrap().csv_header.as_deref(), Some(&b"a,b"[..]));
    assert_eq!(read_all(&mut input), []);
}

#[test]
fn an_empty_input_has_no_records() {
    let dir = TempDir::new().unwrap();
    for (name, bytes) in [("plain", vec![]), ("gz", gzip(b"")), ("zst", zstd(b""))] {
        for csv_header in [false, true] {
            let path = file(&dir, name, &bytes);
            let mut input = Input::open(&InputSpec { csv_header, ..spec(&path, 3) }).unwrap();
            assert_eq!(read_all(&mut input), [], "{name}");
            assert_eq!(input.head(), Some(&Head { identity: None, csv_header: None }));
        }
    }
}

#[test]
fn several_compressed_parts_are_one_input() {
    let dir = TempDir::new().unwrap();
    for compress in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
        let path = file(&dir, "parts", &[compress(b"1\n2"), compress(b"3\n4\n")].concat());
        assert_eq!(texts(&read_all(&mut Input::open(&spec(&path, 1)).unwrap())), ["1", "23", "4"]);
    }
}

#[test]
fn a_line_of_ten_megabytes_is_read_and_a_longer_one_is_cut() {
    let dir = TempDir::new().unwrap();
    let whole = vec![b'x'; RECORD_BYTES_MAX];
    let long = vec![b'y'; RECORD_BYTES_MAX + 1];
    let text = [b"first".as_slice(), &whole, &long, b"last"].join(&b"\r\n"[..]);
    for (name, bytes) in [("plain", text.clone()), ("zst", zstd(&text))] {
        let mut input = Input::open(&spec(&file(&dir, name, &bytes), 4)).unwrap();
        let bounds = Bounds { split_bytes: SPLIT_BYTES, record_bytes_max: RECORD_BYTES_MAX };
        let mut found = Vec::new();
        while let Next::Records { shard, batch } = input.next_chunk(ARRIVAL).unwrap() {
            let bytes_max = RECORD_BYTES_MAX + SPLIT_BYTES as usize + 2;
            assert!(batch.buffer.len() <= bytes_max, "{}", batch.buffer.len());
            assert!(input.lines.buffer().capacity() <= 2 * bytes_max);
            for (index, record) in batch.records.iter().enumerate() {
                found.push((shard, record.position.to_offset().unwrap(), batch.raw_bytes(index)));
            }
        }
        assert_eq!(found, expected(&text, false, 4, bounds), "{name}");
    }
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let line = (prop_oneof!["[a-z]{0,6}", "[a-z\r]{0,40}"], any::<bool>())
        .prop_map(|(line, crlf)| format!("{line}{}", if crlf { "\r\n" } else { "\n" }));
    (any::<bool>(), prop::collection::vec(line, 0..24), "[a-z]{0,40}").prop_map(
        |(mark, lines, last)| {
            let mark = if mark { "\u{feff}" } else { "" };
            format!("{mark}{}{last}", lines.concat()).into_bytes()
        },
    )
}

fn any_bounds() -> impl Strategy<Value = Bounds> {
    (1u64..50, 1usize..30)
        .prop_map(|(split_bytes, record_bytes_max)| Bounds { split_bytes, record_bytes_max })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However the bytes come in, the same records come out, for the same logs.
    #[test]
    fn chunks_reassemble_to_the_lines(
        text in any_text(),
        bounds in any_bounds(),
        shards in 1usize..5,
        pieces in prop::collection::vec((1usize..30, any::<bool>()), 1..20),
    ) {
        let count = NonZeroUsize::new(shards).unwrap();
        let mut lines = Lines::new(InputPath::Stdin, count, false, bounds);
        let mut found = Vec::new();
        let mut rest = text.as_slice();
        let mut pieces = pieces.iter().cycle();
        loop {
            let (length, pause) = *pieces.next().unwrap();
            let (piece, later) = rest.split_at(length.min(rest.len()));
            rest = later;
            lines.buffer().extend_from_slice(piece);
            let cut = match (piece.is_empty(), pause) {
                (true, _) => Cut::All,
                (_, true) => Cut::WholeLines,
                (_, false) => Cut::WholeBlock,
            };
            while lines.find_head(cut).unwrap() {
                let Some((shard, batch)) = lines.take(cut, ARRIVAL).unwrap() else { break };
                prop_assert!(!batch.records.is_empty());
                for (index, record) in batch.records.iter().enumerate() {
                    let offset = record.position.to_offset().unwrap();
                    found.push((shard, offset, batch.raw_bytes(index)));
                }
                for cut in &batch.cut {
                    prop_assert!(cut.length > bounds.record_bytes_max as u64);
                }
            }
            if cut == Cut::All {
                break;
            }
        }
        prop_assert_eq!(found, expected(&text, false, shards, bounds));
    }

    /// Logs that stopped anywhere get exactly what they lack.
    #[test]
    fn resuming_anywhere_gives_the_remainder(
        text in any_text(),
        bounds in any_bounds(),
        stops in prop::collection::vec(0usize..30, 1..5),
        csv_header: bool,
        compressed: bool,
    ) {
        let dir = TempDir::new().unwrap();
        let bytes = if compressed { gzip(&text) } else { text.clone() };
        let spec = InputSpec { csv_header, ..spec(&file(&dir, "x", &bytes), stops.len()) };
        let bounds = Bounds { record_bytes_max: bounds.record_bytes_max + 40, ..bounds };
        let whole = expected(&text, csv_header, stops.len(), bounds);
        let mut input = Input::open_with(&spec, bounds).unwrap();
        let head = input.head().cloned();
        prop_assert_eq!(&read_all(&mut input), &whole);

        let mut after = vec![Position::START; stops.len()];
        let mut remainder = Vec::new();
        let mut counts = vec![0; stops.len()];
        for (shard, offset, raw) in whole {
            if counts[shard] < stops[shard] {
                counts[shard] += 1;
                after[shard] = Position::from_offset(offset);
            } else {
                remainder.push((shard, offset, raw));
            }
        }
        let mut resumed = Input::open_with(&spec, bounds).unwrap();
        prop_assert_eq!(resumed.head().cloned(), head);
        resumed.resume_after(&after).unwrap();
        prop_assert_eq!(read_all(&mut resumed), remainder);
    }
}
