use proptest::prelude::*;

use super::*;

/// An item whose checksum holds, whatever its fields say.
fn forged(kind: u8, version: u8, method: u8, body_bytes: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[kind, version, method, 0]);
    bytes.extend_from_slice(&body_bytes.to_le_bytes());
    bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), content);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn a_small_body_is_stored_and_a_repeating_one_is_compressed() {
    assert_eq!(seal(Kind::Segment, b"abc").len(), HEADER_BYTES + 3);
    assert!(seal(Kind::Segment, &[7; 10_000]).len() < 100);
}

#[test]
fn each_fault_has_its_own_error() {
    let good = seal(Kind::Checkpoint, &[1, 2, 3]);
    let open = |bytes: &[u8]| open(Kind::Checkpoint, bytes).unwrap_err();
    assert!(matches!(open(b""), CodecError::NotOurs { .. }));
    assert!(matches!(open(b"{\"json\": true}"), CodecError::NotOurs { .. }));
    assert!(matches!(open(&good[..3]), CodecError::Truncated { needed: 20, found: 3, .. }));
    assert!(matches!(open(&good[..22]), CodecError::Truncated { needed: 23, found: 22, .. }));
    assert!(matches!(open(&[&good[..], b"x"].concat()), CodecError::Malformed { .. }));
    let mut flipped = good.clone();
    flipped[21] ^= 1;
    assert!(matches!(open(&flipped), CodecError::Checksum { .. }));
    let segment = seal(Kind::Segment, &[1, 2, 3]);
    assert_eq!(
        open(&segment),
        CodecError::Kind { expected: "checkpoint", found: "segment".to_string() }
    );
    assert_eq!(
        open(&forged(2, 9, 0, 1, b"x")),
        CodecError::Version { what: "checkpoint", found: 9, known: 1 }
    );
    assert!(matches!(open(&forged(2, 1, 7, 1, b"x")), CodecError::Malformed { .. }));
    assert!(matches!(open(&forged(2, 1, 0, 2, b"x")), CodecError::Malformed { .. }));
    assert!(matches!(open(&forged(2, 1, 1, 2, b"no zstd")), CodecError::Malformed { .. }));
}

#[test]
fn a_decompression_bomb_is_refused() {
    let huge = vec![0; BODY_BYTES_MAX + 1];
    let bomb = zstd::bulk::compress(&huge, 1).unwrap();
    assert!(bomb.len() < 64 * 1024);
    let honest = forged(1, 1, ZSTD, huge.len() as u32, &bomb);
    assert!(matches!(open(Kind::Segment, &honest), Err(CodecError::TooLarge { .. })));
    let lying = forged(1, 1, ZSTD, 10, &bomb);
    assert!(matches!(open(Kind::Segment, &lying), Err(CodecError::Malformed { .. })));
}

#[test]
fn a_body_above_the_bound_fits_no_item() {
    let sealed = seal(Kind::Segment, &vec![0; SEGMENT_BODY_BYTES_MAX + 1]);
    assert!(sealed.len() > ITEM_BYTES_MAX);
    assert!(seal(Kind::Segment, &vec![0; SEGMENT_BODY_BYTES_MAX]).len() < ITEM_BYTES_MAX);
    let sealed = seal(Kind::Checkpoint, &vec![0; BODY_BYTES_MAX + 1]);
    assert!(sealed.len() > ITEM_BYTES_MAX);
    assert!(seal(Kind::Checkpoint, &vec![0; BODY_BYTES_MAX]).len() < ITEM_BYTES_MAX);
}

#[test]
fn kinds_keep_their_numbers() {
    let numbers = Kind::ALL.map(|kind| (kind as u8, kind.name()));
    assert_eq!(
        numbers,
        [
            (1, "segment"),
            (2, "checkpoint"),
            (3, "log entry"),
            (4, "emitted marker"),
            (5, "snapshot chunk")
        ]
    );
}

proptest! {
    #[test]
    fn bodies_round_trip(body: Vec<u8>, repeats in 1usize..50) {
        let body = body.repeat(repeats);
        for kind in Kind::ALL {
            let sealed = seal(kind, &body);
            prop_assert_eq!(kind_of(&sealed), Some(kind));
            prop_assert_eq!(open(kind, &sealed), Ok(body.clone()));
        }
    }

    #[test]
    fn random_bytes_are_an_error(bytes: Vec<u8>) {
        for kind in Kind::ALL {
            prop_assert!(open(kind, &bytes).is_err());
            prop_assert!(open(kind, &[&MAGIC[..], &bytes].concat()).is_err());
        }
    }

    /// The checksum finds any change of one byte, so nothing damaged reaches the decompressor.
    #[test]
    fn any_changed_byte_is_found(body: Vec<u8>, at: prop::sample::Index, with in 1u8..) {
        let mut sealed = seal(Kind::Segment, &body);
        let at = at.index(sealed.len());
        sealed[at] ^= with;
        prop_assert!(open(Kind::Segment, &sealed).is_err());
    }

    #[test]
    fn forged_headers_never_panic(
        version in 0u8..3, method in 0u8..3, body_bytes: u32, content: Vec<u8>
    ) {
        let _ = open(Kind::Segment, &forged(1, version, method, body_bytes, &content));
    }
}
