//! One dead letter of an epoch with its id: a record that no result counts, rows that a query fails
//! on, or a result row that its sink can never take.

use tidemill_model::limits::DEAD_LETTER_RAW_BYTES_MAX;
use tidemill_model::{DeadLetter, DeadReason, Epoch};

use super::{dead_letter_id, json, rejected_id};
use crate::ports::{Emission, FailedRows, Rejected};

/// Longest line of a shortened dead letter, bytes: its beginning, every byte of which may take two
/// in a text, and what stands around it.
const SHORTENED_BYTES_MAX: usize = 2 * DEAD_LETTER_RAW_BYTES_MAX + 512;

/// A dead letter with its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter<'a> {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its number among the epoch's dead letters.
    pub n: usize,
    body: Body<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Body<'a> {
    Record(&'a DeadLetter),
    Failed(&'a FailedRows),
    Result(&'a Rejected),
}

impl Emission {
    /// The epoch's dead letters in the order of their ids: records, then rows that queries fail on,
    /// then rejected result rows.
    pub fn letters(&self) -> impl Iterator<Item = Letter<'_>> {
        let records = self.dead_letters.iter().map(Body::Record);
        let failed = self.failed.iter().map(Body::Failed);
        let results = self.rejected.iter().map(Body::Result);
        let bodies = records.chain(failed).chain(results).enumerate();
        bodies.map(|(n, body)| Letter { epoch: self.epoch, n, body })
    }
}

impl Letter<'_> {
    /// Its id, which a replay gives it again.
    pub fn id(&self) -> String {
        match self.body {
            Body::Record(_) | Body::Failed(_) => dead_letter_id(self.epoch, self.n),
            Body::Result(rejected) => rejected_id(&rejected.sink, &rejected.id),
        }
    }

    /// The short stable name of its reason.
    pub fn reason(&self) -> &'static str {
        match self.body {
            Body::Record(letter) => letter.reason.tag(),
            Body::Failed(_) => DeadReason::FAILED,
            Body::Result(_) => Rejected::TAG,
        }
    }

    /// Where it comes from: the record's `{stream}/{shard}`, or the rows' query.
    pub fn origin(&self) -> String {
        match self.body {
            Body::Record(letter) => letter.log.to_string(),
            Body::Failed(failed) => failed.query.clone(),
            Body::Result(rejected) => rejected.query.clone(),
        }
    }

    /// Appends it as one line of JSON to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_line(Some(&self.id()), out);
    }

    /// The same without the id, for sinks whose readers need none.
    pub fn write_without_id(&self, out: &mut Vec<u8>) {
        self.write_line(None, out);
    }

    /// The same in at most `bytes_max` bytes, line break included: a longer one keeps its
    /// beginning, its length and its hash. No bound can be below 16 KiB.
    pub fn write_within(&self, bytes_max: usize, out: &mut Vec<u8>) {
        debug_assert!(bytes_max >= 2 * SHORTENED_BYTES_MAX - 2048, "no sink is that narrow");
        let begin = out.len();
        self.write(out);
        if out.len() - begin > bytes_max {
            let whole = out.split_off(begin);
            json::write_shortened(out, &self.id(), self.reason(), &whole);
            debug_assert!(out.len() - begin <= SHORTENED_BYTES_MAX);
        }
    }

    fn write_line(&self, id: Option<&str>, out: &mut Vec<u8>) {
        match self.body {
            Body::Record(letter) => json::write_dead_letter(out, id, letter),
            Body::Failed(failed) => json::write_failed(out, id, failed),
            Body::Result(rejected) => json::write_rejected(out, id, rejected),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_model::{DeadReason, EventMs, LogId, Position, RawBytes, WallMs, Window};

    use super::*;

    fn emission() -> Emission {
        let letter = DeadLetter {
            log: LogId::new("s", "0"),
            position: Position::from_offset(7),
            arrival: WallMs(0),
            reason: DeadReason::Undecodable { detail: "\"".repeat(100_000) },
            raw: None,
        };
        let failed = FailedRows {
            query: "share".to_string(),
            window: Some(Window { start: EventMs(0), end: EventMs(60_000) }),
            rows: 1,
            detail: "Divide by zero".to_string(),
            raw: RawBytes { first: b"{\"k\":1}".to_vec(), length: 7, hash: 1 },
        };
        let rejected = Rejected {
            id: "q/3/5".to_string(),
            query: "q".to_string(),
            sink: "table".to_string(),
            detail: "too large".to_string(),
            row: RawBytes { first: b"{\"a\":1".to_vec(), length: 9, hash: 1 },
        };
        Emission {
            dead_letters: vec![letter],
            failed: vec![failed],
            rejected: vec![rejected],
            ..Emission::empty(Epoch(3))
        }
    }

    fn line(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        let line = String::from_utf8(out).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
        line
    }

    #[test]
    fn failed_rows_go_on_with_the_ids_of_dead_records_and_rejected_ones_name_their_sink() {
        let emission = emission();
        let letters: Vec<Letter<'_>> = emission.letters().collect();
        let described: Vec<_> =
            letters.iter().map(|letter| (letter.id(), letter.reason(), letter.origin())).collect();
        assert_eq!(
            described,
            [
                ("dead/3/0".to_string(), "undecodable", "s/0".to_string()),
                ("dead/3/1".to_string(), "query_failed", "share".to_string()),
                ("rejected/table/q/3/5".to_string(), "rejected", "q".to_string()),
            ]
        );
        assert_eq!(
            line(|out| letters[1].write(out)),
            "{\"id\":\"dead/3/1\",\"reason\":\"query_failed\",\"detail\":\"Divide by zero\",\
             \"query\":\"share\",\"windows\":[{\"start\":\"1970-01-01T00:00:00.000Z\",\
             \"end\":\"1970-01-01T00:01:00.000Z\"}],\"rows\":1,\"raw\":\"{\\\"k\\\":1}\",\
             \"raw_length\":7,\"raw_hash\":\"0000000000000001\"}\n"
        );
        assert_eq!(
            line(|out| letters[2].write(out)),
            "{\"id\":\"rejected/table/q/3/5\",\"reason\":\"rejected\",\"detail\":\"too large\",\
             \"sink\":\"table\",\"query\":\"q\",\"result_id\":\"q/3/5\",\"raw\":\"{\\\"a\\\":1\",\
             \"raw_length\":9,\"raw_hash\":\"0000000000000001\"}\n"
        );
        for letter in &letters[1..] {
            assert!(line(|out| letter.write_without_id(out)).starts_with("{\"reason\":"));
        }
    }

    #[test]
    fn a_letter_too_long_for_its_sink_keeps_its_beginning_length_and_hash() {
        let emission = emission();
        let letter = emission.letters().next().unwrap();
        let whole = line(|out| letter.write(out));
        assert_eq!(line(|out| letter.write_within(whole.len(), out)), whole);
        let mut out = b"before\n".to_vec();
        letter.write_within(whole.len() - 1, &mut out);
        let short: serde_json::Value = serde_json::from_slice(&out[7..]).unwrap();
        assert_eq!(short["id"], "dead/3/0");
        assert_eq!(short["reason"], "undecodable");
        assert_eq!(short["shortened"].as_str().unwrap(), &whole[..DEAD_LETTER_RAW_BYTES_MAX]);
        assert_eq!(short["shortened_length"], whole.len() - 1);
        let hash = xxhash_rust::xxh3::xxh3_64(&whole.as_bytes()[..whole.len() - 1]);
        assert_eq!(short["shortened_hash"], format!("{hash:016x}"));
        assert!(out.len() < 16 * 1024, "{}", out.len());
    }
}
