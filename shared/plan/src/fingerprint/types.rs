//! Types and schemas as text of our own, for fingerprints: another version of the engine that spells
//! its types otherwise must not give a query another fingerprint.

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit};

/// The columns of a schema: names with their lengths, types, and whether they may be null.
pub(super) fn schema(schema: &Schema) -> String {
    schema.fields().iter().map(|it| field(it)).collect::<Vec<_>>().join(",")
}

/// One column.
pub(super) fn field(field: &Field) -> String {
    let name = field.name();
    let null = if field.is_nullable() { "?" } else { "" };
    format!("{}:{name}:{}{null}", name.len(), data_type(field.data_type()))
}

fn data_type(data_type_: &DataType) -> String {
    use DataType as T;
    match data_type_ {
        T::Null => "null".to_string(),
        T::Boolean => "boolean".to_string(),
        T::Int8 => "int8".to_string(),
        T::Int16 => "int16".to_string(),
        T::Int32 => "int32".to_string(),
        T::Int64 => "int64".to_string(),
        T::UInt8 => "uint8".to_string(),
        T::UInt16 => "uint16".to_string(),
        T::UInt32 => "uint32".to_string(),
        T::UInt64 => "uint64".to_string(),
        T::Float16 => "float16".to_string(),
        T::Float32 => "float32".to_string(),
        T::Float64 => "float64".to_string(),
        T::Timestamp(of, None) => format!("timestamp({})", unit(of)),
        T::Timestamp(of, Some(zone)) => format!("timestamp({},{}:{zone})", unit(of), zone.len()),
        T::Date32 => "date32".to_string(),
        T::Date64 => "date64".to_string(),
        T::Time32(of) => format!("time32({})", unit(of)),
        T::Time64(of) => format!("time64({})", unit(of)),
        T::Duration(of) => format!("duration({})", unit(of)),
        T::Interval(IntervalUnit::YearMonth) => "interval(months)".to_string(),
        T::Interval(IntervalUnit::DayTime) => "interval(days)".to_string(),
        T::Interval(IntervalUnit::MonthDayNano) => "interval(all)".to_string(),
        T::Binary => "binary".to_string(),
        T::FixedSizeBinary(size) => format!("binary({size})"),
        T::LargeBinary => "large_binary".to_string(),
        T::BinaryView => "binary_view".to_string(),
        T::Utf8 => "text".to_string(),
        T::LargeUtf8 => "large_text".to_string(),
        T::Utf8View => "text_view".to_string(),
        T::List(item) => format!("list({})", field(item)),
        T::ListView(item) => format!("list_view({})", field(item)),
        T::FixedSizeList(item, size) => format!("list({},{size})", field(item)),
        T::LargeList(item) => format!("large_list({})", field(item)),
        T::LargeListView(item) => format!("large_list_view({})", field(item)),
        T::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|it| field(it)).collect();
            format!("struct({})", fields.join(","))
        }
        T::Union(fields, mode) => {
            let fields: Vec<String> =
                fields.iter().map(|(id, it)| format!("{id}={}", field(it))).collect();
            let mode = match mode {
                arrow::datatypes::UnionMode::Sparse => "sparse",
                arrow::datatypes::UnionMode::Dense => "dense",
            };
            format!("union({mode},{})", fields.join(","))
        }
        T::Dictionary(key, value) => {
            format!("dictionary({},{})", data_type(key), data_type(value))
        }
        T::Decimal32(precision, scale) => format!("decimal32({precision},{scale})"),
        T::Decimal64(precision, scale) => format!("decimal64({precision},{scale})"),
        T::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        T::Decimal256(precision, scale) => format!("decimal256({precision},{scale})"),
        T::Map(entries, is_sorted) => format!("map({},{is_sorted})", field(entries)),
        T::RunEndEncoded(ends, values) => format!("runs({},{})", field(ends), field(values)),
    }
}

fn unit(unit: &TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These texts are hashed: a change here gives every query another fingerprint.
    #[test]
    fn types_are_spelled_as_ever() {
        let columns = Schema::new(vec![
            Field::new("k", DataType::Utf8, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), false),
            Field::new("price", DataType::Decimal128(18, 2), true),
            Field::new_list("l", Field::new_list_field(DataType::Int64, true), false),
        ]);
        assert_eq!(
            schema(&columns),
            "1:k:text?,2:at:timestamp(ms),5:price:decimal(18,2)?,1:l:list(4:item:int64?)"
        );
    }
}
