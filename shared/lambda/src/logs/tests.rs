use tidemill_testkit::{Fault, FaultyStore, Verb};

use super::*;
use crate::test_world::{Listed, NOW, World};

fn log(name: &str) -> LogId {
    LogId::parse(name).unwrap()
}

fn world(shards: &[(&str, &[&str])]) -> World {
    World { shards: Listed::of(shards), ..World::new() }
}

#[tokio::test]
async fn the_first_record_of_a_stream_registers_all_its_shards() {
    let world = world(&[("s/0", &[]), ("s/1", &[]), ("s/2", &["s/0", "s/1"])]);
    let mut logs = world.logs(Arc::new(world.store.clone()));
    logs.ensure(&log("s/1"), WallMs(NOW)).await.unwrap();
    let registered: Vec<(String, usize)> = world.registered().await.into_iter().collect();
    let expected = [("s/0", 0), ("s/1", 0), ("s/2", 2)].map(|(log, n)| (log.to_string(), n));
    assert_eq!(registered, expected);
}

#[tokio::test]
async fn who_knows_a_log_asks_nobody() {
    let world = world(&[("s/0", &[])]);
    let store = Arc::new(FaultyStore::new(world.store.clone(), |_: &_| Fault::None));
    let mut first = world.logs(store.clone());
    first.ensure(&log("s/0"), WallMs(NOW)).await.unwrap();
    let calls = store.history().len();
    first.ensure(&log("s/0"), WallMs(NOW)).await.unwrap();
    assert_eq!(store.history().len(), calls, "a warm process");
    assert_eq!(*world.shards.listings.lock().unwrap(), 1);

    let mut second = world.logs(store.clone());
    second.ensure(&log("s/0"), WallMs(NOW)).await.unwrap();
    assert_eq!(store.history().len(), calls + 1, "a cold process reads the registry");
    assert_eq!(*world.shards.listings.lock().unwrap(), 1, "and leaves the source alone");
}

#[tokio::test]
async fn a_source_that_cannot_be_listed_registers_nothing() {
    let world = world(&[("s/0", &[])]);
    *world.shards.is_down.lock().unwrap() = true;
    let mut logs = world.logs(Arc::new(world.store.clone()));
    let error = logs.ensure(&log("s/0"), WallMs(NOW)).await.unwrap_err();
    assert_eq!(code(&error), "Register.Retry");
    assert!(world.registered().await.is_empty());
    *world.shards.is_down.lock().unwrap() = false;
    logs.ensure(&log("s/0"), WallMs(NOW)).await.unwrap();
}

#[tokio::test]
async fn a_shard_that_its_source_does_not_have_is_not_made_up() {
    let world = world(&[("s/0", &[])]);
    let mut logs = world.logs(Arc::new(world.store.clone()));
    let error = logs.ensure(&log("s/9"), WallMs(NOW)).await.unwrap_err();
    assert_eq!(code(&error), "Register.Stuck");
    assert_eq!(world.registered().await.len(), 1, "those that it has are registered");
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again() {
    for number in 0..4 {
        for fault in [Fault::Refused, Fault::Lost, Fault::Vanished] {
            let world = world(&[("s/0", &[])]);
            let plan = move |call: &tidemill_testkit::Call| match call.number == number {
                true => fault,
                false => Fault::None,
            };
            let store = Arc::new(FaultyStore::new(world.store.clone(), plan));
            let mut logs = world.logs(store.clone());
            if let Err(error) = logs.ensure(&log("s/0"), WallMs(NOW)).await {
                assert_eq!(code(&error), "Register.Retry", "{error}");
                assert!(!logs.known.contains(&log("s/0")));
                logs.ensure(&log("s/0"), WallMs(NOW)).await.unwrap();
            }
            assert!(store.history().iter().any(|(call, _)| call.verb == Verb::PutNew));
            assert_eq!(world.registered().await.len(), 1);
        }
    }
}
