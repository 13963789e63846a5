//! Expressions over rows of a table, planned and run as a query's are.

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::sql::parser::Statement;
use jiff::civil::{Date, DateTime, date};
use jiff::{ToSpan, Unit};

use super::*;
use crate::engine::{self, Functions};
use crate::functions::CheckpointTime;
use crate::run::Runner;

type Columns = Vec<(&'static str, ArrayRef)>;

/// The rows of a query over the table `t`, each as text and type of its columns.
fn rows(columns: &Columns, sql: &str) -> Result<Vec<Vec<String>>> {
    let context = engine::session(&CheckpointTime::default(), &Functions::default());
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| Field::new(*name, values.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let values = columns.iter().map(|(_, values)| Arc::clone(values)).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), values)?;
    context.register_table("t", Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))?;
    let statement = crate::sql::parse(sql).unwrap();
    let state = context.state();
    let statement = Statement::Statement(Box::new(statement));
    let plan = engine::now(state.statement_to_plan(statement))??;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let plan = state.optimize(&plan)?;
    let mut given = Vec::new();
    for batch in Runner::new(&state, &plan)?.run(|_| Ok(None))? {
        for row in 0..batch.num_rows() {
            let text = |values: &ArrayRef| match values.is_null(row) {
                true => Ok("NULL".to_string()),
                false => array_value_to_string(values, row),
            };
            given.push(batch.columns().iter().map(text).collect::<Result<_, _>>()?);
        }
    }
    Ok(given)
}

/// The one value of an expression over the one row of `t`.
fn value(columns: &Columns, expr: &str) -> Result<String> {
    let rows = rows(columns, &format!("SELECT {expr} AS x FROM t"))?;
    assert_eq!((rows.len(), rows[0].len()), (1, 1), "{expr}");
    Ok(rows[0][0].clone())
}

/// The engine made DECIMAL(30, 15) of both, so that large doubles failed and small ones were cut.
#[test]
fn a_decimal_beside_a_double_is_a_double() {
    let columns: Columns = vec![
        ("y", Arc::new(Float64Array::from(vec![1e300]))),
        ("z", Arc::new(Float64Array::from(vec![1e-300]))),
        ("d", decimals(&[-1], 10, 2)),
    ];
    for (expr, expected) in [
        ("y = d", "false"),
        ("y > CAST('1.00' AS DECIMAL(10, 2))", "true"),
        ("z > CAST(0 AS DECIMAL(10, 2))", "true"),
        ("y IS DISTINCT FROM d", "true"),
        ("d BETWEEN -y AND z", "true"),
        ("y IN (d, 2.5)", "false"),
        ("COALESCE(CAST(NULL AS DECIMAL(10, 2)), y)", "1e300"),
        ("GREATEST(d, z)", "1e-300"),
        ("CASE WHEN d < 0 THEN y ELSE d END", "1e300"),
        ("CASE d WHEN y THEN 1 ELSE 2 END", "2"),
    ] {
        assert_eq!(value(&columns, expr).unwrap(), expected, "{expr}");
    }
    let mut united = rows(&columns, "SELECT d AS x FROM t UNION ALL SELECT y FROM t").unwrap();
    united.sort();
    assert_eq!(united, [["-0.01"], ["1e300"]]);
}

fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(values.to_vec());
    Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
}

