//! What happens around the processes: arrivals, time, expiry, late requests; and append or merging
//! as one step, where a scope has no processes for them.

use crate::record::{Position, Set};
use crate::state::{Segment, State, Step, Wrong};
use crate::{Event, Guard, Reached, Scope, advance, ingest};

/// The next record of a shard arrives.
pub(crate) fn arrive(scope: &Scope, state: &State, log: usize) -> Option<State> {
    let mut state = *state;
    let shard = &mut state.logs[log];
    if !scope.arrivals || shard.arrived >= scope.length(log, shard.generation) {
        return None;
    }
    shard.arrived += 1;
    Some(state)
}

/// The log's entry is written to the registry.
pub(crate) fn register(state: &State, log: usize) -> Option<State> {
    let mut state = *state;
    if state.logs[log].registered {
        return None;
    }
    state.logs[log].registered = true;
    Some(state)
}

/// The source is deleted, and created anew under its name, once its readers are done with the old
/// one: deleting a source deletes what was not read.
pub(crate) fn recreate(scope: &Scope, state: &State, log: usize) -> Option<State> {
    let mut state = *state;
    let is_read = state.ingests.iter().any(|ingest| ingest.step != Step::Idle);
    if !scope.recreated || is_read || state.logs[log].generation > 0 {
        return None;
    }
    state.logs[log].generation = 1;
    state.logs[log].arrived = scope.length(log, 1);
    Some(state)
}

/// The batches that a shard's source may hand out now.
pub(crate) fn batches(scope: &Scope, state: &State, log: usize) -> Vec<Set> {
    let shard = &state.logs[log];
    if scope.has(Guard::RegistryFirst) && !shard.registered {
        return Vec::new();
    }
    let of = |positions: std::ops::RangeInclusive<Position>| -> Set {
        positions.filter_map(|position| scope.at(log, shard.generation, position)).collect()
    };
    if scope.parallel {
        return by_key(scope, of(1..=shard.arrived), shard.acked);
    }
    let is_acked = |position: Position| {
        scope.at(log, shard.generation, position).is_some_and(|record| shard.acked.has(record))
    };
    let frontier = (1..=shard.arrived).find(|position| !is_acked(*position));
    let frontier = frontier.unwrap_or(shard.arrived + 1);
    // From where it was told to go on; or from the beginning, as after the reader is set up anew.
    let mut batches = Vec::new();
    for from in [1, frontier] {
        for to in from..=shard.arrived {
            if !batches.contains(&of(from..=to)) {
                batches.push(of(from..=to));
            }
        }
    }
    batches
}

/// The batches of a shard that two invocations read at once, each its own keys: every second
/// record has the other key.
fn by_key(scope: &Scope, all: Set, acked: Set) -> Vec<Set> {
    let mut batches = Vec::new();
    for key in 0..2 {
        let keyed =
            all.without(acked).iter().filter(|record| scope.records[*record].position % 2 == key);
        let keyed: Vec<usize> = keyed.collect();
        for count in 1..=keyed.len() {
            batches.push(keyed.iter().take(count).copied().collect());
        }
    }
    batches
}

/// Time passes. `None`: it cannot, because somebody would have mended what is wrong before.
///
/// What the model assumes of people: unmerged segments are merged a little before they expire, if
/// append has refused from half their time on; and advance runs at least once in the time that a
/// segment lives after it is merged.
pub(crate) fn tick(scope: &Scope, state: &State) -> Option<State> {
    let times = scope.times;
    if scope.sleepers && sleepers(scope, state) > 1 {
        return None;
    }
    let mut state = *state;
    for log in scope.logs() {
        let merged = state.merged(scope, log);
        let needed = if scope.advances > 0 { state.chain.replayed_from(log) } else { merged };
        // A process that reads the checkpoint and then the segments must not find a segment gone
        // that the checkpoint had not merged.
        let margin = times.cache + times.linger;
        let is_due =
            |segment: Segment, margin: u8| segment.age + 1 + margin >= times.ttl + times.grace;
        let is_mended = |(after, segment): (Position, Segment)| {
            let is_told = scope.sleepers || !state.is(Wrong::FedWhileOld);
            let is_unmerged = after >= merged && is_told && is_due(segment, margin);
            let is_needed = needed <= after && after < merged && !state.is(Wrong::Neglected);
            // What has lived its whole time may be gone already.
            let is_there = segment.age < times.ttl + times.grace;
            is_there && (is_unmerged || is_needed && is_due(segment, 0))
        };
        let segments = (0..).zip(&state.logs[log].segments);
        let mut segments = segments.filter_map(|(after, segment)| Some((after, (*segment)?)));
        if segments.any(is_mended) {
            return None;
        }
    }
    let before = state;
    for segment in state.logs.iter_mut().flat_map(|log| &mut log.segments).flatten() {
        segment.age = (segment.age + 1).min(times.ttl + times.grace);
    }
    let oldest = times.half + 1;
    for ingest in &mut state.ingests {
        for (log, tail) in ingest.tails.iter_mut().enumerate() {
            let is_in_use = ingest.step != Step::Idle && ingest.log as usize == log;
            if let Some(known) = tail {
                known.age = (known.age + 1).min(oldest);
                known.oldest = known.oldest.map(|age| (age + 1).min(oldest));
                let is_old = known.age > times.cache && scope.has(Guard::FreshFromCache);
                if is_old && !is_in_use {
                    *tail = None;
                }
            }
        }
        match &mut ingest.step {
            Step::Sending(segment) => segment.age = (segment.age + 1).min(times.ttl),
            Step::Waiting(put) => {
                put.segment.age = (put.segment.age + 1).min(times.ttl);
                put.sent = (put.sent + 1).min(times.linger + 1);
            }
            Step::Idle
            | Step::Reading
            | Step::HalfRead(..)
            | Step::Building
            | Step::Checking(_) => {}
        }
    }
    if let Some(orphan) = &mut state.orphan {
        orphan.put.segment.age = (orphan.put.segment.age + 1).min(times.ttl);
        orphan.put.sent += 1;
        if orphan.put.sent > times.linger {
            state.orphan = None;
        }
    }
    (state != before).then_some(state)
}

