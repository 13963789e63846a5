//! One guard or step each.

use futures::FutureExt;
use tidemill_model::{Epoch, EventMs, Position, WallMs};

use super::fake::SinkFault;
use super::world::{World, log, query};
use crate::advance::{AdvanceError, QueryChange};
use crate::keys::Keys;
use crate::ports::Drained;

fn world() -> World {
    let mut world = World::new();
    world.register("s/a", 0);
    world
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn a_tick_may_run_on_any_thread() {
    let mut world = world();
    let mut process = world.process();
    let nonce = world.nonce();
    assert_send(process.advance.tick(WallMs(0), &nonce)).now_or_never().unwrap().unwrap();
}

#[test]
fn nothing_merged_and_nothing_closed_writes_nothing() {
    let mut world = world();
    let mut process = world.process();
    let before = world.store.rows();
    let ticked = world.tick(&mut process, 1).unwrap();
    assert_eq!((ticked.epoch, ticked.watermark, ticked.logs), (None, None, 1));
    world.append("s/a", &[1], 2);
    assert_eq!(world.tick(&mut process, 2).unwrap().epoch, Some(Epoch(0)));
    let after = world.store.rows();
    for now in 3..20 {
        assert_eq!(world.tick(&mut process, now).unwrap().epoch, None);
    }
    assert_eq!(world.store.rows(), after);
    assert!(before.len() < after.len());
}

#[test]
fn a_tick_says_what_waited_for_it_and_when_the_chain_last_grew() {
    let mut world = world();
    let mut process = world.process();
    let told = |ticked: crate::advance::Ticked| (ticked.unmerged_bytes, ticked.checkpoint_at);
    assert_eq!(told(world.tick(&mut process, 1).unwrap()), (0, None));
    world.append("s/a", &[1], 2);
    let ticked = world.tick(&mut process, 3).unwrap();
    assert!(ticked.bytes > 0);
    assert_eq!((ticked.unmerged_bytes, ticked.checkpoint_at), (ticked.bytes, Some(WallMs(3))));
    assert_eq!(told(world.tick(&mut process, 9).unwrap()), (0, Some(WallMs(3))));
}

#[test]
fn a_watermark_that_closes_nothing_is_not_written() {
    let mut world = world();
    let mut process = world.process();
    world.append("s/a", &[11], 0);
    assert_eq!(world.tick(&mut process, 0).unwrap().watermark, Some(EventMs(6)));
    // Idle: time moves on to 8, 9, 10 …, but the first window ends at 20.
    world.source("s/a", Drained::Yes);
    let ticked = world.tick(&mut process, 107).unwrap();
    assert_eq!((ticked.epoch, ticked.watermark), (Some(Epoch(1)), Some(EventMs(40))));
    let mut world = self::world();
    let mut process = world.process();
    world.append("s/a", &[11], 0);
    world.tick(&mut process, 0).unwrap();
    world.settings.streams.get_mut("s").unwrap().idle_after_ms = 1;
    let mut process = world.process();
    world.source("s/a", Drained::Yes);
    let ticked = world.tick(&mut process, 3).unwrap();
    assert_eq!((ticked.epoch, ticked.logs_idle, ticked.watermark), (None, 1, Some(EventMs(6))));
    world.assert_cold_equals(&process);
}

/// An ingest process whose clock was minutes behind made its log look idle at once: windows closed
/// early, and what came next was late.
#[test]
fn a_writer_whose_clock_is_behind_does_not_make_its_log_idle() {
    let mut world = world();
    let mut process = world.process();
    world.source("s/a", Drained::Yes);
    world.append_by_a_clock("s/a", &[11], &[], 4_000, 10_000);
    let ticked = world.tick(&mut process, 10_050).unwrap();
    assert_eq!((ticked.logs_idle, ticked.watermark), (0, Some(EventMs(6))));
    let ticked = world.tick(&mut process, 10_107).unwrap();
    assert_eq!((ticked.logs_idle, ticked.watermark), (1, Some(EventMs(40))));
}

#[test]
fn windows_close_at_the_watermark_and_results_carry_ids() {
    let mut world = world();
    let mut process = world.process();
    world.append("s/a", &[1, 2, 11, 15], 0);
    let ticked = world.tick(&mut process, 7).unwrap();
    assert_eq!((ticked.windows, ticked.results, ticked.records), (1, 1, 4));
    assert_eq!((ticked.watermark, ticked.lag_ms), (Some(EventMs(10)), Some(5)));
    let taken = world.taken.lock().unwrap();
    let ids: Vec<&String> = taken.by_id.keys().collect();
    assert_eq!(ids, ["fine/0/0"]);
    assert!(taken.by_id["fine/0/0"].contains(r#""window_end":10,"rows":2"#));
    assert!(taken.by_id["fine/0/0"].contains(r#""made_at":7"#));
}

#[test]
fn a_gap_is_an_error_never_skipped() {
    let mut world = world();
    let mut process = world.process();
    for now in 0..3 {
        world.append("s/a", &[now, now + 1], now);
    }
    let pk = world.keys.log(&log("s/a"));
    assert!(world.store.delete(&pk, &Keys::segment(Position::from_offset(1))));
    let error = world.tick(&mut process, 5).unwrap_err();
    let AdvanceError::Gap { expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!((*expected, *found), (Position::from_offset(1), Position::from_offset(3)));
    assert!(!error.is_transient());
    assert_eq!(world.items("/checkpoint"), []);
    // The first segment missing is a gap, too.
    assert!(world.store.delete(&pk, &Keys::segment(Position::START)));
    let error = world.tick(&mut process, 6).unwrap_err();
    assert!(matches!(error, AdvanceError::Gap { expected: Position::START, .. }), "{error}");
}

#[test]
fn what_a_stalled_writer_left_behind_the_merged_position_is_not_read() {
    let mut world = world();
    let mut process = world.process();
    world.append("s/a", &[1, 2], 0);
    world.append("s/a", &[3, 4], 0);
    world.tick(&mut process, 0).unwrap();
    let pk = world.keys.log(&log("s/a"));
    let stray = world.store.rows().into_iter().find(|(of, _)| *of == pk).unwrap().1.item;
    world.store.delete(&pk, &Keys::segment(Position::START));
    world.put(&pk, &Keys::segment(Position::from_offset(0)), stray.bytes);
    world.append("s/a", &[5], 1);
    let ticked = world.tick(&mut process, 1).unwrap();
    assert_eq!((ticked.segments, ticked.records), (1, 1));
}

#[test]
fn a_segment_under_another_s_key_is_damage() {
    let mut world = world();
    let mut process = world.process();
    world.append("s/a", &[1, 2], 0);
    world.append("s/a", &[3, 4], 0);
    let pk = world.keys.log(&log("s/a"));
    let rows: Vec<_> = world.store.rows().into_iter().filter(|(of, _)| *of == pk).collect();
    world.store.overwrite(&pk, &rows[1].1.sk, rows[0].1.item.clone());
    let error = world.tick(&mut process, 0).unwrap_err();
    assert!(matches!(error, AdvanceError::Damaged { .. }), "{error}");
}

#[test]
fn arrival_order_of_logs_does_not_matter_within_a_tick() {
    // The sums' bits depend on the order of merging.
    let sums = |order: [&str; 2]| {
        let mut world = World::new();
        order.iter().for_each(|name| world.register(name, 0));
        for name in order {
            let times: Vec<i64> = match name {
                "s/a" => (0..40).collect(),
                _ => (0..40).map(|n| n * 7 % 40).collect(),
            };
            times.chunks(7).for_each(|times| world.append(name, times, 0));
        }
        let mut process = world.process();
        world.tick(&mut process, 0).unwrap();
        world.file("out")
    };
    assert_eq!(sums(["s/a", "s/b"]), sums(["s/b", "s/a"]));
}

#[test]
fn a_tick_reads_a_bounded_number_of_bytes_from_the_slowest_logs() {
    let mut world = World::new();
    for (name, time) in [("s/a", 50), ("s/b", 10)] {
        world.register(name, 0);
        world.append(name, &[time], 0);
    }
    let mut process = world.process();
    world.tick(&mut process, 0).unwrap();
    for time in 1..4 {
        world.append("s/a", &[50 + time], 1);
        world.append("s/b", &[10 + time], 1);
    }
    // Every log looks idle, and its source is drained: only what is unread keeps it active.
    world.source("s/a", Drained::Yes);
    world.source("s/b", Drained::Yes);
    world.settings.tick_bytes_max = 1;
    let mut process = world.process();
    for (watermark, merged) in [(6, 2), (7, 3), (8, 4)] {
        let ticked = world.tick(&mut process, 500).unwrap();
        assert!(ticked.behind && ticked.segments == 1, "{ticked:?}");
        assert_eq!((ticked.watermark, ticked.logs_idle), (Some(EventMs(watermark)), 0));
        assert_eq!(ticked.totals.records, merged + 1);
    }
    while world.tick(&mut process, 500).unwrap().behind {}
    let ticked = world.tick(&mut process, 500).unwrap();
    assert_eq!((ticked.logs_idle, ticked.totals.records), (2, 8));
    assert_eq!(ticked.watermark, Some(EventMs(80)));
}

#[test]
fn an_epoch_emits_no_more_than_results_max_unless_one_window_does() {
    let mut world = world();
    world.settings.results_max = 2;
    world.append("s/a", &(0..100).collect::<Vec<_>>(), 0);
    let mut process = world.process();
    let mut results = Vec::new();
    loop {
        let ticked = world.tick(&mut process, 0).unwrap();
        results.push(ticked.results);
        assert!(ticked.watermark <= Some(EventMs(94)));
        if !ticked.behind {
            break;
        }
    }
    // Ends 10, 20, 30 | 40 twice | 50 … 80 with 80 twice | 90.
    assert_eq!(results.iter().sum::<u64>(), 11);
    assert!(results.iter().all(|rows| *rows <= 2), "{results:?}");
    world.end("s/a");
    while !world.tick(&mut process, 1).unwrap().finished {}
    world.assert_exactly_once();
    world.assert_cold_equals(&process);
}

#[test]
fn a_changed_a_new_and_a_removed_query_are_refused_with_a_remedy() {
    let mut world = world();
    world.append("s/a", &[1], 0);
    let mut process = world.process();
    world.tick(&mut process, 0).unwrap();
    let before = world.queries.clone();
    let mut changed = before.clone();
    changed[0].fingerprint = tidemill_model::Fingerprint(9);
    let mut added = before.clone();
    added.push(query("new", 3, 10));
    for (queries, name, change) in [
        (changed, "coarse", QueryChange::Changed),
        (added, "new", QueryChange::Added),
        (before[..1].to_vec(), "fine", QueryChange::Removed),
    ] {
        world.queries = queries;
        let mut process = world.process();
        let error = world.tick(&mut process, 1).unwrap_err();
        assert!(error.to_string().contains("new `name`"), "{error}");
        let AdvanceError::QueriesChanged { query, change: found } = error else { panic!() };
        assert_eq!((query.as_str(), found), (name, change));
    }
    world.queries = before;
    let mut process = world.process();
    world.tick(&mut process, 1).unwrap();
}

#[test]
fn a_log_of_a_stream_that_is_gone_is_refused() {
    let mut world = world();
    world.register("other/a", 0);
    let mut process = world.process();
    let error = world.tick(&mut process, 0).unwrap_err();
    assert!(matches!(error, AdvanceError::StreamGone { .. }), "{error}");
}

#[test]
fn a_registered_log_is_known_before_its_first_segment() {
    let mut world = world();
    world.register("s/b", 0);
    world.append("s/a", &[100], 0);
    let mut process = world.process();
    let ticked = world.tick(&mut process, 0).unwrap();
    assert_eq!((ticked.watermark, ticked.held_by), (None, Some(log("s/b"))));
    let checkpoint = &world.checkpoints()[0];
    assert_eq!(checkpoint.logs[&log("s/b")].merged, Position::START);
    world.assert_cold_equals(&process);
}

#[test]
fn a_row_is_late_for_what_the_previous_checkpoint_had_closed() {
    let mut world = world();
    let mut process = world.process();
    // In one tick: 30 moves the watermark past the windows of 1, but they close after merging.
    world.append("s/a", &[30], 0);
    world.append("s/a", &[1], 0);
    let ticked = world.tick(&mut process, 0).unwrap();
    assert_eq!((ticked.late, ticked.windows), (0, 1));
    // Now [0, 10) is closed, [0, 40) is not.
    world.append("s/a", &[2], 1);
    let ticked = world.tick(&mut process, 1).unwrap();
    assert_eq!((ticked.late, ticked.dead_letters), (1, 1));
    assert_eq!((ticked.totals.late, ticked.totals.dead_letters), (1, 1));
    assert_eq!(ticked.totals.records, 3);
    let dead = world.file("dead");
    assert!(dead[0].contains(r#""reason":"late""#) && dead[0].contains(r#""query":"fine""#));
    assert!(world.taken.lock().unwrap().by_id.contains_key("dead/1/0"));
}

#[test]
fn dead_letters_of_segments_are_emitted_in_merge_order_with_their_epoch() {
    let mut world = world();
    world.register("s/b", 0);
    world.append_with_dead("s/b", &[], &["third"], 0);
    world.append_with_dead("s/a", &[], &["first", "second"], 0);
    let mut process = world.process();
    let ticked = world.tick(&mut process, 0).unwrap();
    assert_eq!((ticked.dead_letters, ticked.records, ticked.watermark), (3, 3, None));
    let taken = world.taken.lock().unwrap();
    for (id, raw) in [("dead/0/0", "first"), ("dead/0/1", "second"), ("dead/0/2", "third")] {
        assert!(taken.by_id[id].contains(&format!(r#""raw":"{raw}""#)), "{:?}", taken.by_id);
    }
    assert_eq!(taken.emissions, [("dead".to_string(), Epoch(0))]);
}

#[test]
fn rows_that_no_sink_can_take_are_dead_letters_with_the_same_ids_at_a_replay() {
    let mut world = world();
    let mut process = world.process();
    world.taken.lock().unwrap().unfit = vec!["fine/0/0".to_string()];
    world.append_with_dead("s/a", &[1, 2, 30], &["junk"], 0);
    // The dead-letter sink fails when the results are delivered already.
    world.taken.lock().unwrap().fault_in = Some((1, SinkFault::Down));
    assert!(world.tick(&mut process, 0).is_err());
    let mut process = world.process();
    let ticked = world.tick(&mut process, 0).unwrap();
    assert_eq!((ticked.recovered, ticked.rejected), (Some(Epoch(0)), 1));
    let taken = world.taken.lock().unwrap().by_id.clone();
    assert!(!taken.contains_key("fine/0/0"), "{taken:?}");
    assert!(taken["dead/0/0"].contains("junk"), "{taken:?}");
    let rejected = &taken["rejected/out/fine/0/0"];
    assert!(rejected.contains(r#""reason":"rejected""#), "{taken:?}");
    assert!(rejected.contains(r#""result_id":"fine/0/0""#), "{taken:?}");
    // A tick counts what its own epoch had rejected too.
    world.taken.lock().unwrap().unfit.push("fine/1/0".to_string());
    world.append("s/a", &[45], 0);
    let ticked = world.tick(&mut process, 0).unwrap();
    assert_eq!((ticked.epoch, ticked.rejected), (Some(Epoch(1)), 1));
}

#[test]
fn the_end_of_input_closes_every_window_at_once() {
    let mut world = world();
    world.register("s/b", 0);
    world.append("s/a", &[1, 50], 0);
    let mut process = world.process();
    world.tick(&mut process, 0).unwrap();
    world.end("s/a");
    assert!(!world.tick(&mut process, 0).unwrap().finished);
    world.append("s/b", &[3], 0);
    world.end("s/b");
    let ticked = world.tick(&mut process, 0).unwrap();
    assert!(ticked.finished && !ticked.behind);
    assert_eq!(ticked.watermark, Some(EventMs(80)));
    world.assert_exactly_once();
    assert_eq!(world.tick(&mut process, 1).unwrap().epoch, None);
}

#[test]
fn sources_are_asked_for_the_merged_position_of_logs_that_look_idle() {
    let mut world = world();
    world.register("s/b", 0);
    world.append("s/a", &[1, 2], 0);
    world.append("s/b", &[1], 50);
    let mut process = world.process();
    world.tick(&mut process, 99).unwrap();
    assert_eq!(*world.sources.asked.lock().unwrap(), []);
    world.tick(&mut process, 100).unwrap();
    let asked = world.sources.asked.lock().unwrap();
    assert_eq!(*asked, [(log("s/a"), Position::from_offset(1))]);
}

#[test]
fn an_epoch_without_its_marker_is_emitted_again_with_the_same_ids() {
    let mut world = world();
    let mut process = world.process();
    world.append_with_dead("s/a", &[1, 2, 30], &["junk"], 0);
    world.tick(&mut process, 0).unwrap();
    assert_eq!(world.items("/emitted").len(), 1);
    // Marked: a new process does not emit it again.
    let mut cold = world.process();
    assert_eq!(world.tick(&mut cold, 1).unwrap().recovered, None);
    assert_eq!(world.taken.lock().unwrap().emissions.len(), 2);
    world.store.delete(&world.keys.emitted(), &Keys::epoch(Epoch(0)));
    let mut cold = world.process();
    assert_eq!(world.tick(&mut cold, 1).unwrap().recovered, Some(Epoch(0)));
    assert_eq!(world.taken.lock().unwrap().emissions.len(), 4);
    assert_eq!(world.taken.lock().unwrap().by_id.len(), 2);
    assert_eq!(world.file("out").len(), 1);
    assert_eq!(world.items("/emitted").len(), 1);
}

#[test]
fn an_epoch_without_results_has_no_marker() {
    let mut world = world();
    let mut process = world.process();
    world.append("s/a", &[1], 0);
    world.tick(&mut process, 0).unwrap();
    assert!(!world.checkpoints()[0].emits);
    assert_eq!(world.items("/emitted"), []);
}

#[test]
fn a_sink_that_is_down_stops_the_chain_and_loses_nothing() {
    let mut world = world();
    let mut process = world.process();
    for round in 0..3 {
        world.append("s/a", &[round * 20 + 1, round * 20 + 19], round);
        world.taken.lock().unwrap().fault_in = Some((0, SinkFault::Down));
        let error = world.tick(&mut process, round).unwrap_err();
        assert!(error.is_transient());
        assert!(error.to_string().contains("sink `out` is down"), "{error}");
        // It is still down: no epoch is begun.
        world.taken.lock().unwrap().fault_in = Some((0, SinkFault::Down));
        world.append("s/a", &[round * 20 + 19], round);
        assert!(world.tick(&mut process, round).is_err());
        assert_eq!(world.checkpoints().len(), 2 * round as usize + 1);
        let ticked = world.tick(&mut process, round).unwrap();
        assert_eq!(ticked.recovered, Some(Epoch(2 * round as u64)));
    }
    world.end("s/a");
    while !world.tick(&mut process, 9).unwrap().finished {}
    world.assert_exactly_once();
}

#[test]
fn a_query_that_fails_stops_the_tick_and_the_next_one_begins_at_the_chain() {
    let mut world = world();
    let mut process = world.process();
    world.append("s/a", &[1], 0);
    world.tick(&mut process, 0).unwrap();
    let queries = world.queries.clone();
    world.queries.push(query("unknown", 7, 10));
    world.append("s/a", &[2], 1);
    world.queries = queries;
    let error = world.tick(&mut process, 1).unwrap_err();
    assert!(matches!(error, AdvanceError::Query(_)) && !error.is_transient(), "{error}");
    assert_eq!(world.checkpoints().len(), 1);
    assert!(process.advance.warm.is_none());
}

#[test]
fn a_log_in_the_chain_that_the_registry_lost_is_damage() {
    let mut world = world();
    world.append("s/a", &[1], 0);
    let mut process = world.process();
    world.tick(&mut process, 0).unwrap();
    assert!(world.store.delete(&world.keys.logs(), &Keys::entry(&log("s/a"))));
    let error = world.tick(&mut process, 0).unwrap_err();
    assert!(matches!(error, AdvanceError::Damaged { .. }), "{error}");
}

#[test]
fn inspecting_changes_nothing() {
    let mut world = world();
    let mut process = world.process();
    let inspect = |world: &World| {
        let mut queries = super::fake::Queries {
            told: false,
            queries: world.queries.clone(),
            state: std::sync::Arc::default(),
        };
        let store = std::sync::Arc::new(world.store.clone());
        let inspected = crate::advance::inspect(store, world.keys.clone(), &mut queries);
        inspected.now_or_never().unwrap().unwrap()
    };
    assert_eq!(inspect(&world).newest, None);
    world.append("s/a", &[1, 17], 0);
    let ticked = world.tick(&mut process, 0).unwrap();
    let before = world.store.rows();
    let inspected = inspect(&world);
    assert_eq!(inspected.newest, world.checkpoints().pop());
    assert_eq!(inspected.open, ticked.open);
    assert!(inspected.is_emitted && inspected.logs.contains_key(&log("s/a")));
    assert_eq!(world.store.rows(), before);
    world.store.delete(&world.keys.emitted(), &Keys::epoch(Epoch(0)));
    assert!(!inspect(&world).is_emitted);
}