/// A decimal column lost its exactness at the first literal; now what a literal is follows from what
/// stands beside it.
#[test]
fn a_literal_with_a_point_is_what_it_stands_beside() {
    let columns: Columns = vec![
        ("price", decimals(&[30], 10, 2)),
        ("whole", Arc::new(Int64Array::from(vec![3]))),
        ("x", Arc::new(Float64Array::from(vec![0.3]))),
        ("k", Arc::new(StringArray::from(vec!["a"]))),
    ];
    for (expr, data_type, wanted) in [
        ("price - 0.10", "Decimal128(11, 2)", "0.20"),
        ("price - 0.10 = 0.20", "Boolean", "true"),
        ("price * 1.1", "Decimal128(13, 3)", "0.330"),
        ("-1.10 * price", "Decimal128(14, 4)", "-0.3300"),
        ("0.1 + 0.2", "Decimal128(2, 1)", "0.3"),
        ("0.1 + 0.2 = 0.3", "Boolean", "true"),
        ("0.1 + 0.2 = x", "Boolean", "true"),
        ("whole * 0.1 = 0.3", "Boolean", "false"),
        ("price IN (0.1, 0.30)", "Boolean", "true"),
        ("price BETWEEN 0.3 AND 0.30", "Boolean", "true"),
        ("CASE WHEN k = 'a' THEN price ELSE 0.001 END", "Decimal128(11, 3)", "0.300"),
        ("COALESCE(price, 0.0)", "Decimal128(10, 2)", "0.30"),
        ("price * CASE k WHEN 'a' THEN 0.5 ELSE 1.5 END", "Decimal128(13, 3)", "0.150"),
        (
            "CAST(123456789012345678.91 AS DECIMAL(20, 2))",
            "Decimal128(20, 2)",
            "123456789012345678.91",
        ),
        ("CASE price WHEN 0.30 THEN 1 ELSE 2 END", "Int64", "1"),
        // Doubles as ever: alone, beside a whole number or a double, with an exponent.
        ("1.50", "Float64", "1.5"),
        ("-1.50", "Float64", "-1.5"),
        ("whole * 1.5", "Float64", "4.5"),
        ("x + 0.1", "Float64", "0.4"),
        ("price * 1e0", "Float64", "0.3"),
        ("COALESCE(NULL, 0.5)", "Float64", "0.5"),
        ("CASE WHEN k = 'a' THEN 0.5 ELSE 1.5 END", "Float64", "0.5"),
        ("CASE WHEN k = 'a' THEN 0.5 ELSE whole END", "Float64", "0.5"),
        ("round(2.5)", "Float64", "3.0"),
        ("CAST(1.10 AS VARCHAR)", "Utf8", "1.1"),
    ] {
        assert_eq!(value(&columns, expr).unwrap(), wanted, "{expr}");
        let of = value(&columns, &format!("arrow_typeof({expr})")).unwrap();
        assert_eq!(of, data_type, "{expr}");
    }
}

/// Result columns without a name were called by what a literal becomes inside.
#[test]
fn columns_without_a_name_keep_theirs() {
    let columns: Columns = vec![("price", decimals(&[30], 10, 2))];
    let named = |expr: &str| {
        rows(&columns, &format!("SELECT \"t.price * Float64(1.5)\" FROM (SELECT {expr} FROM t)"))
    };
    assert_eq!(named("price * 1.50").unwrap(), [["0.4500"]]);
    let divided = "SELECT \"t.price / Int64(3)\" FROM (SELECT price / 3 FROM t)";
    assert_eq!(rows(&columns, divided).unwrap(), [["0.100000"]]);
}

/// Long division with a pen: digits one after the other, half rounded away from zero.
fn by_hand(dividend: i128, divisor: i128, digits: u32) -> String {
    let (a, b) = (dividend.unsigned_abs(), divisor.unsigned_abs());
    let (mut quotient, mut rest) = (a / b, a % b);
    for _ in 0..digits {
        quotient = quotient * 10 + rest * 10 / b;
        rest = rest * 10 % b;
    }
    quotient += u128::from(rest * 2 >= b);
    let sign = if (dividend < 0) != (divisor < 0) && quotient > 0 { "-" } else { "" };
    let one = 10u128.pow(digits);
    format!("{sign}{}.{:0width$}", quotient / one, quotient % one, width = digits as usize)
}

