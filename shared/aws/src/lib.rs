//! AWS ports: the only crate that names an SDK type.
//!
//! ```text
//! client   one SDK configuration for every client
//! fault    what is wrong with a deployment, and what to do
//! store    the state in a DynamoDB table
//! sink     results and dead letters: DynamoDB, Kinesis, SQS, S3, Kafka
//! batches  entries to a service that takes them in batches and may refuse some of them
//! kafka    one configuration for every Kafka client (feature `kafka`)
//! kpl      records of the Kinesis Producer Library
//! source   the shards and partitions of a stream: which there are, which are drained
//! put      writing records to a stream
//! ```
//!
//! Not here: what the six verbs decide (`flow`), the functions' events and environment (`lambda`).

mod batches;
pub mod client;
#[cfg(test)]
mod fake_aws;
pub mod fault;
#[cfg(feature = "kafka")]
mod kafka;
pub mod kpl;
pub mod put;
pub mod sink;
pub mod source;
pub mod store;

pub use client::Aws;
pub use fault::Fault;
