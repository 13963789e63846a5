//! What a tick holds and writes is bounded.

use tidemill_model::limits::{CHECKPOINT_BYTES_MAX, TICK_COMPRESSION};
use tidemill_testkit::Rng;

use super::world::World;
use crate::advance::AdvanceError;
use crate::ports::Drained;

#[test]
fn segments_that_compress_well_count_for_what_they_are_in_memory() {
    let letter = "x".repeat(4096);
    let dead = vec![letter.as_str(); 100];
    let weight = letter.len() * dead.len() / TICK_COMPRESSION;
    let mut world = World::new();
    world.register("s/a", 0);
    for time in 0..6 {
        world.append_with_dead("s/a", &[time], &dead, 0);
    }
    let pk = world.keys.log(&super::world::log("s/a"));
    let stored: usize = world
        .store
        .rows()
        .into_iter()
        .filter(|(key, _)| *key == pk)
        .map(|(_, row)| row.item.bytes.len())
        .sum();
    assert!(stored < weight, "all of them are smaller than one of them is when it is read");
    world.settings.tick_bytes_max = 2 * weight;
    let mut process = world.process();
    for _ in 0..3 {
        let ticked = world.tick(&mut process, 1).unwrap();
        assert_eq!((ticked.segments, ticked.behind), (2, true));
    }
    let ticked = world.tick(&mut process, 1).unwrap();
    assert_eq!((ticked.segments, ticked.totals.records), (0, 6 * 101));
}

#[test]
fn a_checkpoint_that_would_not_fit_an_item_stops_advance_with_a_remedy() {
    let mut world = World::new();
    let mut rng = Rng::new(1);
    for _ in 0..CHECKPOINT_BYTES_MAX / 120 {
        let mut name = "s/".to_string();
        // Names that do not compress.
        for _ in 0..15 {
            name += &format!("{:016x}", rng.bits());
        }
        world.register(&name, 0);
    }
    world.register("s/a", 0);
    world.append("s/a", &[1], 0);
    let mut process = world.process();
    let error = world.tick(&mut process, 1).unwrap_err();
    assert!(matches!(error, AdvanceError::CheckpointTooLarge { queries: 2, .. }), "{error}");
    assert!(!error.is_transient());
    assert!(error.to_string().contains("nothing is lost"), "{error}");
    assert_eq!(world.checkpoints().len(), 0);
}

/// A backlog whose results are many moved from the log into memory: each tick merged what it may
/// read, and closed the little that it may emit.
#[test]
fn a_backlog_waits_in_the_log_while_results_wait_to_be_emitted() {
    let mut world = World::new();
    world.register("s/a", 0);
    world.register("s/idle", 0);
    world.source("s/idle", Drained::Yes);
    let windows_of_a_segment = 20 + 5;
    for segment in 0..30 {
        let times: Vec<i64> = (0..20).map(|window| (segment * 20 + window) * 10).collect();
        world.append("s/a", &times, 0);
    }
    let pk = world.keys.log(&super::world::log("s/a"));
    let sizes = world.store.rows().into_iter().filter(|(key, _)| *key == pk);
    let bytes: usize = sizes.map(|(_, row)| row.item.bytes.len()).sum();
    world.settings.tick_bytes_max = bytes / 6;
    world.settings.results_max = windows_of_a_segment;
    let mut process = world.process();
    let mut most = 0;
    loop {
        let ticked = world.tick(&mut process, 101).unwrap();
        most = most.max(process.state.lock().unwrap().windows.len());
        if !ticked.behind {
            break;
        }
    }
    assert!(most <= 12 * windows_of_a_segment, "{most} windows were open at once");
    ["s/a", "s/idle"].into_iter().for_each(|log| world.end(log));
    while !world.tick(&mut process, 102).unwrap().finished {}
    world.assert_exactly_once();
    world.assert_cold_equals(&process);
}
