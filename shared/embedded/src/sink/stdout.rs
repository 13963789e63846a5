//! Results as JSON lines on standard output: `{"query": …, "id": …, …columns}`.
//!
//! What was written cannot be taken back, so after a crash the last epoch may come again, with the
//! same ids and values: a reader that must not see a result twice keeps the newest ids.

use std::io::Write;

use async_trait::async_trait;
use tidemill_flow::emit::json;
use tidemill_flow::ports::{Emission, Sink, SinkError};

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

    async fn emit(&mut self, emission: &Emission) -> Result<Vec<u8>, SinkError> {
        let mut lines = Vec::new();
        for results in &emission.results {
            json::write_rows_with_ids(results, emission.epoch, &mut lines).map_err(down)?;
        }
        for (n, letter) in emission.dead_letters.iter().enumerate() {
            json::write_dead_letter_with_id(letter, emission.epoch, n, &mut lines);
        }
        self.out.write_all(&lines).and_then(|()| self.out.flush()).map_err(down)?;
        OutputState::Stdout.encode()
    }
}
