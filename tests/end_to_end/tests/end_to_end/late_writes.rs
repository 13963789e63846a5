//! Writes of a function that was killed, which arrive when another one has emitted newer rows over the
//! same keys: they overwrite nothing, and bring nothing back that was withdrawn.

use std::thread;
use std::time::{Duration, Instant};

use end_to_end::clock::wall_ms;
use end_to_end::mapping::KinesisSettings;
use end_to_end::payments::{Generator, PAYMENTS, PIPELINE, STATUS};
use end_to_end::proxy::Fate;
use end_to_end::schedule;
use end_to_end::world::{RESULTS_TABLE, World};

use crate::deployment::{Deployment, WITHIN};
use crate::row_queries::{SHARDS, Watch, assert_right, map, put, put_stragglers};

/// Writes on the way when the function is killed: fewer than go out at once.
const ON_THE_WAY: u64 = 20;

#[test]
fn writes_that_arrive_after_their_function_was_killed_overwrite_nothing() {
    let world = World::new(PIPELINE, &[], 52);
    let deployment = Deployment::over_streams(world, &[(PAYMENTS, SHARDS), (STATUS, SHARDS)]);
    let proxy = &deployment.world.proxy;
    let mappings = map(&deployment, KinesisSettings::new(52));
    let mut generator = Generator::new(wall_ms() - 120_000, 52);
    put(&deployment, &generator.more(120, 20_000));
    mappings.iter().for_each(|mapping| mapping.drain(WITHIN));

    proxy.hold_puts(Some(RESULTS_TABLE));
    thread::scope(|scope| {
        let first = scope.spawn(|| deployment.advance.invoke(&schedule::event()));
        let until = Instant::now() + WITHIN;
        while proxy.counts().get(&Fate::Held).is_none_or(|held| *held < ON_THE_WAY) {
            assert!(Instant::now() < until && !first.is_finished(), "too little is written");
            thread::sleep(Duration::from_millis(10));
        }
        deployment.advance.abort();
        assert!(first.join().unwrap().is_err(), "it was killed");
    });
    proxy.hold_puts(None);

    let (schedule, watch) = (deployment.schedule(1), Watch::default());
    for _ in 0..3 {
        put_stragglers(&deployment, &mappings, &schedule, &mut generator, WITHIN);
        put(&deployment, &generator.more(60, 10_000));
    }
    mappings.iter().for_each(|mapping| mapping.drain(WITHIN));
    schedule.wait_for_more(1, WITHIN);
    watch.look(&deployment).unwrap();
    assert!(proxy.pass_held() as u64 >= ON_THE_WAY);
    watch.look(&deployment).unwrap();
    assert_right(&deployment, generator.all(), &watch, WITHIN);
    assert_eq!(schedule.failures(), Vec::<String>::new());
}
