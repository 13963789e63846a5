//! Results as JSON lines on standard output: `{"query": …, "id": …, …columns}`. Dead letters have
//! an id that begins with `dead/` or `rejected/`, and a reason.
//!
//! What was written cannot be taken back, so after a crash the last epoch may come again, with the
//! same ids and values: a reader that must not see a result twice keeps the newest ids.

use std::io::Write;

use async_trait::async_trait;
use tidemill_flow::emit::{json, result_id};
use tidemill_flow::ports::{Emission, QueryResults, Sink, SinkError, Taken};
use tidemill_model::Epoch;

use super::{OutputState, down};

/// The sink that writes JSON lines to a stream that cannot be cut back.
pub struct StdoutSink {
    out: Box<dyn Write + Send>,
}

impl StdoutSink {
    /// A sink that writes to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> StdoutSink {
        StdoutSink { out }
    }
}

#[async_trait]
impl Sink for StdoutSink {
    async fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let mut lines = Vec::new();
        for results in &emission.results {
            write_rows(results, emission.epoch, &mut lines)?;
        }
        emission.letters().for_each(|letter| letter.write(&mut lines));
        let written = self.out.write_all(&lines).and_then(|()| self.out.flush());
        written.map_err(|error| down(format!("standard output: {error}")))?;
        OutputState::Stdout.encode().map(Taken::all)
    }
}

/// The rows, each with its query and id before its columns.
fn write_rows(results: &QueryResults, epoch: Epoch, lines: &mut Vec<u8>) -> Result<(), SinkError> {
    let rows = json::RowWriter::new(&results.batch).map_err(down)?;
    for row in 0..results.batch.num_rows() {
        let id = result_id(&results.query, epoch, row);
        rows.write_tagged(&[("query", &results.query), ("id", &id)], row, lines);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use tidemill_model::{DeadLetter, DeadReason, LogId, Position, WallMs};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_epoch_that_comes_again_is_the_same_text() {
        let column = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let letter = DeadLetter {
            log: LogId::new("s", "0"),
            position: Position::from_offset(7),
            arrival: WallMs(0),
            reason: DeadReason::NoEventTime,
            raw: None,
        };
        let results = vec![QueryResults { query: "q".into(), windows: 1, batch }];
        let emission =
            Emission { results, dead_letters: vec![letter], ..Emission::empty(Epoch(3)) };
        let text = async || {
            let out = Shared::default();
            let mut sink = StdoutSink::new(Box::new(out.clone()));
            sink.restore(None).await.unwrap();
            sink.emit(&emission).await.unwrap();
            let bytes = out.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap()
        };
        let first = text().await;
        assert!(first.starts_with(
            "{\"query\":\"q\",\"id\":\"q/3/0\",\"n\":1}\n{\"query\":\"q\",\"id\":\"q/3/1\",\"n\":2}\n\
             {\"id\":\"dead/3/0\",\"reason\":\"no_event_time\","
        ), "{first}");
        assert_eq!(text().await, first);
    }
}
