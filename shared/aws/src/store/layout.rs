//! Items of the table, and how keys and times are written in them.
//!
//! DynamoDB takes no empty text as a key. A key that is empty or begins with U+0000 gets one more
//! U+0000 in front: no two keys become one, and their byte order stays. Keys that Tidemill uses are
//! neither, so they are written as they are.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use tidemill_model::WallMs;
use tidemill_model::store::{Item, Row, StoreError};

use super::failure::Call;

/// Partition key.
pub(super) const PK: &str = "pk";
/// Sort key.
pub(super) const SK: &str = "sk";
/// The value.
const VALUE: &str = "value";
/// When the item may be deleted: the table's TTL attribute.
pub(super) const EXPIRES_AT: &str = "expires_at";

/// Attributes of an item.
#[expect(clippy::disallowed_types, reason = "the SDK's own; looked up by name only")]
pub(super) type Attributes = std::collections::HashMap<String, AttributeValue>;

/// A key as it is written.
pub(super) fn key(key: &str) -> String {
    match key.starts_with('\0') || key.is_empty() {
        true => format!("\0{key}"),
        false => key.to_string(),
    }
}

/// A time as TTL wants it: whole seconds, rounded up so that nothing goes early.
pub(super) fn expiry(at: WallMs) -> AttributeValue {
    let seconds = at.0.div_euclid(1000) + i64::from(at.0.rem_euclid(1000) > 0);
    AttributeValue::N(seconds.to_string())
}

/// What is written for an item.
pub(super) fn item(pk: &str, sk: &str, item: Item) -> Attributes {
    let mut attributes = BTreeMap::from([
        (PK, AttributeValue::S(key(pk))),
        (SK, AttributeValue::S(key(sk))),
        (VALUE, AttributeValue::B(item.bytes.into())),
    ]);
    if let Some(at) = item.expires_at {
        attributes.insert(EXPIRES_AT, expiry(at));
    }
    attributes.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// The row that an item of the table is.
pub(super) fn row_of(call: &Call<'_>, mut attributes: Attributes) -> Result<Row, StoreError> {
    let damaged = |sk: &str, what: &str| StoreError::Damaged {
        reason: format!(
            "{what}. Give the state a table that nothing else writes to. table=`{}` pk=`{}` \
             sk=`{sk}`",
            call.table, call.pk
        ),
    };
    let Some(AttributeValue::S(sk)) = attributes.remove(SK) else {
        return Err(damaged("", "an item has no text `sk`"));
    };
    let sk = sk.strip_prefix('\0').map(str::to_string).unwrap_or(sk);
    let Some(AttributeValue::B(bytes)) = attributes.remove(VALUE) else {
        return Err(damaged(&sk, "an item has no bytes `value`"));
    };
    let expires_at = match attributes.remove(EXPIRES_AT) {
        None => None,
        Some(AttributeValue::N(seconds)) => match seconds.parse::<i64>() {
            Ok(seconds) => Some(WallMs(seconds.saturating_mul(1000))),
            Err(_) => return Err(damaged(&sk, "the `expires_at` of an item is not in seconds")),
        },
        Some(_) => return Err(damaged(&sk, "the `expires_at` of an item is not a number")),
    };
    Ok(Row { sk, item: Item { bytes: bytes.into_inner(), expires_at } })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::failure::Operation;

    const CALL: Call<'_> =
        Call { operation: Operation::Query, table: "state", pk: "p", sk: "", bytes: 0 };

    proptest! {
        #[test]
        fn keys_keep_their_order_and_are_never_empty(a in "[\0a-c]{0,3}", b in "[\0a-c]{0,3}") {
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
            prop_assert!(!key(&a).is_empty());
        }

        #[test]
        fn items_are_read_as_they_were_written(
            sk in "[\0a-c]{0,3}", bytes: Vec<u8>, seconds in proptest::option::of(-99i64..99),
        ) {
            let expires_at = seconds.map(|seconds| WallMs(seconds * 1000));
            let row = Row { sk: sk.clone(), item: Item { bytes, expires_at } };
            let written = item("p", &sk, row.item.clone());
            prop_assert_eq!(row_of(&CALL, written), Ok(row));
        }
    }

    #[test]
    fn keys_of_tidemill_are_written_as_they_are() {
        assert_eq!(key("flights/log/flights/0"), "flights/log/flights/0");
    }

    #[test]
    fn expiry_is_rounded_up_to_a_second() {
        for (ms, seconds) in
            [(0, "0"), (1, "1"), (1000, "1"), (1001, "2"), (-1, "0"), (-1000, "-1")]
        {
            assert_eq!(expiry(WallMs(ms)), AttributeValue::N(seconds.to_string()), "{ms}");
        }
    }

    #[test]
    fn an_item_of_somebody_else_is_damage() {
        let text = |text: &str| AttributeValue::S(text.to_string());
        let number = |text: &str| AttributeValue::N(text.to_string());
        let bytes = || AttributeValue::B(vec![1].into());
        for (attributes, said) in [
            (vec![("sk", number("1")), ("value", bytes())], "text `sk`"),
            (vec![("sk", text("a"))], "bytes `value`"),
            (vec![("sk", text("a")), ("value", text("v"))], "bytes `value`"),
            (vec![("sk", text("a")), ("value", bytes()), ("expires_at", text("1"))], "number"),
            (vec![("sk", text("a")), ("value", bytes()), ("expires_at", number("1.5"))], "seconds"),
        ] {
            let attributes = attributes.into_iter().map(|(name, value)| (name.to_string(), value));
            let Err(StoreError::Damaged { reason }) = row_of(&CALL, attributes.collect()) else {
                panic!("taken for ours: {said}");
            };
            assert!(reason.contains(said) && reason.contains("table=`state`"), "{reason}");
        }
    }
}
