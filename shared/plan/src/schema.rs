//! Arrow schema of a stream.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidemill_pipeline::{EventTime, Stream};
pub use tidemill_records::arrow_type;

/// Name of the column in which SQL sees a record's arrival time. Every stream has it, last.
pub const ARRIVAL_TIME: &str = "arrival_time";

/// Schema of a decoded stream: its columns in order, then [`ARRIVAL_TIME`]. All columns may be
/// null but the event time and the arrival time, whose nulls decode has set aside.
pub fn stream_schema(stream: &Stream) -> SchemaRef {
    let mut fields: Vec<Field> = stream
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let is_time = stream.event_time == EventTime::Column(index);
            Field::new(&column.name, arrow_type(column.data_type), !is_time)
        })
        .collect();
    let arrival = DataType::Timestamp(TimeUnit::Millisecond, None);
    fields.push(Field::new(ARRIVAL_TIME, arrival, false));
    Arc::new(Schema::new(fields))
}

/// The column that is the stream's event time.
pub(crate) fn event_time_column(stream: &Stream) -> &str {
    match stream.event_time {
        EventTime::Column(index) => &stream.columns[index].name,
        EventTime::Arrival => ARRIVAL_TIME,
    }
}
