//! Markers that an epoch was emitted: kind 4. Body: [`Emitted`].

use tidemill_model::Emitted;

use crate::{
    CodecError,
    item::{self, Kind},
};

/// The bytes of an emitted marker.
pub fn encode_emitted(emitted: &Emitted) -> Vec<u8> {
    item::encode(Kind::Emitted, emitted)
}

/// The emitted marker of [`encode_emitted`]'s bytes.
pub fn decode_emitted(bytes: &[u8]) -> Result<Emitted, CodecError> {
    item::decode(Kind::Emitted, bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use tidemill_model::Epoch;

    use super::*;

    proptest! {
        #[test]
        fn markers_round_trip(epoch: u64, sinks: BTreeMap<String, Vec<u8>>) {
            let emitted = Emitted { epoch: Epoch(epoch), sinks };
            prop_assert_eq!(decode_emitted(&encode_emitted(&emitted)), Ok(emitted));
        }

        #[test]
        fn random_bodies_never_panic(body: Vec<u8>) {
            let _ = decode_emitted(&item::seal(Kind::Emitted, &body));
            let _ = decode_emitted(&body);
        }
    }
}
