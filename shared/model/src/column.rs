//! Types that a stream's columns may have.

/// Type of a stream column, as the pipeline file spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// `boolean`
    Boolean,
    /// `int`: 32 bits, signed.
    Int32,
    /// `bigint`: 64 bits, signed.
    Int64,
    /// `float`: 32 bits.
    Float32,
    /// `double`: 64 bits. The texts "NaN", "Infinity" and "-Infinity" are values.
    Float64,
    /// `string`: UTF-8. In JSON, an object or array becomes its own text.
    String,
    /// `timestamp_s`: seconds since the Unix epoch. This and the next three may have a fraction, may
    /// be the text of a number, and are kept as milliseconds, rounded down: towards earlier times
    /// before 1970 too.
    TimestampS,
    /// `timestamp_ms`: milliseconds since the Unix epoch.
    TimestampMs,
    /// `timestamp_us`: microseconds since the Unix epoch.
    TimestampUs,
    /// `timestamp_ns`: nanoseconds since the Unix epoch.
    TimestampNs,
    /// `timestamp`: text, as ISO 8601, RFC 3339 and PostgreSQL write times, or of the column's own
    /// format; without an offset it is in the column's time zone, else in UTC.
    TimestampText,
    /// `date`: `YYYY-MM-DD`.
    Date,
    /// `decimal(precision, scale)`, precision at most 38.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: i8,
    },
}

impl ColumnType {
    /// Whether a column of this type can be the event time.
    pub fn is_timestamp(self) -> bool {
        matches!(
            self,
            ColumnType::TimestampS
                | ColumnType::TimestampMs
                | ColumnType::TimestampUs
                | ColumnType::TimestampNs
                | ColumnType::TimestampText
        )
    }
}
