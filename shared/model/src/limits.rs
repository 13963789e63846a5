//! Every size that is bounded, in one place, with how the bounds relate.

/// Largest item of the production store (DynamoDB), bytes.
pub const ITEM_BYTES_MAX: usize = 400 * 1024;
/// Largest encoded segment, bytes: leaves room for keys and attributes in an item.
pub const SEGMENT_BYTES_MAX: usize = 380 * 1024;
/// Largest chunk of a snapshot, bytes.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 380 * 1024;
/// Largest source record that is decoded, bytes; a longer one is a dead letter.
pub const RECORD_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Raw bytes that a dead letter keeps of its record.
pub const DEAD_LETTER_RAW_BYTES_MAX: usize = 4 * 1024;
/// Deepest nesting of a JSON record that is decoded.
pub const JSON_DEPTH_MAX: usize = 128;
/// Result rows that one epoch may emit, unless one window has more. One epoch must be emitted within
/// one invocation of five minutes, also into a Kinesis stream of one shard, which takes a thousand
/// records a second.
pub const RESULTS_MAX: usize = 50_000;
/// Pairs of rows that a join of two streams compares in one tick, beyond equal keys and near times:
/// they, or what becomes of them, are in memory together.
pub const JOIN_PAIRS_MAX: usize = 4_000_000;
/// Segment bytes that one tick merges.
pub const TICK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a segment before compression. A larger one does not compress enough to be worth its
/// memory: it is cut into several, like one that is too large for an item.
pub const SEGMENT_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A tick counts a segment for its bytes, or for its bytes before compression divided by this.
pub const TICK_COMPRESSION: usize = 4;
/// Open state that advance keeps, bytes, unless the pipeline file says otherwise; on Lambda it is a
/// share of the function's memory.
pub const STATE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Largest open state that a pipeline file may ask for, bytes.
pub const STATE_BYTES_LIMIT: u64 = 8 * 1024 * 1024 * 1024;
/// Parts of a function's memory of which open state may take one: a snapshot holds it three times.
pub const STATE_MEMORY_PARTS: u64 = 4;
/// Parts of a function's memory of which a tick's segments, before decompression, may take one.
pub const TICK_MEMORY_PARTS: u64 = 32;
/// What an open window costs beyond what its aggregates count, bytes.
pub const OPEN_SLICE_BYTES: u64 = 1024;
/// Encoded checkpoint, bytes: leaves room for keys and attributes in an item.
pub const CHECKPOINT_BYTES_MAX: usize = 380 * 1024;
/// Fields that the header of a CSV input may have.
pub const CSV_FIELDS_MAX: usize = 10_000;
/// How long a process believes the tail that it cached, milliseconds.
pub const TAIL_CACHE_MS: i64 = 5 * 60 * 1000;
/// How long a signed request may linger before a store refuses it, milliseconds.
pub const REQUEST_LINGER_MS: i64 = 15 * 60 * 1000;
/// Time to live of a segment unless the pipeline says otherwise, milliseconds.
pub const SEGMENT_TTL_MS: i64 = 7 * 24 * 3600 * 1000;
/// Shortest time to live that a pipeline may give its segments, milliseconds.
pub const SEGMENT_TTL_MIN_MS: i64 = 24 * 3600 * 1000;
/// Bytes of log that are worth a snapshot, at least.
pub const SNAPSHOT_AFTER_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// A snapshot is due when the log since the last one has this many times its size.
pub const SNAPSHOT_LOG_RATIO: u64 = 4;
/// SQL of one query, bytes.
pub const SQL_BYTES_MAX: usize = 256 * 1024;
/// Pipeline file, bytes.
pub const PIPELINE_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Streams, tables and sinks that one pipeline may have, each.
pub const SECTIONS_MAX: usize = 100;
/// Queries that one pipeline may have. Each is named in every checkpoint.
pub const QUERIES_MAX: usize = 500;
/// Columns that one stream or table may declare.
pub const COLUMNS_MAX: usize = 1_000;
/// File of a static table, bytes.
pub const TABLE_FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// A static table in memory, bytes: what is compressed in its file is not.
pub const TABLE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Windows that one event may fall in: one that ends every minute of a week.
pub const WINDOWS_PER_EVENT_MAX: i64 = 7 * 24 * 60;
/// Parentheses and subqueries of a query inside each other.
pub const SQL_NESTING_MAX: usize = 50;
/// Operators of a query on top of each other: how deep a tree of its expressions is. The engine
/// recurses along it, when it plans and when it computes.
pub const SQL_DEPTH_MAX: usize = 200;
/// WITH clauses of a query inside each other: the engine looks at each twice as often as at the one
/// around it.
pub const SQL_WITH_NESTING_MAX: usize = 8;
/// Grouping sets of one aggregate, those that CUBE and ROLLUP stand for included: each record counts
/// in each of them.
pub const GROUPING_SETS_MAX: usize = 128;
/// Relations that one query reads: each multiplies what the planner tries.
pub const SQL_RELATIONS_MAX: usize = 32;
/// Stack of the thread that plans queries, bytes. Of a query at all bounds, a build without
/// optimization takes a quarter of it.
pub const PLAN_STACK_BYTES: usize = 64 * 1024 * 1024;

const _: () = assert!(SEGMENT_BYTES_MAX < ITEM_BYTES_MAX);
const _: () = assert!(SNAPSHOT_CHUNK_BYTES_MAX < ITEM_BYTES_MAX);
const _: () = assert!(CHECKPOINT_BYTES_MAX < ITEM_BYTES_MAX);
const _: () = assert!(SEGMENT_BYTES_MAX < SEGMENT_BODY_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX < SEGMENT_BODY_BYTES_MAX);
const _: () = assert!(SEGMENT_BODY_BYTES_MAX < TICK_BYTES_MAX);
const _: () = assert!(STATE_BYTES_MAX <= STATE_BYTES_LIMIT);
const _: () = assert!(QUERIES_MAX * 256 < CHECKPOINT_BYTES_MAX);
const _: () = assert!(DEAD_LETTER_RAW_BYTES_MAX < SEGMENT_BYTES_MAX / 8);
const _: () = assert!(TAIL_CACHE_MS + REQUEST_LINGER_MS < SEGMENT_TTL_MIN_MS / 2);
const _: () = assert!(SEGMENT_TTL_MIN_MS <= SEGMENT_TTL_MS);
