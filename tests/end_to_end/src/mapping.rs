//! Event source mappings as AWS runs them: what polls a stream or a topic and invokes a function
//! with batches.
//!
//! # As on AWS
//! - Kinesis: one batch at a time per shard, in order; shards at once. A shard split or merged from
//!   others is read when those were read to their end.
//! - Batches hold at most `batch_size` records and 6 MB of event. How many of them one holds is
//!   anybody's guess: here a seed's.
//! - A failed batch is invoked again, for ever or `retries_max` times; then it is told to the
//!   on-failure destination and skipped. With `bisect` a failed batch is halved; halving is no
//!   retry. With `report_failures` an answer names the first record that failed, and only what
//!   comes from there on is invoked again.
//! - At least once: how far a shard was read is kept only now and then. A poller that is replaced
//!   goes on from there, with other cuts.
//! - Kafka: one batch holds records of several partitions; a failed one is invoked again whole.
//!
//! # Not here
//! Batching windows, several invocations of one shard at once (`ParallelizationFactor`), maximum
//! record age, tumbling windows, filters, enhanced fan-out.

pub mod delivery;
mod event;
mod kafka;
mod kinesis;

pub use kafka::{KafkaMapping, KafkaSettings};
pub use kinesis::{KinesisMapping, KinesisSettings, StartingPosition};

#[cfg(test)]
mod tests;
