//! What the readers have handed to ingest: the answer to "is this log's source drained?".
//!
//! A reader notes a block here *before* it hands it over, so that nobody can take a log for
//! drained while a block is on its way. A reader that fails or is stopped never comes to its
//! input's end, so what it could not read is never taken for the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tidemill_flow::ports::{Drained, Source};
use tidemill_model::{LogId, Position};

/// State of all inputs of a run.
#[derive(Default)]
pub(crate) struct Handed {
    streams: Mutex<BTreeMap<String, Stream>>,
}

#[derive(Default)]
struct Stream {
    /// Whether everything that is there was handed over.
    nothing_now: bool,
    /// Whether there will be no more.
    ended: bool,
    /// Last position handed over, by shard.
    last: BTreeMap<String, Position>,
}

impl Handed {
    /// Notes that records of `log` up to `position` are about to be handed over.
    pub(crate) fn block(&self, log: &LogId, position: Position) {
        let mut streams = self.lock();
        let stream = streams.entry(log.stream.clone()).or_default();
        stream.last.insert(log.shard.clone(), position);
        stream.nothing_now = false;
    }

    /// Notes that everything that `stream`'s input has now was handed over.
    pub(crate) fn nothing_now(&self, stream: &str) {
        self.lock().entry(stream.to_string()).or_default().nothing_now = true;
    }

    /// Notes that everything that `stream`'s input will ever have was handed over.
    pub(crate) fn at_end(&self, stream: &str) {
        let mut streams = self.lock();
        let stream = streams.entry(stream.to_string()).or_default();
        (stream.nothing_now, stream.ended) = (true, true);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for Handed {
    async fn drained(&self, log: &LogId, position: Position) -> Drained {
        let streams = self.lock();
        // A log that this run has no input for may have more records in a file nobody named.
        let Some(stream) = streams.get(&log.stream) else { return Drained::Unknown };
        let last = stream.last.get(&log.shard).copied().unwrap_or(Position::START);
        if stream.nothing_now && position >= last { Drained::Yes } else { Drained::No }
    }

    async fn ended(&self, log: &LogId) -> bool {
        self.lock().get(&log.stream).is_some_and(|stream| stream.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drained_is_at_the_end_with_all_blocks_in_the_log() {
        let (handed, log) = (Handed::default(), LogId::new("s", "0"));
        let (first, second) = (Position::from_offset(10), Position::from_offset(20));
        assert_eq!(handed.drained(&log, first).await, Drained::Unknown);
        handed.block(&log, second);
        assert_eq!(handed.drained(&log, second).await, Drained::No);
        handed.nothing_now("s");
        assert_eq!(handed.drained(&log, first).await, Drained::No);
        assert_eq!(handed.drained(&log, second).await, Drained::Yes);
        assert!(!handed.ended(&log).await);
        handed.at_end("s");
        assert!(handed.ended(&log).await);
        // Another shard of the stream got nothing.
        assert_eq!(handed.drained(&LogId::new("s", "1"), Position::START).await, Drained::Yes);
    }
}
