//! Bytes that were written once are read for ever, and what is written stays what it was.
//!
//! `golden/*.bin` are whole items. Encoding must give the same header fields and the same body,
//! byte for byte; the compressed bytes themselves may differ between versions of zstd. A test
//! that fails here means: stores in the field cannot be read by this program. Give the kind a new
//! format version and keep reading the old one; add a file, never replace one. A new file is
//! written by `GOLDEN_WRITE=1 cargo test -p conformance golden`, which never touches one that
//! exists.

use std::{fmt::Debug, fs, path::PathBuf, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
        StringViewArray, TimestampMillisecondArray,
    },
    datatypes::Int64Type,
};
use tidemill_codec::{
    CodecError, decode_batch, decode_checkpoint, decode_emitted, decode_log_entry, decode_segment,
    decode_snapshot, encode_batch, encode_checkpoint, encode_emitted, encode_log_entry,
    encode_segment, encode_snapshot, item,
};
use tidemill_model::{
    Block, Checkpoint, DeadLetter, DeadReason, Emitted, Epoch, EventMs, Fingerprint, LogEntry,
    LogId, LogProgress, Position, QueryProgress, RawBytes, Segment, SnapshotRef, Totals, WallMs,
};

const QUERY: Fingerprint = Fingerprint(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

fn golden(name: &str, encoded: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if !path.exists() && std::env::var_os("GOLDEN_WRITE").is_some() {
        fs::write(&path, encoded).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks one value against its golden item.
fn check<T: PartialEq + Debug>(
    kind: item::Kind,
    name: &str,
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, CodecError>,
) {
    let encoded = encode(value);
    let written = golden(name, &encoded);
    assert_eq!(decode(&written).as_ref(), Ok(value), "{name} is read otherwise");
    assert_eq!(encoded[..12], written[..12], "the header of {name} is written otherwise");
    assert_eq!(
        item::open(kind, &encoded).unwrap(),
        item::open(kind, &written).unwrap(),
        "the body of {name} is written otherwise"
    );
}

fn sequence(sub: u64) -> Position {
    let number = "49590338271490256608559692538361571095921575989136588898";
    Position::from_sequence(number, sub).unwrap()
}

fn batch() -> RecordBatch {
    let counts = [Some(vec![Some(1), None]), None, Some(vec![])];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("origin", Arc::new(StringArray::from(vec![Some("JFK"), None, Some("Zürich")]))),
        ("carrier", Arc::new(StringViewArray::from(vec!["UA", "a carrier of a long name", ""]))),
        ("slice", Arc::new(TimestampMillisecondArray::from(vec![-1, 0, 1_356_998_400_000]))),
        ("rows", Arc::new(Int64Array::from(vec![1, i64::MAX, i64::MIN]))),
        ("sum", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(-0.0)]))),
        (
            "fare",
            Arc::new(
                Decimal128Array::from(vec![Some(12_345), None, Some(-1)])
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
        ),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(counts))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn segment() -> Segment {
    let log = LogId::new("flights", "shardId-000000000001");
    let letter = |reason, raw| DeadLetter {
        log: log.clone(),
        position: sequence(2),
        arrival: WallMs(1_700_000_000_123),
        reason,
        raw,
    };
    let late = DeadReason::Late {
        query: "delay_per_hour".to_string(),
        event_time: EventMs(-1),
        windows: vec![(EventMs(-3_600_000), EventMs(0)), (EventMs::MIN, EventMs::MAX)],
        windows_missed: 2,
        records: 7,
        partial: Some(r#"{"origin":"JFK"}"#.to_string()),
        counted_elsewhere: true,
    };
    let raw = RawBytes { first: b"{\"origin\":".to_vec(), length: 4_000_000, hash: u64::MAX };
    Segment {
        after: Position::START,
        through: sequence(3),
        records: 300,
        appended_at: WallMs(1_700_000_001_000),
        newest_arrival: WallMs(1_700_000_000_999),
        clock: Some(EventMs(1_699_999_999_000)),
        seen: vec![0, 1, 2, 0xff],
        dead_letters: vec![
            letter(DeadReason::Undecodable { detail: "not JSON".to_string() }, Some(raw)),
            letter(DeadReason::NoEventTime, None),
            letter(DeadReason::Future { event_time: EventMs(253_402_300_799_999) }, None),
            letter(DeadReason::TooLarge { detail: "11 MB of 10 MB".to_string() }, None),
            letter(late, None),
        ],
        blocks: vec![
            Block {
                query: QUERY,
                stage: 1,
                partition: 0,
                rows: 3,
                batch: encode_batch(&batch()).unwrap(),
            },
            Block { query: Fingerprint(0), stage: 0, partition: 9, rows: 0, batch: vec![] },
        ],
    }
}

fn checkpoint() -> Checkpoint {
    let progress = |merged, clock: Option<i64>, idle| LogProgress {
        merged,
        clock: clock.map(EventMs),
        newest_append: WallMs(1_700_000_001_000),
        newest_arrival: clock.map(WallMs),
        idle,
    };
    let logs = [
        (LogId::new("flights", "0"), progress(Position::from_offset(41), Some(-5), false)),
        (LogId::new("flights", "shardId-1"), progress(sequence(0), Some(77), true)),
        (LogId::new("weather", "a/b"), progress(Position::START, None, false)),
    ];
    let query = |windows| QueryProgress { fingerprint: QUERY, results: 12, windows };
    Checkpoint {
        epoch: Epoch(300),
        at: WallMs(1_700_000_002_000),
        watermark: Some(EventMs(-10)),
        logs: logs.into_iter().collect(),
        queries: [("busiest", 1), ("delays", 200)].map(|(q, n)| (q.to_string(), query(n))).into(),
        snapshot: Some(SnapshotRef {
            epoch: Epoch(290),
            nonce: "5f3a".to_string(),
            chunks: 3,
            bytes: 1_000_000,
        }),
        log_bytes: 123_456,
        oldest_since_snapshot: Some(WallMs(1_699_000_000_000)),
        emits: true,
        totals: Totals { records: 1 << 40, dead_letters: 5, late: 4, windows: 3, results: 2 },
    }
}

#[test]
fn segment_bytes_stay() {
    check(item::Kind::Segment, "segment.v1.bin", &segment(), encode_segment, decode_segment);
    let written = decode_segment(&golden("segment.v1.bin", &[])).unwrap();
    assert_eq!(decode_batch(&batch().schema(), &written.blocks[0].batch), Ok(batch()));
}

#[test]
fn checkpoint_bytes_stay() {
    let kind = item::Kind::Checkpoint;
    check(kind, "checkpoint.v1.bin", &checkpoint(), encode_checkpoint, decode_checkpoint);
}

#[test]
fn log_entry_bytes_stay() {
    let entry = LogEntry {
        log: LogId::new("flights", "shardId-2"),
        parents: vec![LogId::new("flights", "shardId-0"), LogId::new("flights", "shardId-1")],
        registered_at: WallMs(1_700_000_000_000),
        start: Position::from_offset(u64::MAX),
        identity: "xxh3:0123".to_string(),
    };
    let kind = item::Kind::LogEntry;
    check(kind, "log_entry.v1.bin", &entry, encode_log_entry, decode_log_entry);
}

#[test]
fn emitted_bytes_stay() {
    let sinks = [("file", vec![1, 2, 3]), ("stdout", vec![])];
    let emitted = Emitted {
        epoch: Epoch(300),
        sinks: sinks.map(|(sink, state)| (sink.to_string(), state)).into_iter().collect(),
    };
    check(item::Kind::Emitted, "emitted.v1.bin", &emitted, encode_emitted, decode_emitted);
}

/// A chunk holds a piece of a compressed stream, so what is compared is what the stream
/// decompresses to.
#[test]
fn snapshot_bytes_stay() {
    let parts = vec![(QUERY, 0, batch()), (QUERY, 1, batch().slice(1, 1))];
    let schema = batch().schema();
    let schema_of = |query, _| (query == QUERY).then(|| Arc::clone(&schema));
    let encoded = encode_snapshot(&parts).unwrap();
    assert_eq!(encoded.len(), 1);
    let written = golden("snapshot_chunk.v1.bin", &encoded[0]);
    assert_eq!(decode_snapshot(std::slice::from_ref(&written), &schema_of).as_ref(), Ok(&parts));
    assert_eq!(encoded[0][..8], written[..8]);
    let stream = |chunk: &[u8]| {
        let body = item::open(item::Kind::SnapshotChunk, chunk).unwrap();
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        let at = body.windows(4).position(|four| four == magic).expect("a zstd stream");
        assert_eq!(body[..2], [0, 1], "chunk 0 of 1");
        body[at..].to_vec()
    };
    let raw = |chunk: &[u8]| zstd::stream::decode_all(&stream(chunk)[..]).unwrap();
    assert_eq!(raw(&encoded[0]), raw(&written), "the snapshot is written otherwise");
}
