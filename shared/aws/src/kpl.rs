//! Aggregated records of the Kinesis Producer Library: several user records in one Kinesis record.
//!
//! ```text
//! F3 89 9A C2 │ protobuf AggregatedRecord │ MD5 of the protobuf, 16 bytes
//! ```
//!
//! A record that only looks like one (wrong checksum, unreadable or incomplete protobuf, no user
//! record) is a plain record, as it is for Amazon's own libraries.
//!
//! A user record's index in its aggregate is its sub-sequence number. A plain record has
//! sub-sequence number 0 too: one Kinesis record is either, so no two records share a position.
//! An index above 22 bits cannot be: each user record takes 6 bytes at least, and 2^22 of them
//! would be 24 MiB, more than any Kinesis record may have.
//!
//! The messages are written out by hand: two fields of Amazon's schema are needed, the others
//! (partition keys, hash keys, tags) are passed over.

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const MD5_BYTES: usize = 16;
/// A user record with its two required fields, both empty: tag and length of each.
const USER_RECORD_BYTES_MIN: usize = 6;

/// What of Amazon's `AggregatedRecord` is needed.
#[derive(Clone, PartialEq, Message)]
struct AggregatedRecord {
    #[prost(message, repeated, tag = "3")]
    records: Vec<UserRecord>,
}

/// What of its `Record` is needed. Both fields are required there.
#[derive(Clone, PartialEq, Message)]
struct UserRecord {
    #[prost(uint64, optional, tag = "1")]
    partition_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    data: Option<Bytes>,
}

/// Whether a record may be an aggregate: a cheap look at its first bytes.
pub fn looks_aggregated(record: &[u8]) -> bool {
    record.starts_with(&MAGIC)
}

/// The user records of an aggregate, at least one; `None` for a plain record.
pub fn unpack(record: &[u8]) -> Option<Vec<Bytes>> {
    let rest = record.strip_prefix(&MAGIC)?;
    let (body, md5) = rest.split_at_checked(rest.len().checked_sub(MD5_BYTES)?)?;
    if Md5::digest(body)[..] != *md5 {
        return None;
    }
    if user_records(body)? > body.len() / USER_RECORD_BYTES_MIN {
        return None;
    }
    let aggregate = AggregatedRecord::decode(Bytes::copy_from_slice(body)).ok()?;
    let data = |record: UserRecord| record.partition_key_index.and(record.data);
    let records: Vec<Bytes> = aggregate.records.into_iter().map(data).collect::<Option<_>>()?;
    (!records.is_empty()).then_some(records)
}

/// How many user records a protobuf says it has; `None` when it is none. Counted before any is
/// made: empty ones take two bytes there and many times that in memory.
fn user_records(mut body: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !body.is_empty() {
        let (tag, wire_type) = decode_key(&mut body).ok()?;
        skip_field(wire_type, tag, &mut body, DecodeContext::default()).ok()?;
        count += usize::from(tag == 3);
    }
    Some(count)
}

/// An aggregate of these user records, all with the partition key `p`: what a producer sends, and
/// so what tests of consumers need.
pub fn pack(records: &[&[u8]]) -> Vec<u8> {
    const KEYS: [u8; 3] = [0x0a, 1, b'p'];
    let user = |data: &&[u8]| UserRecord {
        partition_key_index: Some(0),
        data: Some(Bytes::copy_from_slice(data)),
    };
    let aggregate = AggregatedRecord { records: records.iter().map(user).collect() };
    sealed(&[&KEYS, &aggregate.encode_to_vec()[..]].concat())
}

fn sealed(body: &[u8]) -> Vec<u8> {
    [&MAGIC, body, &Md5::digest(body)[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Amazon's aggregator writes it, tables and explicit hash keys included.
    #[derive(Clone, PartialEq, Message)]
    struct Whole {
        #[prost(string, repeated, tag = "1")]
        partition_key_table: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        explicit_hash_key_table: Vec<String>,
        #[prost(message, repeated, tag = "3")]
        records: Vec<WholeRecord>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct WholeRecord {
        #[prost(uint64, required, tag = "1")]
        partition_key_index: u64,
        #[prost(uint64, optional, tag = "2")]
        explicit_hash_key_index: Option<u64>,
        #[prost(bytes = "vec", required, tag = "3")]
        data: Vec<u8>,
    }

    #[test]
    fn user_records_come_in_their_order() {
        let record = |data: &[u8]| WholeRecord {
            partition_key_index: 1,
            explicit_hash_key_index: Some(0),
            data: data.to_vec(),
        };
        let whole = Whole {
            partition_key_table: vec!["a".to_string(), "b".to_string()],
            explicit_hash_key_table: vec!["0".to_string()],
            records: vec![record(b"first"), record(b""), record(b"third")],
        };
        let unpacked = unpack(&sealed(&whole.encode_to_vec())).unwrap();
        assert_eq!(unpacked, [&b"first"[..], b"", b"third"]);
    }

    #[test]
    fn bytes_that_amazon_aggregators_write_are_read() {
        // AggregatedRecord { table ["p"], records [{0, "one"}, {0, "two"}] }, written out.
        let body = [
            0x0a, 1, b'p', // partition_key_table
            0x1a, 7, 0x08, 0, 0x1a, 3, b'o', b'n', b'e', // records[0]
            0x1a, 7, 0x08, 0, 0x1a, 3, b't', b'w', b'o', // records[1]
        ];
        assert_eq!(unpack(&sealed(&body)).unwrap(), [&b"one"[..], b"two"]);
    }

    #[test]
    fn what_only_looks_aggregated_is_plain() {
        let mut wrong_sum = pack(&[b"a"]);
        *wrong_sum.last_mut().unwrap() ^= 1;
        assert_eq!(unpack(&wrong_sum), None);
        assert_eq!(unpack(&sealed(b"\xff\xff\xff")), None, "no protobuf");
        assert_eq!(unpack(&sealed(b"")), None, "no user record");
        assert_eq!(unpack(&sealed(&[0x1a, 0])), None, "a user record without its fields");
        assert_eq!(unpack(&MAGIC), None, "the magic number alone");
        assert_eq!(unpack(b"{}"), None);
        assert!(looks_aggregated(&wrong_sum) && !looks_aggregated(b"{}"));
    }

    #[test]
    fn more_user_records_than_can_be_complete_are_a_plain_record() {
        let complete = [0x1a, 4, 0x08, 0, 0x1a, 0];
        assert_eq!(unpack(&sealed(&complete.repeat(1000))).unwrap().len(), 1000);
        assert_eq!(user_records(&[0x1a, 0].repeat(1000)), Some(1000));
        assert_eq!(unpack(&sealed(&[0x1a, 0].repeat(1_000_000))), None);
    }

    proptest! {
        #[test]
        fn whatever_is_packed_is_unpacked(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..20),
        ) {
            let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(unpack(&pack(&slices)).unwrap(), records);
        }

        #[test]
        fn any_bytes_are_an_aggregate_or_not(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&body);
            let _ = unpack(&sealed(&body));
        }
    }
}
