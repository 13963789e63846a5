//! When snapshots are made, what they are of, and what goes after them.

use tidemill_model::Epoch;
use tidemill_model::store::Item;

use super::world::{Process, World, log};
use crate::advance::AdvanceError;
use crate::keys::Keys;
use crate::ports::Drained;

fn world() -> World {
    let mut world = World::new();
    world.settings.snapshot_after_bytes = 1;
    world.register("s/a", 0);
    world
}

/// `rounds` epochs, each with one more segment.
fn run(world: &mut World, process: &mut Process, rounds: std::ops::Range<i64>) {
    for round in rounds {
        world.append("s/a", &[round * 6, round * 6 + 3], round);
        world.tick(process, round).unwrap();
        world.assert_cold_equals(process);
    }
}

#[test]
fn a_snapshot_is_the_state_before_the_epoch_that_names_it() {
    let mut world = world();
    let mut process = world.process();
    run(&mut world, &mut process, 0..1);
    assert_eq!(world.checkpoints()[0].snapshot, None);
    let before = process.state.lock().unwrap().windows.len();
    run(&mut world, &mut process, 1..2);
    let checkpoint = &world.checkpoints()[1];
    let reference = checkpoint.snapshot.clone().unwrap();
    assert_eq!(reference.epoch, Epoch(1));
    // Bytes since the snapshot: those of this epoch's one segment.
    let segment = world.store.rows().into_iter().rfind(|(pk, _)| pk.contains("/log/")).unwrap().1;
    assert_eq!(checkpoint.log_bytes, segment.item.bytes.len() as u64);
    let mut cold = world.process();
    let chain = &cold.advance.chain;
    let read = super::super::snapshot::read(chain, &mut *cold.advance.open, &reference);
    futures::FutureExt::now_or_never(read).unwrap().unwrap();
    assert_eq!(cold.state.lock().unwrap().windows.len(), before);
}

#[test]
fn a_snapshot_waits_until_the_log_is_worth_it() {
    let mut world = world();
    let mut process = world.process();
    run(&mut world, &mut process, 0..40);
    let mut last: Option<tidemill_model::Checkpoint> = None;
    let mut snapshots = 0;
    for checkpoint in world.checkpoints() {
        if let Some(last) = &last {
            let size = last.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes);
            let is_new = last.snapshot != checkpoint.snapshot;
            assert_eq!(is_new, last.log_bytes > 4 * size, "epoch {}", checkpoint.epoch);
            snapshots += u64::from(is_new);
        }
        last = Some(checkpoint);
    }
    assert!((3..30).contains(&snapshots), "{snapshots} snapshots");
}

#[test]
fn a_cold_start_needs_nothing_from_before_the_snapshot() {
    let mut world = world();
    let mut process = world.process();
    run(&mut world, &mut process, 0..12);
    let newest = world.checkpoints().pop().unwrap();
    let first = newest.snapshot.unwrap().epoch;
    let before = world.checkpoints()[first.0 as usize - 1].clone();
    for (pk, sk) in world.items("/log/") {
        if sk < Keys::segment(before.logs[&log("s/a")].merged) {
            assert!(world.store.delete(&pk, &sk));
        }
    }
    for (pk, sk) in world.items("/checkpoint") {
        if sk < Keys::epoch(before.epoch) {
            assert!(world.store.delete(&pk, &sk));
        }
    }
    world.assert_cold_equals(&process);
    let mut cold = world.process();
    run(&mut world, &mut cold, 12..16);
}

#[test]
fn an_old_log_gets_a_snapshot_even_when_nothing_else_happens() {
    let mut world = world();
    world.settings.snapshot_after_bytes = u64::MAX;
    let mut process = world.process();
    run(&mut world, &mut process, 0..3);
    world.source("s/a", Drained::No);
    let quarter = world.settings.segment_ttl_ms / 4;
    assert_eq!(world.tick(&mut process, quarter).unwrap().epoch, None);
    let ticked = world.tick(&mut process, quarter + 1).unwrap();
    assert!(ticked.snapshot && ticked.segments == 0);
    assert_eq!(ticked.epoch, Some(Epoch(3)));
    assert_eq!(world.checkpoints()[3].oldest_since_snapshot, None);
    world.assert_cold_equals(&process);
    // Once.
    assert_eq!(world.tick(&mut process, quarter + 2).unwrap().epoch, None);
    // All segments may go now.
    for (pk, sk) in world.items("/log/") {
        world.store.delete(&pk, &sk);
    }
    world.assert_cold_equals(&process);
}

