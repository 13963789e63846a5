//! What to deliver next: decisions without I/O.
//!
//! # Invariants
//! 1. Records leave in order: what is to be invoked again comes before anything after it.
//! 2. Every record of a delivery is done, to be invoked again, or discarded; exactly one of these.

use serde_json::Value;

use crate::kinesis::{Record, Sequence};

/// Largest event of an asynchronous poller's invocation, bytes.
pub const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Bytes of a record's event besides its data and keys, about.
const RECORD_FRAME_BYTES: usize = 420;

/// How failures are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `BisectBatchOnFunctionError`.
    pub bisect: bool,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub report_failures: bool,
    /// `MaximumRetryAttempts`; `None`: for ever.
    pub retries_max: Option<u32>,
}

/// A batch on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its records; at least one.
    pub records: Vec<Record>,
    /// How often it was invoked again.
    pub retries: u32,
}

/// What an invocation said of its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All is done.
    Done,
    /// Nothing is known to be done.
    Failed,
    /// What stands before the record of this index is done; the index is not 0.
    DoneBefore(usize),
}

/// What follows from a verdict.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Next {
    /// To be invoked before anything else, in this order.
    pub again: Vec<Delivery>,
    /// Everything up to here is done or discarded.
    pub through: Option<Sequence>,
    /// Records for the on-failure destination.
    pub discarded: Vec<Record>,
}

/// Bytes that a record takes of an event.
pub fn event_bytes(record: &Record) -> usize {
    record.data.len()
        + record.partition_key.len()
        + record.sequence.0.len() * 2
        + RECORD_FRAME_BYTES
}

/// How many of `records` the next batch holds: at most `count_max`, at most
/// [`EVENT_BYTES_MAX`] together, and at least one.
pub fn cut(records: &[Record], count_max: usize) -> usize {
    let mut bytes = 0;
    let fitting = records.iter().take(count_max).take_while(|record| {
        bytes += event_bytes(record);
        bytes <= EVENT_BYTES_MAX
    });
    fitting.count().max(1).min(records.len())
}

/// Reads an answer. AWS takes an empty or missing list for success, and whatever it does not
/// understand for failure.
pub fn verdict(policy: Policy, delivery: &Delivery, answer: Option<&Value>) -> Verdict {
    let Some(answer) = answer else { return Verdict::Failed };
    if !policy.report_failures || answer.is_null() {
        return Verdict::Done;
    }
    let failures = match answer.get("batchItemFailures") {
        None | Some(Value::Null) => return Verdict::Done,
        Some(Value::Array(failures)) => failures,
        Some(_) => return Verdict::Failed,
    };
    let mut first: Option<usize> = None;
    for failure in failures {
        let identifier = failure.get("itemIdentifier").and_then(Value::as_str);
        let index = identifier.and_then(|identifier| {
            delivery.records.iter().position(|record| record.sequence.0 == identifier)
        });
        match index {
            Some(index) => first = Some(first.map_or(index, |first| first.min(index))),
            None => return Verdict::Failed,
        }
    }
    match first {
        None => Verdict::Done,
        Some(0) => Verdict::Failed,
        Some(index) => Verdict::DoneBefore(index),
    }
}

