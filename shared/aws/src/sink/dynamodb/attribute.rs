//! One value of a result row as a DynamoDB attribute.
//!
//! | type | attribute |
//! |---|---|
//! | integers, floats, decimals | N, exact; S where N cannot hold it: `NaN`, `Infinity`, more than 38 digits, magnitudes from 1E126 or below 1E-130 |
//! | booleans | BOOL |
//! | text | S |
//! | binary | B |
//! | lists | L |
//! | structs, maps | M |
//! | timestamps, dates, times, durations, intervals | S, as in JSON lines ([`tidemill_flow::emit::json`]) |
//!
//! A null column is no attribute; a null within a list or a map is NULL.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use tidemill_flow::emit::json;

use super::super::rows::text;

/// DynamoDB nests 32 levels deep. What lies deeper is JSON text.
const LEVELS_MAX: usize = 30;
/// What a list, a map and each of their values cost beside their content.
const NESTED_BYTES: usize = 3;

/// Value `row` of `array`.
pub(super) fn attribute(array: &dyn Array, row: usize) -> AttributeValue {
    nested(array, row, 0)
}

fn nested(array: &dyn Array, row: usize, level: usize) -> AttributeValue {
    if array.is_null(row) {
        return AttributeValue::Null(true);
    }
    let data_type = array.data_type();
    if level == LEVELS_MAX && data_type.is_nested() {
        return json_text(array, row);
    }
    let list = |items: &dyn Array| {
        let items = (0..items.len()).map(|index| nested(items, index, level + 1));
        AttributeValue::L(items.collect())
    };
    match data_type {
        DataType::Boolean => AttributeValue::Bool(array.as_boolean().value(row)),
        DataType::Binary => AttributeValue::B(Blob::new(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => AttributeValue::B(Blob::new(array.as_binary::<i64>().value(row))),
        DataType::BinaryView => AttributeValue::B(Blob::new(array.as_binary_view().value(row))),
        DataType::FixedSizeBinary(_) => {
            AttributeValue::B(Blob::new(array.as_fixed_size_binary().value(row)))
        }
        DataType::List(_) => list(array.as_list::<i32>().value(row).as_ref()),
        DataType::LargeList(_) => list(array.as_list::<i64>().value(row).as_ref()),
        DataType::ListView(_) => list(array.as_list_view::<i32>().value(row).as_ref()),
        DataType::LargeListView(_) => list(array.as_list_view::<i64>().value(row).as_ref()),
        DataType::FixedSizeList(..) => list(array.as_fixed_size_list().value(row).as_ref()),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let members = columns.map(|(field, column)| {
                (field.name().clone(), nested(column.as_ref(), row, level + 1))
            });
            AttributeValue::M(members.collect())
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let names: Vec<String> = (0..entries.len()).map(|n| text(keys.as_ref(), n)).collect();
            // DynamoDB has no member without a name.
            if names.iter().any(String::is_empty) {
                return json_text(array, row);
            }
            let members = names.into_iter().enumerate();
            let members = members.map(|(n, name)| (name, nested(values.as_ref(), n, level + 1)));
            AttributeValue::M(members.collect())
        }
        DataType::Dictionary(..) => {
            // Keys are normalized for a whole array, so of one row only.
            let one = array.slice(row, 1);
            let dictionary = one.as_any_dictionary();
            nested(dictionary.values().as_ref(), dictionary.normalized_keys()[0], level)
        }
        other => {
            let text = text(array, row);
            let is_number = other.is_numeric();
            if is_number && fits_number(&text) {
                AttributeValue::N(text)
            } else {
                AttributeValue::S(text)
            }
        }
    }
}

fn json_text(array: &dyn Array, row: usize) -> AttributeValue {
    let mut json = Vec::new();
    json::write_value(array, row, &mut json);
    AttributeValue::S(String::from_utf8_lossy(&json).into_owned())
}

/// Whether DynamoDB's N holds this number exactly: at most 38 digits, 1E-130 to 9.99…E125.
fn fits_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (digits, exponent) = match unsigned.split_once('e') {
        Some((digits, exponent)) => match exponent.parse::<i64>() {
            Ok(exponent) => (digits, exponent),
            Err(_) => return false,
        },
        None => (unsigned, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let Some(first) = all.iter().position(|digit| *digit != b'0') else { return true };
    let last = all.iter().rposition(|digit| *digit != b'0').unwrap_or(first);
    let magnitude = whole.len() as i64 - 1 - first as i64 + exponent;
    last - first < 38 && (-130..=125).contains(&magnitude)
}

/// What an attribute's value costs, or a little more.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
pub(super) fn bytes_of(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        // Two digits a byte, and two bytes.
        AttributeValue::N(text) => text.len() / 2 + 3,
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::L(items) => {
            let items = items.iter().map(|item| bytes_of(item) + 1);
            NESTED_BYTES + items.sum::<usize>()
        }
        AttributeValue::M(members) => {
            let members = members.iter().map(|(name, value)| name.len() + bytes_of(value) + 1);
            NESTED_BYTES + members.sum::<usize>()
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::types::Int32Type;
    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array,
        Int64Array, ListArray, MapBuilder, StringArray, StringBuilder, StructArray,
        TimestampMillisecondArray, UInt64Array,
    };
    use arrow::datatypes::Field;

    use super::*;

    fn n(text: &str) -> AttributeValue {
        AttributeValue::N(text.to_string())
    }

    fn s(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_string())
    }

    fn all(array: impl Array) -> Vec<AttributeValue> {
        (0..array.len()).map(|row| attribute(&array, row)).collect()
    }

    #[test]
    fn numbers_are_exact_or_text() {
        assert_eq!(all(Int64Array::from(vec![i64::MIN])), [n("-9223372036854775808")]);
        assert_eq!(all(UInt64Array::from(vec![u64::MAX])), [n("18446744073709551615")]);
        let floats = vec![0.1, -0.0, 1e125, 1e126, 1e-130, 1e-131, f64::NAN, f64::NEG_INFINITY];
        assert_eq!(
            all(Float64Array::from(floats)),
            [
                n("0.1"),
                n("-0.0"),
                n("1e+125"),
                s("1e+126"),
                n("1e-130"),
                s("1e-131"),
                s("NaN"),
                s("-Infinity"),
            ]
        );
        let decimals = Decimal128Array::from(vec![12_345, -5, 10_i128.pow(38) - 1]);
        let decimals = decimals.with_precision_and_scale(38, 2).unwrap();
        assert_eq!(
            all(decimals),
            [n("123.45"), n("-0.05"), n("999999999999999999999999999999999999.99")]
        );
    }

    #[test]
    fn what_number_fits() {
        let nines = "9".repeat(38);
        for fits in ["0", "-0.0", "0.000", &nines, &(nines.clone() + "000"), "9.99e125", "1e-130"] {
            assert!(fits_number(fits), "{fits}");
        }
        let many = format!("{}{nines}", 1);
        for not in [&*many, "1e126", "0.1e-130", "NaN", "", "-", "1e", "0x1", "Infinity"] {
            assert!(!fits_number(not), "{not}");
        }
    }

    #[test]
    fn what_is_no_number() {
        assert_eq!(all(BooleanArray::from(vec![true])), [AttributeValue::Bool(true)]);
        assert_eq!(all(StringArray::from(vec!["", "1", "\"\n"])), [s(""), s("1"), s("\"\n")]);
        let bytes: &[u8] = &[0, 255];
        assert_eq!(all(BinaryArray::from(vec![bytes])), [AttributeValue::B(Blob::new(bytes))]);
        let times = TimestampMillisecondArray::from(vec![1_357_020_000_000]);
        assert_eq!(all(times), [s("2013-01-01T06:00:00.000Z")]);
        assert_eq!(all(StringArray::from(vec![None::<&str>])), [AttributeValue::Null(true)]);
        let words: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
        assert_eq!(all(words), [s("a"), s("b"), s("a")]);
    }

    #[test]
    fn lists_structs_and_maps() {
        let lists = ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(vec![
            Some(vec![Some(1), None]),
            Some(vec![]),
        ]);
        let list = |items: Vec<AttributeValue>| AttributeValue::L(items);
        assert_eq!(all(lists), [list(vec![n("1"), AttributeValue::Null(true)]), list(vec![])]);

        let field = Arc::new(Field::new("a", DataType::Int64, true));
        let column = Arc::new(Int64Array::from(vec![7])) as ArrayRef;
        let structs = StructArray::from(vec![(field, column)]);
        let member = |name: &str, value| AttributeValue::M([(name.to_string(), value)].into());
        assert_eq!(all(structs), [member("a", n("7"))]);

        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        maps.keys().append_value("k/1");
        maps.values().append_value("v");
        maps.append(true).unwrap();
        maps.keys().append_value("");
        maps.values().append_value("v");
        maps.append(true).unwrap();
        assert_eq!(all(maps.finish()), [member("k/1", s("v")), s(r#"{"":"v"}"#)]);
    }

    #[test]
    fn deep_nesting_ends_as_json_text() {
        let mut array = Arc::new(Int64Array::from(vec![7])) as ArrayRef;
        for _ in 0..LEVELS_MAX + 2 {
            let field = Arc::new(Field::new("a", array.data_type().clone(), true));
            array = Arc::new(StructArray::from(vec![(field, array)]));
        }
        let mut value = attribute(array.as_ref(), 0);
        let mut levels = 0;
        while let AttributeValue::M(mut members) = value {
            value = members.remove("a").unwrap();
            levels += 1;
        }
        assert_eq!((levels, value), (LEVELS_MAX, s(r#"{"a":{"a":7}}"#)));
    }

    #[test]
    fn sizes_are_never_too_small() {
        assert_eq!(bytes_of(&s("äb")), 3);
        // DynamoDB: half a byte a digit, one byte, and one for a minus.
        assert!(bytes_of(&n("-1234567")) >= 6);
        assert_eq!(bytes_of(&AttributeValue::L(vec![s("ab"), s("c")])), 3 + 3 + 2);
    }
}
