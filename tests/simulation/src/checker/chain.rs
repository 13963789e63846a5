//! One chain of checkpoints: dense, each created once, never going back.

use tidemill_codec::decode_checkpoint;
use tidemill_model::{Checkpoint, Epoch};

use super::{Evidence, items, keys, unreadable};
use crate::history::{History, Violation, violated};

/// Every checkpoint that was ever created, by epoch.
pub(super) fn checkpoints(history: &History) -> Result<Vec<Checkpoint>, Violation> {
    let mut checkpoints: Vec<Checkpoint> = Vec::new();
    for (sk, (_, bytes)) in items(history, &keys(history).checkpoint())? {
        let checkpoint = decode_checkpoint(&bytes).map_err(unreadable)?;
        let expected = Epoch(checkpoints.len() as u64);
        if checkpoint.epoch != expected || sk != expected.to_key() {
            violated!("epochs are not dense. expected=`{expected}` sk=`{sk}`");
        }
        checkpoints.push(checkpoint);
    }
    Ok(checkpoints)
}

pub(super) fn check(evidence: &Evidence) -> Result<(), Violation> {
    for pair in evidence.checkpoints.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let epoch = after.epoch;
        if after.watermark < before.watermark {
            violated!("the watermark goes back. epoch=`{epoch}`");
        }
        for (log, progress) in &before.logs {
            match after.logs.get(log) {
                Some(next) if next.merged >= progress.merged => {}
                _ => violated!("a log's merged position goes back. epoch=`{epoch}` log=`{log}`"),
            }
        }
    }
    for (shard, segments) in evidence.history.shards.iter().zip(&evidence.segments) {
        let log = &shard.log;
        for checkpoint in &evidence.checkpoints {
            let merged = checkpoint.logs.get(log).map_or(shard.start, |progress| progress.merged);
            let ends = segments.iter().any(|it| it.segment.through == merged);
            if merged != shard.start && !ends {
                let epoch = checkpoint.epoch;
                violated!("a merged position lies inside a segment. epoch=`{epoch}` log=`{log}`");
            }
        }
        let newest = evidence.checkpoints.last().and_then(|newest| newest.logs.get(log));
        let merged = newest.map_or(shard.start, |progress| progress.merged);
        let last = shard.records.last().map_or(shard.start, |record| record.position);
        if merged != last {
            violated!("records were never merged. log=`{log}` merged=`{merged:?}`");
        }
    }
    Ok(())
}
