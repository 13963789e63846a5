//! Two processes advance one pipeline.

use std::sync::Arc;

use futures::FutureExt;
use tidemill_model::WallMs;
use tidemill_testkit::{Call, Fault, FaultyStore};

use super::world::World;

fn world() -> World {
    let mut world = World::new();
    world.settings.snapshot_after_bytes = 1;
    world.register("s/a", 0);
    world.register("s/b", 0);
    world
}

fn append(world: &mut World, round: i64) {
    let base = round * 20;
    world.append("s/a", &[base, base + 12], round * 10);
    world.append("s/b", &[base + 5, base + 19], round * 10);
}

/// The results under their ids: no id has two values (the sink checks), no window two ids.
fn assert_chain_is_right(world: &World) {
    let taken = world.taken.lock().unwrap();
    let windows = World::windows(taken.by_id.values().cloned());
    assert_eq!(windows, world.expected);
}

/// The same, while windows are open.
fn assert_chain_is_right_so_far(world: &World) {
    let taken = world.taken.lock().unwrap();
    for (window, count) in World::windows(taken.by_id.values().cloned()) {
        assert_eq!(world.expected.get(&window), Some(&count), "{window:?}");
    }
}

#[test]
fn processes_that_take_turns_agree() {
    let mut world = world();
    let mut processes = [world.process(), world.process(), world.process()];
    for round in 0..9 {
        append(&mut world, round);
        let now = round * 10 + 1;
        let process = &mut processes[round as usize % 3];
        let mut behind = true;
        while behind {
            // What the others did is known before the work is done, not after it.
            let ticked = world.tick(process, now).unwrap();
            assert!(!ticked.lost);
            behind = ticked.behind;
        }
        world.assert_cold_equals(&processes[round as usize % 3]);
    }
    world.end("s/a");
    world.end("s/b");
    while world.tick(&mut processes[0], 200).unwrap().behind {}
    world.assert_exactly_once();
}

#[test]
fn a_process_that_stalls_at_any_call_while_another_goes_on_changes_nothing() {
    let mut stall_at = 0;
    loop {
        let mut world = world();
        let plan = move |call: &Call| {
            if call.number == stall_at { Fault::Stall } else { Fault::None }
        };
        let faulty = Arc::new(FaultyStore::new(world.store.clone(), plan));
        let mut slow = world.process_on(faulty.clone());
        let mut quick = world.process();
        let mut stalled = false;
        let mut appended = 0;
        for round in 0..5 {
            append(&mut world, appended);
            appended += 1;
            let mut behind = true;
            while behind {
                let (now, nonce) = (WallMs(round * 10 + 1), world.nonce());
                let mut tick = Box::pin(slow.advance.tick(now, &nonce));
                let ticked = match (&mut tick).now_or_never() {
                    Some(ticked) => ticked,
                    None => {
                        stalled = true;
                        let call = faulty.stalled()[0].number;
                        while world.tick(&mut quick, now.0 + 3).unwrap().behind {}
                        append(&mut world, appended);
                        appended += 1;
                        while world.tick(&mut quick, now.0 + 4).unwrap().behind {}
                        assert!(faulty.resume(call));
                        (&mut tick).now_or_never().unwrap()
                    }
                };
                behind = ticked.unwrap().behind;
            }
            while world.tick(&mut quick, round * 10 + 5).unwrap().behind {}
            world.assert_cold_equals(&quick);
        }
        world.end("s/a");
        world.end("s/b");
        while world.tick(&mut quick, 300).unwrap().behind {}
        assert_eq!(world.checkpoints().last().unwrap().totals.late, 0);
        assert_chain_is_right(&world);
        if !stalled {
            break;
        }
        stall_at += 1;
    }
    assert!(stall_at > 30, "only {stall_at} calls were stalled");
}