/// The engine cut quotients off, and failed where four more digits did not fit into 38.
#[test]
fn quotients_of_decimals_are_those_of_long_division() {
    let mut state = 7u64;
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i128::from((state >> 16) % below)
    };
    for _ in 0..60 {
        let dividend = random(2_000_001) - 1_000_000;
        let divisor = random(999) + 1;
        let divisor = if random(2) == 0 { divisor } else { -divisor };
        let columns: Columns =
            vec![("a", decimals(&[dividend], 10, 2)), ("b", decimals(&[divisor], 5, 2))];
        // Both have two digits after the point.
        assert_eq!(value(&columns, "a / b").unwrap(), by_hand(dividend, divisor, 6), "{columns:?}");
    }
    let large: Columns = vec![("e", decimals(&[10i128.pow(38) - 1], 38, 10))];
    assert_eq!(value(&large, "e / 3").unwrap(), "3333333333333333333333333333.3333333333");
    let small: Columns = vec![("d", decimals(&[2], 10, 2)), ("zero", decimals(&[0], 10, 2))];
    assert_eq!(value(&small, "d / 3").unwrap(), "0.006667");
    assert_eq!(value(&small, "1 / d").unwrap(), "50.0000");
    assert_eq!(value(&small, "d / NULL").unwrap(), "NULL");
    assert!(value(&small, "d / zero").unwrap_err().to_string().contains("Divide by zero"));
    assert!(value(&small, "d / 0").unwrap_err().to_string().contains("Divide by zero"));
}

/// CAST to a whole number cuts off, of decimals as of doubles.
#[test]
fn casts_to_whole_numbers_cut_off() {
    for (cents, whole) in [(199, "1"), (-199, "-1"), (150, "1"), (-50, "0"), (99, "0")] {
        let double = Float64Array::from(vec![cents as f64 / 100.0]);
        let columns: Columns = vec![("d", decimals(&[cents], 10, 2)), ("x", Arc::new(double))];
        for expr in
            ["CAST(d AS INT)", "CAST(x AS INT)", "CAST(d AS BIGINT)", "TRY_CAST(x AS BIGINT)"]
        {
            assert_eq!(value(&columns, expr).unwrap(), whole, "{expr} of {cents}");
        }
    }
}

/// The engine compared keys by their bits in some places: -0.0 was another key than 0.0, and so was the
/// NaN that 0.0 / 0.0 gives on some processors.
#[test]
fn zeros_are_one_key_and_nans_are_one_key() {
    let odd = f64::from_bits(0xfff8_0000_0000_0000);
    let columns: Columns = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
        ("v", Arc::new(Float64Array::from(vec![-0.0, 0.0, f64::NAN, odd, 1.0]))),
    ];
    for (sql, wanted) in [
        ("SELECT v, COUNT(*) FROM t GROUP BY v ORDER BY v", "0.0 2|1.0 1|NaN 2"),
        (
            "SELECT v, id > 0, COUNT(*) FROM t GROUP BY v, id > 0 ORDER BY v",
            "0.0 true 2|1.0 true 1|NaN true 2",
        ),
        ("SELECT DISTINCT v FROM t ORDER BY v", "0.0|1.0|NaN"),
        ("SELECT COUNT(DISTINCT v) FROM t", "3"),
        (
            "SELECT v, COUNT(*) FROM t GROUP BY ROLLUP (v) ORDER BY v NULLS FIRST",
            "NULL 5|0.0 2|1.0 1|NaN 2",
        ),
        ("SELECT id FROM t ORDER BY v, id DESC", "2|1|5|4|3"),
        ("SELECT id, RANK() OVER (ORDER BY v) FROM t ORDER BY id", "1 1|2 1|3 4|4 4|5 3"),
        ("SELECT id, COUNT(*) OVER (PARTITION BY v) FROM t ORDER BY id", "1 2|2 2|3 2|4 2|5 1"),
        ("SELECT a.id, b.id FROM t a JOIN t b ON a.v = b.v AND a.id < b.id ORDER BY 1", "1 2|3 4"),
        ("SELECT id FROM t WHERE v IN (0.0, 7.0) ORDER BY id", "1|2"),
        ("SELECT id FROM t WHERE v IN (-0.0, 7.0, 8.0, 9.0, 10.0) ORDER BY id", "1|2"),
        ("SELECT id FROM t WHERE v NOT IN (0.0, 7.0, 8.0, 9.0, 10.0) ORDER BY id", "3|4|5"),
        ("SELECT id FROM t WHERE v = 0.0 ORDER BY id", "1|2"),
        ("SELECT id FROM t WHERE v / v < 5.0 ORDER BY id", "5"),
        ("SELECT id FROM t WHERE v / v > 5.0 ORDER BY id", "1|2|3|4"),
        ("SELECT id FROM t WHERE v - v = v / v ORDER BY id", "3|4"),
        (
            "SELECT id, CASE v WHEN 0.0 THEN 'a' WHEN 1.0 THEN 'b' ELSE 'c' END FROM t ORDER BY id",
            "1 a|2 a|3 c|4 c|5 b",
        ),
        ("SELECT v FROM t WHERE id = 1 UNION SELECT v FROM t WHERE id = 2", "0.0"),
        ("SELECT v FROM t WHERE id = 1 INTERSECT SELECT v FROM t WHERE id = 2", "0.0"),
        ("SELECT v FROM t WHERE id = 3 EXCEPT SELECT v FROM t WHERE id = 4", ""),
        ("SELECT id FROM t WHERE v IN (SELECT v FROM t WHERE id = 2) ORDER BY id", "1|2"),
    ] {
        let given: Vec<String> =
            rows(&columns, sql).unwrap().into_iter().map(|row| row.join(" ")).collect();
        assert_eq!(given.join("|"), wanted, "{sql}");
    }
}

