//! Segments tile each source, and nothing is taken for done before it is in its log.

use tidemill_model::Position;

use super::{Evidence, Stored, items, keys, segment};
use crate::history::{History, Violation, violated};

/// Every segment that was ever created, by shard, by `after`.
pub(super) fn segments(history: &History) -> Result<Vec<Vec<Stored>>, Violation> {
    let mut logs = Vec::new();
    for shard in &history.shards {
        let mut stored = Vec::new();
        for (sk, (index, bytes)) in items(history, &keys(history).log(&shard.log))? {
            let segment = segment(&bytes)?;
            if sk != segment.after.to_key() {
                violated!("a segment lies under another key than its `after`. sk=`{sk}`");
            }
            stored.push(Stored { segment, index });
        }
        logs.push(stored);
    }
    Ok(logs)
}

pub(super) fn check(evidence: &Evidence) -> Result<(), Violation> {
    for (shard, segments) in evidence.history.shards.iter().zip(&evidence.segments) {
        let log = &shard.log;
        let mut expected = shard.start;
        for Stored { segment, .. } in segments {
            let (after, through) = (segment.after, segment.through);
            if after != expected || through <= after {
                violated!(
                    "segments do not tile. log=`{log}` expected=`{expected:?}` after=`{after:?}` \
                     through=`{through:?}`"
                );
            }
            let within = |position: Position| after < position && position <= through;
            let records = shard.records.iter().filter(|it| within(it.position)).count() as u64;
            let ends = shard.records.iter().any(|it| it.position == through);
            if records != segment.records || !ends {
                violated!(
                    "a segment does not hold its records. log=`{log}` after=`{after:?}` \
                     through=`{through:?}` source=`{records}` segment=`{}`",
                    segment.records
                );
            }
            expected = through;
        }
        let last = shard.records.last().map_or(shard.start, |record| record.position);
        if expected != last {
            violated!("records are in no segment. log=`{log}` log_ends=`{expected:?}`");
        }
    }
    for ack in &evidence.history.acks {
        let segments = &evidence.segments[ack.shard];
        let needed = segments.iter().filter(|it| it.segment.after < ack.through);
        if needed.clone().any(|it| it.index >= ack.created) {
            violated!("records were taken for done too early. through=`{:?}`", ack.through);
        }
    }
    Ok(())
}
