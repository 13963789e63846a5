//! Stored rows: batches and snapshots, damaged behind every checksum.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, SchemaRef};
use tidemill_codec::item::{self, Kind};
use tidemill_codec::{CodecError, decode_batch, decode_snapshot, encode_batch, encode_snapshot};
use tidemill_flow::decode::Decoder;
use tidemill_model::Fingerprint;
use tidemill_pipeline::Format;

use crate::Reached;
use crate::decode::is_valid;
use crate::text::{Text, log};

const QUERY: Fingerprint = Fingerprint(7);
const STAGE: u16 = 1;

/// The rows of a CSV text, written, damaged and read. The input: a number of damages, for each two
/// bytes of a place and one to change it with, then the text.
pub fn record_batch(input: &[u8]) -> Reached {
    let (damages, text) = damages(input);
    let rows = rows(text);
    let schema = rows.schema();
    let mut bytes = encode_batch(&rows).unwrap();
    assert_eq!(decode_batch(&schema, &bytes).as_ref(), Ok(&rows));
    for damage in damages {
        let at = usize::from(u16::from_le_bytes([damage[0], damage[1]])) % bytes.len();
        bytes[at] ^= damage[2];
    }
    // The text itself is tried in place of a message too.
    read_batch(&schema, text);
    read_batch(&schema, &bytes)
}

fn read_batch(schema: &SchemaRef, bytes: &[u8]) -> Reached {
    match decode_batch(schema, bytes) {
        Ok(rows) => {
            is_valid(&rows, rows.num_rows());
            comes_back(schema, &rows);
            Reached::Accepted
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Reached::Rejected
        }
    }
}

fn damages(input: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (count, rest) = input.split_first().unwrap_or((&0, &[]));
    let bytes = (usize::from(*count % 8) * 3).min(rest.len() / 3 * 3);
    let (damages, text) = rest.split_at(bytes);
    (damages.chunks_exact(3).collect(), text)
}

fn comes_back(schema: &SchemaRef, rows: &RecordBatch) {
    let again = decode_batch(schema, &encode_batch(rows).unwrap()).unwrap();
    // Compared as text: a value behind a null may be anything, and a NaN is not itself.
    assert_eq!(format!("{again:?}"), format!("{rows:?}"));
}

/// The rows of a text, with a view, a list and a struct of its columns: the shapes that states have.
fn rows(text: &[u8]) -> RecordBatch {
    let text = Text::read(text, Format::Csv);
    let text = Text { header: None, ..text };
    let raw = text.raw(0, text.records.len());
    let rows = Decoder::new(&text.stream, None).unwrap().decode(&log(), raw).rows;
    let first = Arc::clone(rows.column(0));
    let each = OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows.num_rows()));
    let element = Arc::new(Field::new("item", first.data_type().clone(), true));
    let list = ListArray::new(element, each, Arc::clone(&first), None);
    let fields = vec![
        (Arc::new(Field::new("a", first.data_type().clone(), true)), Arc::clone(&first)),
        (Arc::new(Field::new("l", list.data_type().clone(), true)), Arc::new(list) as ArrayRef),
    ];
    let mut columns: Vec<(String, ArrayRef)> = (0..)
        .zip(rows.columns())
        .map(|(n, column)| (format!("c{n}"), Arc::clone(column)))
        .collect();
    if *first.data_type() == DataType::Utf8 {
        columns.push(("view".to_string(), cast(&first, &DataType::Utf8View).unwrap()));
    }
    columns.push(("pair".to_string(), Arc::new(StructArray::from(fields))));
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A snapshot. The input: how it is damaged, how, then a text whose rows are its parts, or the
/// stream of parts, or a chunk's body.
pub fn snapshot(input: &[u8]) -> Reached {
    let [way, how, rest @ ..] = input else { return Reached::Rejected };
    let rows = rows(rest);
    let schema = rows.schema();
    let known = |query, stage| (query == QUERY && stage == STAGE).then(|| Arc::clone(&schema));
    let read = |chunks: &[Vec<u8>]| match decode_snapshot(chunks, &known) {
        Ok(parts) => {
            for (query, stage, rows) in &parts {
                assert_eq!((*query, *stage), (QUERY, STAGE));
                is_valid(rows, rows.num_rows());
                comes_back(&schema, rows);
            }
            let again = decode_snapshot(&encode_snapshot(&parts).unwrap(), &known);
            assert_eq!(again.map(|again| again.len()), Ok(parts.len()));
            Reached::Accepted
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Reached::Rejected
        }
    };
    let parts: Vec<_> = (0..how % 4).map(|_| (QUERY, STAGE, rows.clone())).collect();
    let chunks = encode_snapshot(&parts).unwrap();
    assert_eq!(decode_snapshot(&chunks, &known).as_ref(), Ok(&parts));
    match way % 5 {
        // Chunks that are missing, or come twice.
        0 => {
            let pieces = cut(&stream(&chunks), usize::from(how / 4) % 7 + 2);
            assert_eq!(decode_snapshot(&pieces, &known).as_ref(), Ok(&parts), "any cut will do");
            let at = usize::from(*how) % pieces.len();
            let (mut less, mut more, mut turned) = (pieces.clone(), pieces.clone(), pieces);
            less.remove(at);
            more.insert(at, more[at].clone());
            turned.reverse();
            for chunks in [less, more, turned] {
                assert!(decode_snapshot(&chunks, &known).is_err(), "chunks that are no snapshot");
            }
            Reached::Accepted
        }
        // A state that another query's snapshot has.
        1 => {
            let other = |_, _| None;
            let refused = decode_snapshot(&chunks, &other);
            assert!(parts.is_empty() || matches!(refused, Err(CodecError::UnknownQuery { .. })));
            Reached::Accepted
        }
        // Parts that nobody wrote.
        2 => read(&cut(&compressed(rest), usize::from(how % 3) + 1)),
        // A stream that nobody compressed.
        3 => read(&cut(rest, usize::from(how % 3) + 1)),
        _ => read(&[item::seal(Kind::SnapshotChunk, rest)]),
    }
}

fn compressed(stream: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(stream).unwrap();
    encoder.finish().unwrap()
}

/// A chunk's numbers, as `codec::snapshot` writes them: number, chunks, bytes and checksum of the
/// stream.
type ChunkHeader = (u32, u32, u64, u32);

/// The stream in chunks.
fn stream(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for chunk in chunks {
        let body = item::open(Kind::SnapshotChunk, chunk).unwrap();
        let (_, piece) = postcard::take_from_bytes::<ChunkHeader>(&body).unwrap();
        stream.extend_from_slice(piece);
    }
    stream
}

/// A stream as about `count` chunks.
fn cut(stream: &[u8], count: usize) -> Vec<Vec<u8>> {
    let pieces: Vec<&[u8]> = stream.chunks(stream.len().div_ceil(count).max(1)).collect();
    let (bytes, checksum) = (stream.len() as u64, crc32c::crc32c(stream));
    let chunk = |(number, piece): (u32, &&[u8])| {
        let header: ChunkHeader = (number, pieces.len() as u32, bytes, checksum);
        let body = [&postcard::to_stdvec(&header).unwrap(), *piece].concat();
        item::seal(Kind::SnapshotChunk, &body)
    };
    (0..).zip(&pieces).map(chunk).collect()
}