/// Milliseconds since 1970.
fn ms(time: DateTime) -> i64 {
    let since =
        time.since((Unit::Day, date(1970, 1, 1).to_datetime(jiff::civil::Time::midnight())));
    let span = since.unwrap();
    i64::from(span.get_days()) * 86_400_000
        + i64::from(span.get_hours()) * 3_600_000
        + span.get_minutes() * 60_000
        + span.get_seconds() * 1000
        + span.get_milliseconds()
}

const FAR: [(i16, i8, i8); 9] = [
    (1, 1, 1),
    (1, 12, 31),
    (1600, 2, 29),
    (1677, 9, 20),
    (1969, 12, 31),
    (2024, 12, 30),
    (2262, 4, 12),
    (2300, 3, 1),
    (9999, 12, 31),
];

/// The engine computes in nanoseconds, which hold the years 1677 to 2262: other years failed, or were
/// NULL in silence.
#[test]
fn every_function_of_times_knows_the_years_1_to_9999() {
    for (year, month, day) in FAR {
        let day = date(year, month, day);
        let time = day.at(13, 47, 58, 123_000_000);
        let number = ms(time);
        let columns: Columns = vec![
            ("ts", Arc::new(TimestampMillisecondArray::from(vec![number]))),
            ("epoch", Arc::new(TimestampMillisecondArray::from(vec![0]))),
            ("day", Arc::new(Date32Array::from(vec![number.div_euclid(86_400_000) as i32]))),
            ("secs", Arc::new(Int64Array::from(vec![number.div_euclid(1000)]))),
            ("text", Arc::new(StringArray::from(vec![time.to_string()]))),
        ];
        let midnight = |date: Date| date.at(0, 0, 0, 0).to_string();
        let first = |month: i8| date(year, month, 1);
        let week = i64::from(day.weekday().to_monday_zero_offset());
        let mut wanted: Vec<(String, String)> = Vec::new();
        let mut of =
            |expr: &str, wanted_value: String| wanted.push((expr.to_string(), wanted_value));

        for source in ["ts", "text", "CAST(text AS TIMESTAMP)"] {
            let trunc = |unit: &str| format!("date_trunc('{unit}', {source})");
            of(&trunc("year"), midnight(first(1)));
            of(&trunc("quarter"), midnight(first((month - 1) / 3 * 3 + 1)));
            of(&trunc("month"), midnight(first(month)));
            of(&trunc("day"), midnight(day));
            of(&trunc("hour"), day.at(13, 0, 0, 0).to_string());
            of(&trunc("minute"), day.at(13, 47, 0, 0).to_string());
            of(&trunc("second"), day.at(13, 47, 58, 0).to_string());
            if let Ok(monday) = day.checked_sub(week.days()) {
                of(&trunc("week"), midnight(monday));
            }
            of(&format!("date_bin(INTERVAL '1 hour', {source})"), day.at(13, 0, 0, 0).to_string());
            of(&format!("date_bin(INTERVAL '1 month', {source})"), midnight(first(month)));
            let from =
                format!("date_bin(INTERVAL '1 day', {source}, TIMESTAMP '9999-01-01T12:00:00')");
            of(&from, day.at(12, 0, 0, 0).to_string());
        }
        of("date_trunc('month', day)", midnight(first(month)));
        for source in ["ts", "day"] {
            let part = |unit: &str| format!("date_part('{unit}', {source})");
            let iso = day.iso_week_date();
            of(&part("year"), year.to_string());
            of(&part("isoyear"), iso.year().to_string());
            of(&part("quarter"), ((month - 1) / 3 + 1).to_string());
            of(&part("month"), month.to_string());
            of(&part("week"), iso.week().to_string());
            of(&part("day"), day.day().to_string());
            of(&part("doy"), day.day_of_year().to_string());
            of(&part("dow"), day.weekday().to_sunday_zero_offset().to_string());
            of(&part("isodow"), day.weekday().to_monday_one_offset().to_string());
            of(&format!("EXTRACT(YEAR FROM {source})"), year.to_string());
        }
        let seconds = number as f64 / 1000.0;
        of("date_part('hour', ts)", "13".to_string());
        of("date_part('minute', ts)", "47".to_string());
        of("date_part('second', ts)", "58".to_string());
        of("date_part('millisecond', ts)", "58123".to_string());
        of("date_part('epoch', ts) * 1000", format!("{:?}", seconds * 1000.0));
        of("date_part('epoch', ts - epoch) * 1000", format!("{:?}", seconds * 1000.0));
        of("date_part('epoch', ts - day)", "49678.123".to_string());
        of(
            "to_char(ts, '%Y-%m-%d %H:%M:%S%.3f %j')",
            format!("{} 13:47:58.123 {:03}", day, day.day_of_year()),
        );
        of("to_char(day, '%d.%m.%Y')", day.strftime("%d.%m.%Y").to_string());

        of("CAST(day AS TIMESTAMP)", midnight(day));
        of("CAST(day AS TIMESTAMP(3))", midnight(day));
        of("CAST(ts AS DATE)", day.to_string());
        of("CAST(ts AS TIMESTAMP(0))", day.at(13, 47, 58, 0).to_string());
        of("CAST(ts AS VARCHAR)", time.to_string());
        of("CAST(text AS TIMESTAMP)", time.to_string());
        of("CAST(text AS TIMESTAMP(3))", time.to_string());
        of("CAST(ts AS BIGINT)", number.to_string());
        of("CAST(secs AS TIMESTAMP)", day.at(13, 47, 58, 0).to_string());
        of(&format!("TIMESTAMP '{time}'"), time.to_string());
        of(&format!("DATE '{day}'"), day.to_string());
        of("to_timestamp(text)", time.to_string());
        of("to_timestamp(secs)", day.at(13, 47, 58, 0).to_string());
        of("to_timestamp(CAST(secs AS DOUBLE))", day.at(13, 47, 58, 0).to_string());
        of("to_timestamp(ts)", time.to_string());
        of("to_timestamp_millis(text)", time.to_string());
        of("to_timestamp_micros(text)", time.to_string());
        of("to_timestamp_seconds(text)", day.at(13, 47, 58, 0).to_string());
        of("from_unixtime(secs)", day.at(13, 47, 58, 0).to_string());
        of("to_unixtime(ts)", number.div_euclid(1000).to_string());
        of("to_date(text)", day.to_string());
        of(&format!("make_date({year}, {month}, {})", day.day()), day.to_string());
        of("to_local_time(ts AT TIME ZONE 'UTC')", time.to_string());
        of("CAST(ts AT TIME ZONE '+02:00' AS VARCHAR)", format!("{time}+02:00"));

        if let Ok(later) = time.checked_add(1.month().days(3).hours(5)) {
            of("ts + INTERVAL '1 month 3 days 5 hours'", later.to_string());
            of("(ts + INTERVAL '30 hours') - INTERVAL '30 hours'", time.to_string());
        }
        if let Ok(before) = day.checked_sub(1.day()) {
            of("day - INTERVAL '1 day'", before.to_string());
            of("CAST(day AS TIMESTAMP) - INTERVAL '1 day'", midnight(before));
        }
        let is = |holds: bool| holds.to_string();
        of("ts > day", is(true));
        of("day < ts", is(true));
        of("day = CAST(day AS TIMESTAMP)", is(true));
        of("ts BETWEEN day AND DATE '9999-12-31' + INTERVAL '1 day'", is(true));
        of("ts IN (epoch, CAST(text AS TIMESTAMP))", is(true));
        of("ts = text", is(true));
        of(&format!("ts = '{time}'"), is(true));
        of(&format!("ts = TIMESTAMP '{time}'"), is(true));
        of(&format!("ts >= DATE '{day}'"), is(true));
        of("ts > '9999-01-01'", is(year == 9999));
        of("ts < TIMESTAMP '1600-01-01'", is(year == 1));
        of("COALESCE(ts, day)", time.to_string());
        of("CASE WHEN ts < day THEN ts ELSE day END", midnight(day));
        of("ts IS NOT DISTINCT FROM CAST(text AS TIMESTAMP)", is(true));

        for (expr, wanted) in wanted {
            match value(&columns, &expr) {
                Ok(given) => assert_eq!(given, wanted, "{expr} of {time}"),
                Err(error) => panic!("{expr} of {time}: {error}"),
            }
        }
    }
}