/// What to do with a batch after its invocation.
pub fn after(policy: Policy, mut delivery: Delivery, verdict: &Verdict) -> Next {
    let last = |records: &[Record]| records.last().map(|record| record.sequence.clone());
    match *verdict {
        Verdict::Done => Next { through: last(&delivery.records), ..Next::default() },
        Verdict::DoneBefore(index) => {
            let rest = delivery.records.split_off(index);
            let again = vec![Delivery { records: rest, retries: 0 }];
            Next { again, through: last(&delivery.records), ..Next::default() }
        }
        Verdict::Failed if policy.bisect && delivery.records.len() > 1 => {
            let half = delivery.records.split_off(delivery.records.len() / 2);
            let retries = delivery.retries;
            let again = vec![delivery, Delivery { records: half, retries }];
            Next { again, ..Next::default() }
        }
        Verdict::Failed if policy.retries_max.is_some_and(|max| delivery.retries >= max) => Next {
            through: last(&delivery.records),
            discarded: delivery.records,
            ..Next::default()
        },
        Verdict::Failed => {
            delivery.retries += 1;
            Next { again: vec![delivery], ..Next::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POLICY: Policy = Policy { bisect: true, report_failures: true, retries_max: None };

    fn record(number: u32) -> Record {
        let data = "eA==".to_string();
        let sequence = Sequence(number.to_string());
        Record { sequence, partition_key: "key".to_string(), data, arrival: 0.0 }
    }

    fn delivery(numbers: std::ops::Range<u32>) -> Delivery {
        Delivery { records: numbers.map(record).collect(), retries: 0 }
    }

    fn failed(identifiers: &[&str]) -> Value {
        let failures: Vec<Value> =
            identifiers.iter().map(|id| json!({ "itemIdentifier": id })).collect();
        json!({ "batchItemFailures": failures })
    }

    #[test]
    fn no_failures_in_any_spelling_are_success() {
        for answer in [json!(null), json!({}), json!({ "batchItemFailures": null }), failed(&[])] {
            assert_eq!(verdict(POLICY, &delivery(10..15), Some(&answer)), Verdict::Done);
        }
    }

    #[test]
    fn what_cannot_be_understood_is_failure() {
        for answer in [
            failed(&[""]),
            failed(&["99"]),
            json!({ "batchItemFailures": [{ "itemIdentifier": null }] }),
            json!({ "batchItemFailures": [{ "identifier": "12" }] }),
            json!({ "batchItemFailures": "12" }),
        ] {
            let said = verdict(POLICY, &delivery(10..15), Some(&answer));
            assert_eq!(said, Verdict::Failed, "{answer}");
        }
        assert_eq!(verdict(POLICY, &delivery(10..15), None), Verdict::Failed);
    }

    #[test]
    fn the_first_failure_decides() {
        let answer = failed(&["13", "12", "14"]);
        let said = verdict(POLICY, &delivery(10..15), Some(&answer));
        assert_eq!(said, Verdict::DoneBefore(2));
        let next = after(POLICY, delivery(10..15), &said);
        assert_eq!(next.through, Some(Sequence("11".to_string())));
        assert_eq!(next.again, [delivery(12..15)]);
        assert_eq!(verdict(POLICY, &delivery(10..15), Some(&failed(&["10"]))), Verdict::Failed);
    }

    #[test]
    fn answers_mean_nothing_unless_they_are_asked_for() {
        let policy = Policy { report_failures: false, ..POLICY };
        assert_eq!(verdict(policy, &delivery(10..15), Some(&failed(&["10"]))), Verdict::Done);
    }

    #[test]
    fn a_failed_batch_is_halved_down_to_one_record_which_is_tried_for_ever() {
        let next = after(POLICY, delivery(10..15), &Verdict::Failed);
        assert_eq!(next.again, [delivery(10..12), delivery(12..15)]);
        assert_eq!(next.through, None);
        let mut one = delivery(10..11);
        for retries in 1..100 {
            let mut next = after(POLICY, one, &Verdict::Failed);
            one = next.again.remove(0);
            assert_eq!((one.retries, one.records.len()), (retries, 1));
            assert!(next.discarded.is_empty());
        }
    }

    #[test]
    fn retries_end_where_they_are_bounded_and_halving_is_none() {
        let policy = Policy { retries_max: Some(1), ..POLICY };
        let mut queue = vec![delivery(10..12)];
        let mut discarded = Vec::new();
        let mut invocations = 0;
        while let Some(delivery) = queue.pop() {
            invocations += 1;
            let next = after(policy, delivery, &Verdict::Failed);
            queue.extend(next.again.into_iter().rev());
            discarded.extend(next.discarded);
        }
        // The pair once, then each record twice.
        assert_eq!(invocations, 5);
        assert_eq!(discarded, [record(10), record(11)]);
    }

    #[test]
    fn a_batch_ends_at_its_count_or_at_six_megabytes() {
        let records: Vec<Record> = (0..10).map(record).collect();
        assert_eq!(cut(&records, 4), 4);
        assert_eq!(cut(&records, 40), 10);
        let large: Vec<Record> =
            (0..10).map(|n| Record { data: "x".repeat(2_000_000), ..record(n) }).collect();
        assert_eq!(cut(&large, 10), 3);
        let huge = [Record { data: "x".repeat(7_000_000), ..record(1) }, record(2)];
        assert_eq!(cut(&huge, 10), 1);
    }
}
