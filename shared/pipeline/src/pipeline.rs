//! A checked pipeline. Only [`crate::parse`] makes one, so past it no code asks whether a name
//! exists or a duration makes sense. SQL is still text here; `plan` reads it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use tidemill_model::{ColumnType, Keep};

use crate::raw::literal;

/// A pipeline file after all checks but those of its SQL.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file, for messages that point into it.
    pub file: SourceFile,
    /// Name: prefix of every key in the state table.
    pub name: String,
    /// Streams by name; at least one.
    pub streams: BTreeMap<String, Stream>,
    /// Static lookup tables by name.
    pub tables: BTreeMap<String, Table>,
    /// Queries by name; at least one.
    pub queries: BTreeMap<String, Query>,
    /// Sinks by name.
    pub sinks: BTreeMap<String, Sink>,
    /// The sink that dead letters go to, one of `sinks`; `None`: wherever `run` sends them.
    pub dead_letter_sink: Option<String>,
    /// `[state] segment_ttl`: how long segments live, milliseconds.
    pub segment_ttl_ms: i64,
    /// `[advance] tick`: from one tick of the advance function to the next, milliseconds, ≥ 1000.
    pub tick_ms: i64,
    /// `[advance] max_state`: bytes of open state that advance may keep; `None`: as many as suit
    /// the machine.
    pub state_bytes_max: Option<u64>,
}

impl Pipeline {
    /// The stream whose events come from this Kinesis stream.
    pub fn stream_of_kinesis(&self, kinesis_stream: &str) -> Option<&Stream> {
        self.streams.values().find(|stream| match &stream.source {
            Some(StreamSource::Kinesis { stream }) => stream == kinesis_stream,
            Some(StreamSource::Kafka { .. }) => false,
            None => stream.name == kinesis_stream,
        })
    }

    /// The stream whose events come from this Kafka topic.
    pub fn stream_of_topic(&self, kafka_topic: &str) -> Option<&Stream> {
        self.streams.values().find(|stream| match &stream.source {
            Some(StreamSource::Kafka { topic, .. }) => topic == kafka_topic,
            Some(StreamSource::Kinesis { .. }) => false,
            None => stream.name == kafka_topic,
        })
    }
}

/// A text file and its name.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// As the user named it.
    pub name: String,
    /// The whole text, before `${VAR}` is expanded.
    pub text: Arc<str>,
}

/// A checked `[streams.NAME]`.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Format of its records.
    pub format: Format,
    /// Columns in the file's order; at least one; names are unique and none begins with `__`.
    pub columns: Vec<Column>,
    /// What tells the event time.
    pub event_time: EventTime,
    /// How far behind the newest event the watermark stays, milliseconds, ≥ 0.
    pub out_of_orderness_ms: i64,
    /// Silence after which a drained log is idle, milliseconds, > 0.
    pub idle_after_ms: i64,
    /// How far ahead of its arrival an event may be, milliseconds, ≥ 0.
    pub max_future_ms: i64,
    /// `idle = "assume"`: a silent log is idle although nobody can tell whether it is drained.
    pub assume_idle: bool,
    /// Where its events come from on AWS; `None`: from the Kinesis stream or the Kafka topic of its
    /// own name. No two streams have the same.
    pub source: Option<StreamSource>,
}

/// A checked `[streams.NAME.source]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamSource {
    /// A Kinesis stream.
    Kinesis {
        /// Its name.
        stream: String,
    },
    /// A Kafka topic.
    Kafka {
        /// Its name.
        topic: String,
        /// `host:port`, separated by commas; `None`: advance cannot ask the brokers anything.
        bootstrap_servers: Option<String>,
        /// Settings of librdkafka.
        properties: BTreeMap<String, String>,
    },
}

/// Format of a stream's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record.
    Json,
    /// One line of comma-separated values a record.
    Csv,
}

/// A column of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name in SQL.
    pub name: String,
    /// Type.
    pub data_type: ColumnType,
    /// Where the value is in a JSON record, from the outside in; the member of the column's name
    /// unless the file says `path = "user.id"`. In CSV, one member: the header's name.
    pub path: Vec<PathStep>,
    /// How a `timestamp` is written, as strptime says it, such as `%d/%m/%Y %H:%M`; `None`: as ISO
    /// 8601, RFC 3339 and PostgreSQL write times. It has been tried, and can be read.
    pub format: Option<String>,
    /// The IANA name of the time zone in which a `timestamp` without an offset is; `None`: UTC. It
    /// is a known name.
    pub time_zone: Option<String>,
}

/// One step of the way to a value in a JSON record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// Into the member of this name of an object.
    Member(String),
    /// Into this element of a list, the first being 0.
    Element(u32),
}

impl Column {
    /// The column of this name and type that is the member of its own name.
    pub fn new(name: impl Into<String>, data_type: ColumnType) -> Column {
        let name = name.into();
        let path = vec![PathStep::Member(name.clone())];
        Column { name, data_type, path, format: None, time_zone: None }
    }

