//! What Lambda is answered for an event of Kinesis or of Kafka.
//!
//! **Kinesis** (`ReportBatchItemFailures`): the sequence number of the first Kinesis record that is
//! not wholly in the log. Lambda keeps what stands before it and sends the rest again. Any failed
//! append is answered so, also one that only a person can mend: an error would make Lambda send,
//! and cut in halves, records that are in the log already. So Lambda's own `Errors` metric does not
//! see failed appends; the metrics `BatchesFailed` and `BatchesStuck` and the lines' `error_type`
//! do.
//!
//! **Kafka** has no such answer for a stream: an error makes Lambda send the whole batch again. What
//! is in the logs by then is skipped.
//!
//! An event that the function cannot take at all is an error: nothing of it is acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::streams::KinesisEventResponse;
use tidemill_model::{LogId, Position};
use tidemill_pipeline::Pipeline;

use crate::clock::machine_now;
use crate::event::kafka::KafkaEvent;
use crate::event::kinesis::KinesisEvent;
use crate::event::{Event, EventError, ShardBatch};
use crate::failure::Failure;
use crate::ingest::{Ingest, IngestError, ShardReport, until};
use crate::telemetry::Metrics;
use crate::telemetry::metrics as m;

/// An ingest function.
pub struct Handler {
    pipeline: Arc<Pipeline>,
    ingest: Ingest,
    metrics: Metrics,
}

impl Handler {
    /// The function of a pipeline.
    pub fn new(pipeline: Arc<Pipeline>, ingest: Ingest, metrics: Metrics) -> Handler {
        Handler { pipeline, ingest, metrics }
    }

    /// Handles an event of Kinesis in at most `left`.
    pub async fn kinesis(
        &mut self,
        event: Event<KinesisEvent>,
        request_id: &str,
        left: Option<Duration>,
    ) -> Result<KinesisEventResponse, Failure> {
        let batches = event.0.and_then(|event| event.batches(&self.pipeline));
        let batches = batches.map_err(|error| not_taken(error, request_id))?;
        let mut response = KinesisEventResponse::default();
        for report in self.shards(batches, request_id, left).await {
            if let Some(position) = report.report.first_uncovered {
                response.add_failure(report.sequence_from(position));
            }
        }
        Ok(response)
    }

    /// Handles an event of Kafka in at most `left`.
    pub async fn kafka(
        &mut self,
        event: Event<KafkaEvent>,
        request_id: &str,
        left: Option<Duration>,
    ) -> Result<(), Failure> {
        let now = self.ingest.now();
        let batches = event.0.and_then(|event| event.batches(&self.pipeline, now));
        let batches = batches.map_err(|error| not_taken(error, request_id))?;
        let reports = self.shards(batches, request_id, left).await;
        let failed: Vec<(&LogId, &IngestError)> = reports
            .iter()
            .filter_map(|one| one.report.failure.as_ref().map(|error| (&one.report.log, error)))
            .collect();
        // What only a person can mend names the error: it is what has to be seen.
        let worst = failed.iter().max_by_key(|(_, error)| error.needs_a_person());
        match worst {
            None => Ok(()),
            Some((_, error)) => {
                let others = match failed.len() - 1 {
                    0 => String::new(),
                    n => format!(" ({n} more of the event's partitions failed; see the log)"),
                };
                Err(Failure { code: error.code(), message: format!("{error}{others}") })
            }
        }
    }

    /// Ingests shard by shard, tells what became of each, and answers it.
    async fn shards(
        &mut self,
        batches: Vec<ShardBatch>,
        request_id: &str,
        left: Option<Duration>,
    ) -> Vec<Covered> {
        let until = until(left);
        let mut reports = Vec::with_capacity(batches.len());
        for batch in batches {
            let positions = batch.raw.records.iter().map(|record| record.position).collect();
            let report = self.ingest.shard(batch, until).await;
            if let Some(error) = &report.failure {
                tracing::error!(
                    request_id,
                    log = %report.log,
                    error_type = error.code(),
                    needs_a_person = error.needs_a_person(),
                    "{error}"
                );
            }
            reports.push(Covered { positions, report });
        }
        self.tell(request_id, &reports);
        reports
    }

    /// One line for the invocation, and a metrics document for each stream.
    fn tell(&self, request_id: &str, reports: &[Covered]) {
        let mut streams: BTreeMap<&str, Counts> = BTreeMap::new();
        let mut all = Counts::default();
        for Covered { report, .. } in reports {
            streams.entry(&report.log.stream).or_default().add(report);
            all.add(report);
        }
        let logs: Vec<String> = reports.iter().map(|one| one.report.log.to_string()).collect();
        tracing::info!(
            request_id,
            logs = logs.join(" "),
            offered = all.offered,
            appended = all.appended,
            rejected = all.rejected,
            duplicates_skipped = all.skipped,
            segments = all.segments,
            segment_bytes = all.bytes,
            key_conflicts = all.conflicts,
            failed = all.failed,
            ms = all.ms.round(),
            "ingested"
        );
        let at = machine_now();
        for (stream, counts) in streams {
            self.metrics.publish(
                at,
                Some(stream),
                &[
                    m::RECORDS.is(counts.appended),
                    m::RECORDS_REJECTED.is(counts.rejected),
                    m::DUPLICATES_SKIPPED.is(counts.skipped),
                    m::SEGMENTS.is(counts.segments),
                    m::SEGMENT_BYTES.is(counts.bytes),
                    m::APPEND_LATENCY.is_about(counts.slowest_ms),
                    m::KEY_CONFLICTS.is(counts.conflicts),
                    m::BATCHES_FAILED.is(counts.failed),
                    m::BATCHES_STUCK.is(counts.stuck),
                ],
            );
        }
    }
}

/// A shard's records and what became of them.
struct Covered {
    positions: Vec<Position>,
    report: ShardReport,
}

impl Covered {
    /// Sequence number of the Kinesis record that holds the first record at or after `position`;
    /// of the shard's first one when there is none, which is never too late.
    fn sequence_from(&self, position: Position) -> String {
        // In the event's order, which need not be the positions': a batch that is not in order is
        // refused as a whole.
        let found = self.positions.iter().find(|known| **known >= position);
        let found = found.or(self.positions.first());
        found.map(|position| position.to_sequence().0).unwrap_or_default()
    }
}

#[derive(Default)]
struct Counts {
    offered: u64,
    appended: u64,
    rejected: u64,
    skipped: u64,
    segments: u64,
    bytes: u64,
    conflicts: u64,
    failed: u64,
    stuck: u64,
    ms: f64,
    slowest_ms: f64,
}

impl Counts {
    fn add(&mut self, report: &ShardReport) {
        let done = &report.done;
        self.offered += report.offered;
        self.appended += done.records;
        self.rejected += done.dead_letters;
        self.skipped += done.duplicates_skipped;
        self.segments += done.segments;
        self.bytes += done.segment_bytes;
        self.conflicts += done.keys_taken;
        self.failed += u64::from(report.failure.is_some());
        self.stuck += u64::from(report.failure.as_ref().is_some_and(IngestError::needs_a_person));
        self.ms += report.ms;
        self.slowest_ms = self.slowest_ms.max(report.ms);
    }
}

fn not_taken(error: EventError, request_id: &str) -> Failure {
    tracing::error!(request_id, error_type = error.code(), "{error}");
    Failure { code: error.code(), message: error.to_string() }
}

#[cfg(test)]
mod content;
#[cfg(test)]
mod tests;