/// Processes that may be asleep between clock and put, and segments that one such has written or
/// is writing.
fn sleepers(scope: &Scope, state: &State) -> usize {
    let late = scope.times.half + scope.times.linger;
    let asleep = state.ingests.iter().filter(|ingest| match ingest.step {
        Step::Sending(_) => true,
        Step::Waiting(put) => put.segment.age > late,
        _ => false,
    });
    let segments = state.logs.iter().flat_map(|log| &log.segments).flatten();
    asleep.count() + segments.filter(|segment| segment.overslept).count()
}

/// The store deletes a segment.
pub(crate) fn expire(
    scope: &Scope,
    reached: &Reached,
    state: &State,
    log: usize,
    after: Position,
) -> Option<State> {
    let segment = state.logs[log].get(after)?;
    let merged = state.merged(scope, log);
    let is_expired = match scope.time {
        true => segment.age >= scope.times.ttl + scope.times.grace,
        // No clock: nothing that is needed expires, which scopes with time are there to show.
        false => segment.through <= state.chain.replayed_from(log),
    };
    let is_early = !scope.has(Guard::DeleteOnlyByTtl) && segment.through <= merged;
    if !is_expired && !is_early {
        return None;
    }
    let mut state = *state;
    state.logs[log].segments[after as usize] = None;
    if after >= merged {
        state.note(Wrong::ExpiredUnmerged);
    }
    reached.hit(Event::Expired);
    Some(state)
}

/// The store loses an unmerged segment, which no store may.
pub(crate) fn lose(scope: &Scope, state: &State, log: usize, after: Position) -> Option<State> {
    state.logs[log].get(after)?;
    if !scope.lossy || after < state.merged(scope, log) {
        return None;
    }
    let mut state = *state;
    state.logs[log].segments[after as usize] = None;
    Some(state)
}

/// A segment's put is carried out after its sender has given up.
pub(crate) fn orphan_lands(scope: &Scope, reached: &Reached, state: &State) -> Option<State> {
    let mut state = *state;
    let orphan = state.orphan.take()?;
    if ingest::create(scope, &mut state, orphan.log as usize, orphan.after, orphan.put.segment) {
        reached.hit(Event::Orphan);
    }
    Some(state)
}

/// A checkpoint's put is carried out after its sender has given up.
pub(crate) fn commit_lands(scope: &Scope, reached: &Reached, state: &State) -> Option<State> {
    let mut state = *state;
    let orphan = state.chain.orphan.take()?;
    if advance::create(scope, reached, &mut state, orphan) {
        reached.hit(Event::Orphan);
    }
    Some(state)
}

/// The store deletes a checkpoint that it may delete.
pub(crate) fn delete_checkpoint(reached: &Reached, state: &State, epoch: usize) -> Option<State> {
    let mut state = *state;
    state.chain.checkpoints[epoch].take_if(|checkpoint| checkpoint.expires)?;
    reached.hit(Event::CheckpointDeleted);
    Some(state)
}

/// The store deletes a snapshot that it may delete.
pub(crate) fn delete_snapshot(state: &State, epoch: usize) -> Option<State> {
    let mut state = *state;
    state.chain.snapshots[epoch].take_if(|snapshot| snapshot.expires)?;
    Some(state)
}

/// Append as one step: everything up to a position that is not in the log.
pub(crate) fn append(scope: &Scope, state: &State, log: usize, through: Position) -> Option<State> {
    let mut state = *state;
    let merged = state.merged(scope, log);
    let shard = &mut state.logs[log];
    let tail = shard.newest().map_or(merged, |(_, newest)| newest.through.max(merged));
    if through <= tail || scope.arrivals && through > shard.arrived {
        return None;
    }
    shard.arrived = shard.arrived.max(through);
    let holds: Set =
        (tail + 1..=through).filter_map(|position| scope.at(log, 0, position)).collect();
    shard.segments[tail as usize] =
        Some(Segment { through, holds, age: 0, arrival: 1, overslept: false });
    shard.acked = shard.acked.with(holds);
    Some(state)
}

/// Merging as one step: the next segment of a log.
pub(crate) fn merge(scope: &Scope, reached: &Reached, state: &State, log: usize) -> Option<State> {
    let mut state = *state;
    let shard = &mut state.logs[log];
    if scope.advances > 0 || !shard.registered {
        return None;
    }
    let (after, segment) = shard.from(shard.merged)?;
    if after != shard.merged {
        reached.hit(Event::GapFound);
        return None;
    }
    shard.merged = segment.through;
    shard.merged_arrival = shard.merged_arrival.max(segment.arrival);
    let mut results = Default::default();
    state.fold.merge(scope, segment.holds, 0, &mut results);
    Some(state)
}
