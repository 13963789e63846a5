//! Records as the Kinesis Producer Library packs them: several user records in one.
//!
//! Magic bytes, a protocol buffer, and its MD5, as KPL's own `aggregation-format.md` has it.

use md5::{Digest, Md5};
use prost::Message;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

#[derive(Clone, PartialEq, Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<UserRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct UserRecord {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    data: Vec<u8>,
}

/// One record that holds all of `records`.
pub fn aggregate(records: &[Vec<u8>]) -> Vec<u8> {
    let message = AggregatedRecord {
        partition_key_table: vec!["a".to_string(), "b".to_string()],
        explicit_hash_key_table: Vec::new(),
        records: records
            .iter()
            .zip(0u64..)
            .map(|(data, number)| UserRecord {
                partition_key_index: number % 2,
                explicit_hash_key_index: None,
                data: data.clone(),
            })
            .collect(),
    };
    let message = message.encode_to_vec();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&message);
    bytes.extend_from_slice(&Md5::digest(&message));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aggregate_has_the_documented_bytes() {
        let bytes = aggregate(&[b"x".to_vec()]);
        let message = [0x0a, 1, b'a', 0x0a, 1, b'b', 0x1a, 5, 0x08, 0, 0x1a, 1, b'x'];
        assert_eq!(bytes[..4], MAGIC);
        assert_eq!(bytes[4..bytes.len() - 16], message);
        assert_eq!(bytes[bytes.len() - 16..], *Md5::digest(message));
    }
}