    /// The same column where these members lead, from the outside in.
    pub fn within<T: Into<String>>(self, members: impl IntoIterator<Item = T>) -> Column {
        let path = members.into_iter().map(|member| PathStep::Member(member.into())).collect();
        Column { path, ..self }
    }

    /// The name that a file without nesting gives the column: of its last member.
    pub fn name_in_file(&self) -> &str {
        match self.path.last() {
            Some(PathStep::Member(member)) => member,
            _ => &self.name,
        }
    }
}

/// What tells a record's event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventTime {
    /// The column of this index, a timestamp.
    Column(usize),
    /// The arrival time, which SQL knows as the column `arrival_time` of every stream.
    Arrival,
}

/// A checked `[tables.NAME]`.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The file, made absolute relative to the pipeline file's folder. It exists.
    pub path: PathBuf,
    /// Its format.
    pub format: TableFormat,
    /// Declared columns; `None`: those of the file, whose types are found from its values.
    pub columns: Option<Vec<Column>>,
    /// Where `file = …` stands in the pipeline file.
    pub span: Range<usize>,
}

/// Format of a static table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// CSV with a header line.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Parquet.
    Parquet,
}

/// A checked `[queries.NAME]`.
#[derive(Debug, Clone)]
pub struct Query {
    /// Its name.
    pub name: String,
    /// Its SQL, `${VAR}` not expanded (SQL may hold `$`).
    pub sql: String,
    /// Where each byte of `sql` stands in the pipeline file.
    pub sql_at: SqlPlace,
    /// How long after its end a window stays open, milliseconds, ≥ 0.
    pub grace_ms: i64,
    /// What becomes of late rows.
    pub late: Late,
    /// How long after it has closed a window's result may still change, milliseconds; 0 unless
    /// `late` is [`Late::Update`].
    pub allowed_lateness_ms: i64,
    /// Which values of a window are emitted.
    pub emit: EmitMode,
    /// What makes a result worth telling before its window closes; only with [`EmitMode::Final`].
    pub emit_when: Option<Condition>,
    /// How long state that would grow for ever is kept.
    pub keep: Keep,
    /// What becomes of count windows that never get all their rows.
    pub incomplete: Incomplete,
    /// The sinks that each get all of its results, no sink twice; none: wherever `run` sends them.
    pub sinks: Vec<String>,
}

impl Query {
    /// The bytes of the pipeline file that the bytes `sql` of [`Query::sql`] came from. A range
    /// beyond the SQL means its end.
    pub fn place(&self, sql: Range<usize>) -> Range<usize> {
        literal::place(&self.sql_at.bytes, sql)
    }
}

/// Where a query's SQL stands in its file.
#[derive(Debug, Clone, Default)]
pub struct SqlPlace {
    /// The whole value with its quotes, as bytes of the file.
    pub value: Range<usize>,
    /// For each byte of the SQL the byte of the file that it came from (strings with escapes make
    /// this uneven); one more entry for the end.
    pub bytes: Vec<usize>,
}

/// What becomes of count windows that never get all their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Incomplete {
    /// They are dropped. The default.
    #[default]
    Drop,
    /// They are results too.
    Emit,
}

/// What becomes of late rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Counted and dropped.
    Drop,
    /// Counted and sent to the dead-letter sink. The default.
    DeadLetter,
    /// Merged into the window's result, which is emitted again. Those that are later than
    /// `allowed_lateness` are counted and sent to the dead-letter sink.
    Update,
}

/// Which values of a window are emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmitMode {
    /// The one of all its rows, when it closes. The default.
    Final,
    /// Also the current one of each window that a tick has changed.
    Updates,
}

/// A condition over a query's result rows, as SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The text; not empty.
    pub sql: String,
    /// Where it stands in the pipeline file.
    pub at: Range<usize>,
}

/// A checked `[sinks.NAME]`.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
}

/// Kinds of sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// A file per query in `--output`.
    File {
        /// Format of the file.
        format: FileFormat,
    },
    /// Standard output, JSON lines.
    Stdout,
    /// A DynamoDB table.
    DynamoDb {
        /// Its name.
        table: String,
    },
    /// A Kinesis stream.
    Kinesis {
        /// Its name.
        stream: String,
    },
    /// An SQS queue.
    Sqs {
        /// Its URL.
        queue_url: String,
    },
    /// Objects in S3, one an epoch.
    S3 {
        /// The bucket.
        bucket: String,
        /// Prefix of the objects' keys.
        prefix: String,
        /// Format of the objects.
        format: FileFormat,
    },
    /// A Kafka topic.
    Kafka {
        /// `host:port`, separated by commas.
        bootstrap_servers: String,
        /// The topic.
        topic: String,
        /// Settings of librdkafka.
        properties: BTreeMap<String, String>,
    },
}

/// Format of a result file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object a line.
    JsonLines,
    /// Parquet.
    Parquet,
}
