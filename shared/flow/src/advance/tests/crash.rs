//! The process dies, or its store fails, at every single call; another one, or the same, goes on.

use std::sync::Arc;

use futures::FutureExt;
use tidemill_model::WallMs;
use tidemill_testkit::{Call, Fault, FaultyStore, Verb};

use super::fake::SinkFault;
use super::world::{Process, World};

/// A story with everything in it: two logs, dead letters, windows of two queries that close in
/// several epochs, snapshots, an end. `tick` ticks until nothing is left to do.
fn story(mut tick: impl FnMut(&mut World, i64)) -> World {
    let mut world = World::new();
    world.settings.snapshot_after_bytes = 1;
    world.settings.results_max = 2;
    for name in ["s/a", "s/b"] {
        world.register(name, 0);
    }
    for round in 0i64..8 {
        let (now, base) = (round * 10, round * 13);
        world.append_with_dead("s/a", &[base, base + 3, base + 7], &["junk"], now);
        world.append("s/b", &[base + 1, base + 9], now);
        world.append("s/b", &[base + 11], now + 1);
        tick(&mut world, now + 2);
    }
    world.end("s/a");
    world.end("s/b");
    tick(&mut world, 100);
    world
}

fn tick_to_the_end(world: &mut World, process: &mut Process, now: i64) {
    while world.tick(process, now).unwrap().behind {}
}

/// The calls of the story when nothing fails.
fn calls() -> Vec<Call> {
    let mut process = None;
    let mut faulty = None;
    let world = story(|world, now| {
        let process = process.get_or_insert_with(|| {
            let store = FaultyStore::new(world.store.clone(), |_: &Call| Fault::None);
            let store = Arc::new(store);
            faulty = Some(store.clone());
            world.process_on(store)
        });
        tick_to_the_end(world, process, now);
        world.assert_cold_equals(process);
    });
    world.assert_exactly_once();
    assert_eq!(world.file("dead").len(), 8);
    assert!(world.checkpoints().iter().any(|checkpoint| checkpoint.snapshot.is_some()));
    let history = faulty.unwrap().history();
    let calls: Vec<Call> = history.into_iter().map(|(call, _)| call).collect();
    let happens =
        |verb, part: &str| calls.iter().any(|call| call.verb == verb && call.pk.contains(part));
    for part in ["/checkpoint", "/snapshot/", "/emitted"] {
        assert!(happens(Verb::PutNew, part), "the story writes no {part}");
        assert!(happens(Verb::Expire, part), "the story expires no {part}");
    }
    calls
}

fn assert_all(world: &World) {
    world.assert_exactly_once();
    assert_eq!(world.file("dead").len(), 8);
    let epochs: Vec<u64> =
        world.checkpoints().iter().map(|checkpoint| checkpoint.epoch.0).collect();
    assert_eq!(epochs, (0..epochs.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_crash_at_any_call_loses_and_doubles_nothing() {
    let calls = calls();
    for crash_at in 0..calls.len() as u64 {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let mut process: Option<Process> = None;
            let mut crashes = 0;
            let world = story(|world, now| {
                loop {
                    let running = process.get_or_insert_with(|| {
                        let plan = move |call: &Call| {
                            if call.number == crash_at { fault } else { Fault::None }
                        };
                        let store = FaultyStore::new(world.store.clone(), plan);
                        if crashes > 0 {
                            store.heal();
                        }
                        world.process_on(Arc::new(store))
                    });
                    let nonce = world.nonce();
                    match running.advance.tick(WallMs(now), &nonce).now_or_never() {
                        Some(ticked) if !ticked.as_ref().unwrap().behind => break,
                        Some(_) => {}
                        None => {
                            crashes += 1;
                            process = None;
                        }
                    }
                }
                world.assert_cold_equals(process.as_ref().unwrap());
            });
            assert_eq!(crashes, 1, "crash at {:?}", calls[crash_at as usize]);
            assert_all(&world);
        }
    }
}

#[test]
fn a_call_that_fails_or_whose_answer_is_lost_loses_and_doubles_nothing() {
    let calls = calls();
    for fault_at in 0..calls.len() as u64 {
        for fault in [Fault::Lost, Fault::Vanished, Fault::Refused] {
            let mut process: Option<Process> = None;
            let world = story(|world, now| {
                let running = process.get_or_insert_with(|| {
                    let plan = move |call: &Call| {
                        if call.number == fault_at { fault } else { Fault::None }
                    };
                    world.process_on(Arc::new(FaultyStore::new(world.store.clone(), plan)))
                });
                loop {
                    match world.tick(running, now) {
                        Ok(ticked) if !ticked.behind => break,
                        Ok(_) => {}
                        Err(error) => assert!(error.is_transient(), "{error}"),
                    }
                }
                world.assert_cold_equals(running);
            });
            assert_all(&world);
        }
    }
}

#[test]
fn a_cancelled_tick_costs_nothing_but_work() {
    // The same process goes on after its tick was dropped in the middle.
    let calls = calls();
    for cancel_at in 0..calls.len() as u64 {
        let mut process: Option<Process> = None;
        let mut cancelled = 0;
        let world = story(|world, now| {
            let running = process.get_or_insert_with(|| {
                let plan = move |call: &Call| {
                    if call.number == cancel_at { Fault::CrashAfter } else { Fault::None }
                };
                world.process_on(Arc::new(FaultyStore::new(world.store.clone(), plan)))
            });
            loop {
                let nonce = world.nonce();
                match running.advance.tick(WallMs(now), &nonce).now_or_never() {
                    Some(ticked) if !ticked.as_ref().unwrap().behind => break,
                    Some(_) => {}
                    None => cancelled += 1,
                }
            }
            world.assert_cold_equals(running);
        });
        assert_eq!(cancelled, 1);
        assert_all(&world);
    }
}

#[test]
fn a_crash_or_failure_inside_any_emission_loses_and_doubles_nothing() {
    let emissions = {
        let mut process = None;
        let world = story(|world, now| {
            let process = process.get_or_insert_with(|| world.process());
            tick_to_the_end(world, process, now);
        });
        world.taken.lock().unwrap().emissions.len() as u64
    };
    assert!(emissions > 10);
    for fault_at in 0..emissions {
        for fault in [SinkFault::Down, SinkFault::Crash] {
            let mut process: Option<Process> = None;
            let mut faults = 0;
            let world = story(|world, now| {
                loop {
                    let running = process.get_or_insert_with(|| {
                        if faults == 0 {
                            world.taken.lock().unwrap().fault_in = Some((fault_at, fault));
                        }
                        world.process()
                    });
                    let nonce = world.nonce();
                    match running.advance.tick(WallMs(now), &nonce).now_or_never() {
                        Some(Ok(ticked)) if !ticked.behind => break,
                        Some(Ok(_)) => {}
                        Some(Err(error)) => {
                            faults += 1;
                            assert!(error.to_string().contains("disk full"), "{error}");
                        }
                        None => {
                            faults += 1;
                            process = None;
                        }
                    }
                }
            });
            assert_eq!(faults, 1);
            assert_all(&world);
        }
    }
}
