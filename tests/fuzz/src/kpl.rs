//! Aggregates of the Kinesis Producer Library.

use bytes::Bytes;
use md5::{Digest, Md5};
use tidemill_aws::kpl::{looks_aggregated, pack, unpack};

use crate::Reached;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// A user record's own header and its two required fields, each empty.
const USER_RECORD_BYTES_MIN: usize = 6;

/// A record as it came, as the body of an aggregate with a right checksum, and as the user records
/// of one (separated by byte 255).
pub fn kpl(input: &[u8]) -> Reached {
    assert!(unpack(input).is_none() || looks_aggregated(input));
    let users: Vec<&[u8]> = input.split(|byte| *byte == 0xff).collect();
    assert_eq!(
        unpack(&pack(&users)).as_deref(),
        Some(&users.iter().map(copy).collect::<Vec<_>>()[..])
    );
    match unpack(&aggregate(input)) {
        Some(users) => {
            assert!(!users.is_empty());
            let bytes: usize = users.iter().map(Bytes::len).sum();
            let least = bytes + users.len() * USER_RECORD_BYTES_MIN;
            assert!(least <= input.len(), "user records are larger than what held them");
            let slices: Vec<&[u8]> = users.iter().map(|user| &user[..]).collect();
            assert_eq!(unpack(&pack(&slices)), Some(users.clone()));
            Reached::Accepted
        }
        None => Reached::Rejected,
    }
}

/// An aggregate of this body.
pub(crate) fn aggregate(body: &[u8]) -> Vec<u8> {
    [&MAGIC, body, &Md5::digest(body)[..]].concat()
}

fn copy(user: &&[u8]) -> Bytes {
    Bytes::copy_from_slice(user)
}