/// Parts of long durations were NULL, or another number.
#[test]
fn parts_of_durations_are_whole_or_an_error() {
    let day = 86_400_000;
    let columns: Columns = vec![
        ("a", Arc::new(TimestampMillisecondArray::from(vec![3_000_000 * day + 5_007_042]))),
        ("b", Arc::new(TimestampMillisecondArray::from(vec![7_000]))),
    ];
    for (expr, wanted) in [
        ("date_part('epoch', a - b)", "259200005000.042"),
        ("date_part('day', a - b)", "3000000"),
        ("date_part('hour', a - b)", "72000001"),
        ("date_part('minute', b - a)", "-4320000083"),
    ] {
        match value(&columns, expr) {
            Ok(given) => assert_eq!(given, wanted, "{expr}"),
            Err(error) => {
                let is_far = wanted.parse::<i32>().is_err() && !wanted.contains('.');
                assert!(is_far, "{expr}: {error}");
            }
        }
    }
    assert!(value(&columns, "date_part('second', a - b)").is_err());
}

/// Ranks by a duration were refused with a message of the engine's inside.
#[test]
fn rows_are_ranked_by_a_duration() {
    let columns: Columns = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("a", Arc::new(TimestampMillisecondArray::from(vec![5, 9, 1]))),
        ("b", Arc::new(TimestampMillisecondArray::from(vec![4, 4, 4]))),
    ];
    let sql = "SELECT id, RANK() OVER (ORDER BY a - b DESC), SUM(id) OVER (ORDER BY a - b) FROM t ORDER BY id";
    assert_eq!(rows(&columns, sql).unwrap(), [["1", "2", "4"], ["2", "1", "6"], ["3", "3", "3"]]);
}
