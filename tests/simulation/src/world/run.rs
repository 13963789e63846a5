//! Running processes: what they are given to do, and what becomes of it.

use std::sync::Arc;

use tidemill_flow::advance::Ticked;

use super::{HOUR_MS, World};
use crate::history::{Ack, Violation};
use crate::mutant::Mutant;
use crate::pipelines::TTL_MS;
use crate::process::{self, Delivered, Ingest, Polled, Port, Stopped, Ticker};
use crate::scenario::DELIVERY_MAX_MS;
use crate::store::{Paced, writes};

impl World {
    /// Runs an ingest process a little, or gives it something to do.
    pub(super) fn run_ingest(&mut self, index: usize) -> Result<(), Violation> {
        let shard = self.serves[index];
        let process = &mut self.ingests[index];
        if process.is_idle() {
            let count = self.rng.between(1, 20) as usize;
            let Some(delivery) = self.sources.deliver(shard, count, &mut self.rng) else {
                return Ok(());
            };
            let (from, to) = (delivery.from, delivery.to);
            self.stats.inherited += if delivery.is_child { (to - from) as u64 } else { 0 };
            self.trace.say(&process.name, format_args!("gets {} #{from}..#{to}", delivery.log));
            if self.scenario.mutant == Some(Mutant::EarlyAck) {
                self.commit(shard, to);
            }
            let knows = self.rng.chance(50);
            let seen = self.newest()?.filter(|_| knows).and_then(|newest| newest.watermark);
            let process = &mut self.ingests[index];
            let ingest = match process.warm.take() {
                Some(warm) => warm,
                None => Ingest::new(
                    &self.planned,
                    Arc::new(Paced(Arc::clone(&process.store))),
                    Port::new(
                        &self.sources,
                        self.planned.pipeline.streams.keys().cloned().collect(),
                        self.scenario.mutant,
                    ),
                    self.scenario.segment_bytes_max,
                    &self.clock,
                    process.skew_ms,
                )?,
            };
            process.task = Some(process::deliver(ingest, delivery, seen));
            process.began = self.clock.now();
        }
        let process = &mut self.ingests[index];
        if !process.can_run() {
            return Ok(());
        }
        match process.poll() {
            Polled::Going => {}
            Polled::Crashed => {
                self.trace.say(&process.name, "crashes");
                self.stats.crashes += 1;
            }
            Polled::Stalled(call) => {
                let ms = match self.rng.chance(50) {
                    true => self.rng.between(1000, 20 * 60_000),
                    false => self.rng.between(1000, DELIVERY_MAX_MS),
                };
                process.stalled_until = Some(self.clock.now().plus(ms));
                let what = format_args!("stalls for {} s in call {}", ms / 1000, call.number);
                self.trace.say(&process.name, what);
                self.stats.stalls += 1;
                self.stats.long_stalls += u64::from(ms > HOUR_MS);
            }
            Polled::Done(delivered) => self.delivered(index, delivered)?,
        }
        Ok(())
    }

    pub(super) fn delivered(
        &mut self,
        index: usize,
        delivered: Delivered,
    ) -> Result<(), Violation> {
        let name = &self.ingests[index].name;
        let Delivered { shard, done_to, result } = delivered;
        match result {
            Ok(appended) => {
                let (segments, skipped) = (appended.segments, appended.duplicates_skipped);
                let what = format_args!("appended {segments} segments, skipped {skipped} records");
                self.trace.say(name, what);
                self.stats.duplicates += skipped;
            }
            Err(Stopped::Retry(reason)) => self.trace.say(name, reason),
            Err(Stopped::NearExpiry) => {
                self.trace.say(name, "refuses: nobody merges");
                self.stats.near_expiry += 1;
            }
            Err(Stopped::Stuck(reason)) => {
                return Err(Violation::Stopped(format!("{name} is stuck: {reason}")));
            }
        }
        self.commit(shard, done_to);
        Ok(())
    }

    pub(super) fn commit(&mut self, shard: usize, to: usize) {
        if let Some(through) = self.sources.commit(shard, to) {
            let created = self.recorder.created_count();
            self.acks.push(Ack { shard, through, created });
        }
    }

    /// Runs an advance process a little, or begins a tick.
    pub(super) fn run_advance(&mut self, index: usize) -> Result<(), Violation> {
        let process = &mut self.advances[index];
        if process.is_idle() {
            let ticker = match process.warm.take() {
                Some(warm) => warm,
                None => Ticker::new(
                    &self.planned,
                    &self.scenario,
                    Arc::new(Paced(Arc::clone(&process.store))),
                    &self.sources,
                    &self.outbox,
                    &self.clock,
                    process.skew_ms,
                )?,
            };
            self.nonces += 1;
            process.task = Some(process::tick(ticker, format!("n{}", self.nonces)));
            process.began = self.clock.now();
            self.trace.say(&process.name, format_args!("begins tick {}", self.nonces));
        }
        if !process.can_run() {
            return Ok(());
        }
        match process.poll() {
            Polled::Going => {}
            Polled::Crashed => {
                self.trace.say(&process.name, "crashes");
                self.stats.crashes += 1;
            }
            Polled::Stalled(call) => {
                // Somebody must go on advancing while this one stalls.
                let others = self.advances.iter().enumerate();
                let has_other =
                    others.clone().any(|(other, it)| other != index && it.stalled_until.is_none());
                let longest = if has_other && writes(&call) { 8 * HOUR_MS } else { HOUR_MS / 2 };
                let ms = self.rng.between(1000, longest);
                let process = &mut self.advances[index];
                process.stalled_until = Some(self.clock.now().plus(ms));
                let what = format_args!("stalls for {} s in call {}", ms / 1000, call.number);
                self.trace.say(&process.name, what);
                self.stats.stalls += 1;
                self.stats.long_stalls += u64::from(ms > HOUR_MS);
            }
            Polled::Done(Ok(ticked)) => self.ticked(index, &ticked)?,
            Polled::Done(Err(error)) if error.is_transient() => {
                self.trace.say(&process.name, error);
            }
            Polled::Done(Err(error)) => {
                return Err(Violation::Stopped(format!("{} stops: {error}", process.name)));
            }
        }
        Ok(())
    }

    pub(super) fn ticked(&mut self, index: usize, ticked: &Ticked) -> Result<(), Violation> {
        let name = &self.advances[index].name;
        let Ticked { epoch, recovered, lost, segments, windows, late, watermark, .. } = ticked;
        let (epoch, recovered) = (or_none(*epoch), or_none(*recovered));
        let watermark = or_none(watermark.map(|at| at.0));
        let held_by = or_none(ticked.held_by.as_ref());
        self.trace.say(
            name,
            format_args!(
                "ticked: epoch={epoch} recovered={recovered} lost={lost} segments={segments} \
                 windows={windows} late={late} watermark={watermark} held_by={held_by}"
            ),
        );
        self.stats.lost_ticks += u64::from(*lost);
        self.stats.recovered += u64::from(ticked.recovered.is_some());
        self.stats.snapshots += u64::from(ticked.snapshot);
        self.finished = ticked.finished;
        let began = self.advances[index].began;
        let oldest = self.newest()?.and_then(|newest| newest.oldest_since_snapshot);
        let is_snapshot_due = oldest.is_some_and(|oldest| began.since(oldest) > TTL_MS / 4);
        if !ticked.behind && !is_snapshot_due {
            self.caught_up = self.caught_up.max(began);
        }
        Ok(())
    }
}

fn or_none(value: Option<impl std::fmt::Display>) -> String {
    value.map_or("none".to_string(), |value| value.to_string())
}
