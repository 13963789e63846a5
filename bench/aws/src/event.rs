//! Events as a Kinesis event source mapping sends them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bench::generate::{event_ms, lines};

use crate::case::Case;

/// One shard's records, batch after batch.
pub(crate) struct Shard {
    case: Case,
    lines: Box<dyn Iterator<Item = String>>,
    next: u64,
}

impl Shard {
    /// A shard that was never read.
    pub(crate) fn new(case: Case) -> Shard {
        Shard { case, lines: Box::new(lines(case.kind)), next: 0 }
    }

    /// The next so many records.
    pub(crate) fn records(&mut self, records: usize) -> String {
        self.batch(|taken, _| taken < records)
    }

    /// The next records, as many as an event of so many bytes holds.
    pub(crate) fn bytes(&mut self, bytes: usize) -> String {
        self.batch(|_, length| length + 2_000 < bytes)
    }

    fn batch(&mut self, more: impl Fn(usize, usize) -> bool) -> String {
        let mut json = String::from(r#"{"Records":["#);
        let mut taken = 0;
        while more(taken, json.len()) {
            let Some(line) = self.lines.next() else { break };
            if taken > 0 {
                json.push(',');
            }
            json.push_str(&self.record(&line));
            taken += 1;
            self.next += 1;
        }
        json.push_str("]}");
        json
    }

    fn record(&self, line: &str) -> String {
        let sequence = format!("49590338271490256608559692538361571095921575{:012}", self.next + 1);
        let seconds = event_ms(self.case.kind, self.next) as f64 / 1000.0;
        let (data, stream) = (STANDARD.encode(line), self.case.stream);
        format!(
            "{{\"kinesis\":{{\"kinesisSchemaVersion\":\"1.0\",\"partitionKey\":\"{:08}\",\
             \"sequenceNumber\":\"{sequence}\",\"data\":\"{data}\",\
             \"approximateArrivalTimestamp\":{seconds:.3}}},\"eventSource\":\"aws:kinesis\",\
             \"eventVersion\":\"1.0\",\"eventID\":\"shardId-000000000000:{sequence}\",\
             \"eventName\":\"aws:kinesis:record\",\
             \"invokeIdentityArn\":\"arn:aws:iam::123456789012:role/tidemill-ingest\",\
             \"awsRegion\":\"eu-central-1\",\
             \"eventSourceARN\":\"arn:aws:kinesis:eu-central-1:123456789012:stream/{stream}\"}}",
            self.next % 10_000
        )
    }
}