/// Found by the simulation: what had been merged and had expired while a tick slept was taken for
/// damage, and advance asked for a backup.
#[test]
fn what_expired_while_a_tick_stalled_is_not_missing() {
    let (mut stall_at, mut lost) = (0, 0);
    loop {
        let mut world = world();
        let plan = move |call: &Call| {
            if call.number == stall_at { Fault::Stall } else { Fault::None }
        };
        let mut quick = world.process();
        for round in 0..3 {
            append(&mut world, round);
            while world.tick(&mut quick, round * 10 + 1).unwrap().behind {}
        }
        append(&mut world, 3);
        let faulty = Arc::new(FaultyStore::new(world.store.clone(), plan));
        let mut slow = world.process_on(faulty.clone());
        let nonce = world.nonce();
        let mut tick = Box::pin(slow.advance.tick(WallMs(31), &nonce));
        if (&mut tick).now_or_never().is_some() {
            break;
        }
        for round in 4..8 {
            append(&mut world, round);
            while world.tick(&mut quick, round * 10 + 1).unwrap().behind {}
        }
        world.expire();
        assert!(faulty.resume(faulty.stalled()[0].number));
        faulty.heal();
        let ticked = (&mut tick).now_or_never().unwrap();
        lost += u64::from(ticked.unwrap_or_else(|error| panic!("call {stall_at}: {error}")).lost);
        drop(tick);
        while world.tick(&mut slow, 90).unwrap().behind {}
        world.assert_cold_equals(&slow);
        assert_chain_is_right_so_far(&world);
        stall_at += 1;
    }
    assert!(stall_at > 8 && lost > 3, "{stall_at} calls were stalled, {lost} ticks were lost");
}

#[test]
fn the_loser_of_a_race_throws_its_work_away_and_expires_its_snapshot() {
    let mut world = world();
    let mut first = world.process();
    append(&mut world, 0);
    world.tick(&mut first, 1).unwrap();
    let is_checkpoint = |call: &Call| call.sk.len() == 20 && call.pk.ends_with("/checkpoint");
    let plan = move |call: &Call| {
        let is_put = call.verb == tidemill_testkit::Verb::PutNew;
        if is_put && is_checkpoint(call) { Fault::Stall } else { Fault::None }
    };
    let faulty = Arc::new(FaultyStore::new(world.store.clone(), plan));
    let mut loser = world.process_on(faulty.clone());
    append(&mut world, 1);
    let nonce = world.nonce();
    let mut tick = Box::pin(loser.advance.tick(WallMs(50), &nonce));
    assert!((&mut tick).now_or_never().is_none());
    let winner = world.tick(&mut first, 51).unwrap();
    assert!(winner.epoch.is_some());
    faulty.resume(faulty.stalled()[0].number);
    faulty.heal();
    let lost = tick.now_or_never().unwrap().unwrap();
    assert!(lost.lost && lost.behind && lost.epoch.is_none());
    let chunks = format!("/{nonce}/");
    let orphans: Vec<_> =
        world.store.rows().into_iter().filter(|(pk, _)| pk.contains(&chunks)).collect();
    assert!(!orphans.is_empty());
    assert!(orphans.iter().all(|(_, row)| row.item.expires_at.is_some()));
    // The next tick begins at the chain.
    assert!(!world.tick(&mut loser, 52).unwrap().lost);
    world.assert_cold_equals(&loser);
}

/// Found by the model (`tests/model`): without a look at the chain after its put, the process
/// emits an epoch of its own under the ids of the real one.
#[test]
fn an_epoch_whose_key_expired_while_its_writer_slept_is_not_believed() {
    let mut world = world();
    let mut quick = world.process();
    append(&mut world, 0);
    world.tick(&mut quick, 1).unwrap();
    let pk = world.keys.checkpoint();
    let plan = move |call: &Call| {
        let is_commit = call.verb == tidemill_testkit::Verb::PutNew && call.pk == pk;
        if is_commit { Fault::Stall } else { Fault::None }
    };
    let faulty = Arc::new(FaultyStore::new(world.store.clone(), plan));
    let mut sleeper = world.process_on(faulty.clone());
    append(&mut world, 1);
    let nonce = world.nonce();
    let mut tick = Box::pin(sleeper.advance.tick(WallMs(50), &nonce));
    assert!((&mut tick).now_or_never().is_none());
    let key = faulty.stalled()[0].sk.clone();

    // The other one merges more in the epoch that the sleeper wants, goes on, and what its newer
    // snapshots replaced expires.
    for round in 2..8 {
        append(&mut world, round);
        while world.tick(&mut quick, 50 + round).unwrap().behind {}
    }
    world.store.expire_until(WallMs(i64::MAX));
    assert!(!world.items("/checkpoint").iter().any(|(_, sk)| *sk == key), "{key} did not expire");

    faulty.resume(faulty.stalled()[0].number);
    faulty.heal();
    let slept = tick.now_or_never().unwrap().unwrap();
    assert!(world.items("/checkpoint").iter().any(|(_, sk)| *sk == key), "the key was free");
    assert!(slept.lost && slept.behind && slept.epoch.is_none(), "{slept:?}");
    world.tick(&mut sleeper, 60).unwrap();
    world.assert_cold_equals(&sleeper);
    world.end("s/a");
    world.end("s/b");
    while world.tick(&mut sleeper, 300).unwrap().behind {}
    assert_chain_is_right(&world);
}