#[test]
fn what_a_newer_snapshot_replaces_gets_a_time_to_live_and_nothing_else_does() {
    let mut world = world();
    let mut process = world.process();
    run(&mut world, &mut process, 0..20);
    let newest = world.checkpoints().pop().unwrap();
    let reference = newest.snapshot.unwrap();
    let last_marker = world.items("/emitted").pop().unwrap().1;
    let current = format!("/snapshot/{}/", reference.epoch);
    let mut expiring = [0; 3];
    for (pk, row) in world.store.rows() {
        let expires = row.item.expires_at.is_some();
        let is_old = row.sk < Keys::epoch(Epoch(reference.epoch.0 - 1));
        match () {
            () if pk == world.keys.checkpoint() => {
                assert_eq!(expires, is_old, "{pk} {}", row.sk);
                expiring[0] += u64::from(expires);
            }
            () if pk == world.keys.emitted() => {
                assert!(!expires || (is_old && row.sk < last_marker), "{pk} {}", row.sk);
                expiring[1] += u64::from(expires);
            }
            () if pk.contains("/snapshot/") => {
                assert_eq!(expires, !pk.contains(&current), "{pk}");
                expiring[2] += u64::from(expires);
            }
            () => assert!(!expires, "{pk}"),
        }
    }
    assert!(expiring.iter().all(|count| *count > 2), "{expiring:?}");
    // After they are gone, everything goes on.
    assert!(world.store.expire_until(tidemill_model::WallMs(i64::MAX)) > 0);
    world.assert_cold_equals(&process);
    let mut cold = world.process();
    run(&mut world, &mut cold, 20..24);
    world.end("s/a");
    while !world.tick(&mut cold, 100).unwrap().finished {}
    world.assert_exactly_once();
}

#[test]
fn the_newest_marker_stays_however_old_it_is() {
    let mut world = world();
    let mut process = world.process();
    run(&mut world, &mut process, 0..6);
    let last_marker = world.items("/emitted").pop().unwrap();
    // A new log without a clock holds the watermark: many epochs, nothing to emit.
    world.register("s/b", 6);
    run(&mut world, &mut process, 6..30);
    let reference = world.checkpoints().pop().unwrap().snapshot.unwrap();
    assert!(last_marker.1 < Keys::epoch(Epoch(reference.epoch.0 - 1)));
    world.store.expire_until(tidemill_model::WallMs(i64::MAX));
    assert_eq!(world.items("/emitted").pop(), Some(last_marker));
    world.end("s/a");
    world.end("s/b");
    let mut cold = world.process();
    while !world.tick(&mut cold, 100).unwrap().finished {}
    world.assert_exactly_once();
}

#[test]
fn a_missing_chunk_checkpoint_or_segment_is_damage_and_named() {
    let mut damaged = Vec::new();
    for part in ["/snapshot/", "/checkpoint", "/log/"] {
        let mut world = world();
        world.settings.snapshot_after_bytes = 300;
        let mut process = world.process();
        run(&mut world, &mut process, 0..9);
        let newest = world.checkpoints().pop().unwrap();
        let first = newest.snapshot.unwrap().epoch;
        assert!(first < newest.epoch);
        let found = match part {
            "/snapshot/" => world.items(&format!("/snapshot/{first}/")).pop().unwrap(),
            "/checkpoint" => (world.keys.checkpoint(), Keys::epoch(first)),
            _ => world.items(part).pop().unwrap(),
        };
        assert!(world.store.delete(&found.0, &found.1), "{found:?}");
        let mut cold = world.process();
        let error = world.tick(&mut cold, 100).unwrap_err();
        let AdvanceError::Damaged { item, .. } = &error else { panic!("{error}") };
        assert!(item.contains(part), "{error}");
        damaged.push(item.clone());
    }
    assert_eq!(damaged.len(), 3);
}

#[test]
fn a_chunk_that_was_written_under_the_same_nonce_is_never_mistaken_for_ours() {
    let mut world = world();
    let mut process = world.process();
    run(&mut world, &mut process, 0..1);
    let nonce = format!("n{}", world.nonce()[1..].parse::<u64>().unwrap() + 1);
    let (pk, sk) = world.keys.snapshot(Epoch(1), &nonce, 0);
    world.put(&pk, &sk, b"somebody else's".to_vec());
    world.append("s/a", &[9], 1);
    let error = world.tick(&mut process, 1).unwrap_err();
    assert!(matches!(error, AdvanceError::NonceUsed { .. }) && error.is_transient(), "{error}");
    // With the next nonce it works.
    assert!(world.tick(&mut process, 1).unwrap().snapshot);
    world.assert_cold_equals(&process);
}

#[test]
fn a_replay_that_gives_other_results_than_the_chain_says_is_damage() {
    let mut world = world();
    world.settings.snapshot_after_bytes = u64::MAX;
    let mut process = world.process();
    run(&mut world, &mut process, 0..6);
    let (pk, epoch) = (world.keys.checkpoint(), 4);
    let mut checkpoint = world.checkpoints()[epoch].clone();
    checkpoint.queries.values_mut().for_each(|query| query.results += 1);
    let bytes = tidemill_codec::encode_checkpoint(&checkpoint);
    let sk = Keys::epoch(checkpoint.epoch);
    world.store.overwrite(&pk, &sk, Item { bytes, expires_at: None });
    let mut cold = world.process();
    let error = world.tick(&mut cold, 10).unwrap_err();
    assert!(error.to_string().contains("does not give what it says"), "{error}");
}
