use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, StringArray},
    datatypes::{DataType, Field, Schema},
};
use proptest::prelude::*;

use super::*;

const QUERY: Fingerprint = Fingerprint(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

fn schema(query: Fingerprint, stage: u16) -> Option<SchemaRef> {
    (query == QUERY && stage < 2).then(|| {
        Arc::new(Schema::new(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("count", DataType::Int64, true),
        ]))
    })
}

fn batch(keys: Vec<String>) -> RecordBatch {
    let counts: Int64Array = keys.iter().map(|key| key.len() as i64).map(Some).collect();
    let columns = vec![Arc::new(StringArray::from(keys)) as ArrayRef, Arc::new(counts)];
    RecordBatch::try_new(schema(QUERY, 0).unwrap(), columns).unwrap()
}

/// Text that zstd cannot make smaller, so that chunks fill.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + ((state >> 33) % 95) as u8)
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn no_state_is_one_chunk() {
    let chunks = encode_snapshot(&[]).unwrap();
    assert_eq!(chunks.len(), 1);
    assert_eq!(decode_snapshot(&chunks, &schema), Ok(vec![]));
}

#[test]
fn chunks_fit_however_long_a_row_is() {
    let parts = [
        (QUERY, 0, batch(vec![noise(1, 1_000_000), noise(2, 10)])),
        (QUERY, 1, batch((0..20_000).map(|n| noise(n, 30)).collect())),
        (QUERY, 1, batch(vec![])),
    ];
    let chunks = encode_snapshot(&parts).unwrap();
    assert!(chunks.len() > 2, "{} chunks", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.len() <= SNAPSHOT_CHUNK_BYTES_MAX));
    assert_eq!(decode_snapshot(&chunks, &schema), Ok(parts.to_vec()));
}

#[test]
fn chunks_of_another_order_or_number_are_an_error() {
    let many = |seed| encode_snapshot(&[(QUERY, 0, batch(vec![noise(seed, 1_200_000)]))]).unwrap();
    let (chunks, others) = (many(1), many(2));
    assert!(chunks.len() >= 3 && chunks.len() == others.len());
    let none: &[Vec<u8>] = &[];
    assert!(decode_snapshot(none, &schema).is_err());
    assert!(decode_snapshot(&chunks[..chunks.len() - 1], &schema).is_err());
    assert!(decode_snapshot(&chunks[1..], &schema).is_err());
    let mut swapped = chunks.clone();
    swapped.swap(0, 1);
    assert!(decode_snapshot(&swapped, &schema).is_err());
    let mut mixed = chunks.clone();
    mixed[1] = others[1].clone();
    assert!(matches!(decode_snapshot(&mixed, &schema), Err(CodecError::Malformed { .. })));
    let mut damaged = chunks;
    damaged[1][100] ^= 4;
    assert!(matches!(decode_snapshot(&damaged, &schema), Err(CodecError::Checksum { .. })));
}

#[test]
fn state_of_an_unknown_query_is_named() {
    let chunks = encode_snapshot(&[(Fingerprint(5), 0, batch(vec![]))]).unwrap();
    assert_eq!(
        decode_snapshot(&chunks, &schema),
        Err(CodecError::UnknownQuery { query: Fingerprint(5), stage: 0 })
    );
}

/// A chunk whose checksums hold, of any stream.
fn forged(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut body = item::to_body(&ChunkHeader {
        number: 0,
        chunks: 1,
        stream_bytes: stream.len() as u64,
        stream_checksum: crc32c::crc32c(stream),
    });
    body.extend_from_slice(stream);
    vec![item::seal_stored(Kind::SnapshotChunk, &body)]
}

proptest! {
    #[test]
    fn random_streams_never_panic(stream: Vec<u8>) {
        prop_assert!(decode_snapshot(&forged(&stream), &schema).is_err());
        let framed = zstd::bulk::compress(&stream, 1).unwrap();
        let _ = decode_snapshot(&forged(&framed), &schema);
        let header = item::to_body(&PartHeader {
            query: QUERY, stage: 0, rows: 1, batch_bytes: u64::MAX,
        });
        let part = [&(header.len() as u16).to_le_bytes()[..], &header, &stream].concat();
        let framed = zstd::bulk::compress(&part, 1).unwrap();
        prop_assert!(decode_snapshot(&forged(&framed), &schema).is_err());
    }

    #[test]
    fn snapshots_round_trip(parts in proptest::collection::vec((0u16..2, any::<Vec<String>>()), 0..5)) {
        let parts: Vec<_> =
            parts.into_iter().map(|(stage, keys)| (QUERY, stage, batch(keys))).collect();
        let chunks = encode_snapshot(&parts).unwrap();
        prop_assert_eq!(decode_snapshot(&chunks, &schema), Ok(parts));
    }
}
