//! Which shards there are, and when one has ended.

use super::*;

const MINUTE: i64 = 60_000;

#[tokio::test]
async fn shards_of_all_pages_are_registered_with_parents_and_identity() {
    let world = World::new(StartingPosition::TrimHorizon, true);
    world.script().page = 2;
    world.script().shards = vec![
        shard(0, &[], true),
        shard(1, &[], true),
        shard(2, &[0, 1], false),
        shard(3, &[], false),
        shard(4, &[3], false),
    ];
    assert_eq!(world.register(NOW).await, Vec::<String>::new());
    assert_eq!(world.count("ListShards"), 3);
    let entries = world.registry.all().await.unwrap();
    assert_eq!(entries.len(), 5);
    let merged = &entries[2];
    assert_eq!(merged.log, LogId::new("ads", id(2)));
    assert_eq!(merged.parents, [LogId::new("ads", id(0)), LogId::new("ads", id(1))]);
    assert_eq!((merged.registered_at, merged.start), (NOW, Position::START));
    assert_eq!(merged.identity, "made 2020-09-13T12:26:40Z");

    // Ingest gets the same, also for a shard that it hears of first.
    world.script().shards.push(shard(5, &[4], false));
    let entry = world.kinesis.entry(&id(5), NOW).await.unwrap();
    assert_eq!(entry.parents, [LogId::new("ads", id(4))]);
    assert_eq!(entry.identity, merged.identity);
    let error = world.kinesis.entry(&id(6), NOW).await.unwrap_err();
    assert!(matches!(error, SourceError::NoSuchLog { .. }), "{error}");
}

#[tokio::test]
async fn a_listing_is_asked_for_once_a_minute_and_sooner_with_a_reason() {
    let world = World::registered().await;
    for seconds in [0, 1, 59] {
        world.register(NOW.plus(seconds * 1_000)).await;
    }
    assert_eq!(world.count("ListShards"), 1);
    world.register(NOW.plus(MINUTE)).await;
    assert_eq!(world.count("ListShards"), 2);
    // A clock that was set back is no reason to wait.
    world.register(NOW).await;
    assert_eq!(world.count("ListShards"), 3);
    // A log of a shard that is not listed yet is a reason to look.
    assert_eq!(world.drained(7, position(0)).await, Drained::No);
    world.register(NOW).await;
    assert_eq!(world.count("ListShards"), 4);
}

#[tokio::test]
async fn nothing_is_drained_before_it_is_registered() {
    let world = World::new(StartingPosition::TrimHorizon, true);
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
    world.refuse_writes(true);
    assert_eq!(world.register(NOW).await.len(), 1);
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
    assert_eq!(world.count("GetRecords"), 0);
    world.refuse_writes(false);
    assert_eq!(world.register(NOW).await, Vec::<String>::new());
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
}

/// A split while we look: the parent's end is seen before the listing shows its children. Were the
/// parent drained then, time would run ahead of the children's records.
#[tokio::test]
async fn a_closed_shard_is_drained_and_ended_once_its_children_are_registered() {
    let world = World::registered().await;
    let end = read(&[], 0, None);
    world.script().reads.push_back(end.clone());
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
    assert!(!world.kinesis.ended(&id(0)));

    world.script().shards = vec![shard(0, &[], true), shard(1, &[0], false), shard(2, &[0], false)];
    world.refuse_writes(true);
    assert_eq!(world.register(NOW).await.len(), 2, "looked at once, not in a minute");
    world.script().reads.push_back(end.clone());
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
    assert!(!world.kinesis.ended(&id(0)));

    world.refuse_writes(false);
    assert_eq!(world.register(NOW).await, Vec::<String>::new());
    assert!(world.kinesis.ended(&id(0)) && !world.kinesis.ended(&id(1)));
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
    // The end does not move: it is not asked for again, whatever the service would say now.
    let asked = world.count("GetRecords");
    world.script().reads.push_back(error(400, "ProvisionedThroughputExceededException", ""));
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
    assert_eq!(world.count("GetRecords"), asked);
}

/// A listing from before the split was complete shows a closed shard without children.
#[tokio::test]
async fn a_closed_shard_without_children_has_not_ended() {
    let world = World::registered().await;
    world.script().shards = vec![shard(0, &[], true)];
    world.register(NOW.plus(MINUTE)).await;
    world.script().reads.push_back(read(&[], 0, None));
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
    assert!(!world.kinesis.ended(&id(0)));
}

/// A shard of a split counted as ended when one of its children was listed, so that the records of
/// the other, which was not listed yet, were late.
#[tokio::test]
async fn a_split_shard_has_not_ended_before_both_children_are_registered() {
    let world = World::new(StartingPosition::TrimHorizon, true);
    world.script().shards = vec![shard(0, &[], true), shard(1, &[0], false)];
    world.register(NOW).await;
    let end = read(&[], 0, None);
    world.script().reads.push_back(end.clone());
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
    assert!(!world.kinesis.ended(&id(0)));

    world.script().shards.push(shard(2, &[0], false));
    assert_eq!(world.register(NOW).await, Vec::<String>::new(), "looked at once, not in a minute");
    assert!(world.kinesis.ended(&id(0)));
    world.script().reads.push_back(end);
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
}

/// An answer at the tip of a shard that is known to be closed is from before its end.
#[tokio::test]
async fn a_closed_shard_is_drained_at_its_end_only() {
    let world = World::new(StartingPosition::TrimHorizon, true);
    world.script().shards = vec![shard(0, &[], true), shard(1, &[0], false), shard(2, &[0], false)];
    world.register(NOW).await;
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
    world.script().reads.push_back(read(&[], 0, None));
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
}

#[tokio::test]
async fn an_expired_shard_is_ended_and_drained_without_a_question() {
    let world = World::new(StartingPosition::TrimHorizon, true);
    world.script().shards = vec![shard(4, &[3], false), shard(5, &[3], false)];
    world.register(NOW).await;
    for number in [0, 3] {
        assert!(world.kinesis.ended(&id(number)));
        assert_eq!(world.drained(number, position(0)).await, Drained::Yes);
    }
    assert_eq!(world.count("GetShardIterator"), 0);
    assert!(!world.kinesis.ended(&id(6)), "newer than the listing");
    assert_eq!(world.drained(6, position(0)).await, Drained::No);
}

/// Shards that are made at once need not be listed at once.
#[tokio::test]
async fn no_shard_has_expired_while_the_stream_is_being_resharded() {
    let world = World::new(StartingPosition::TrimHorizon, true);
    world.script().status = "UPDATING";
    world.script().shards = vec![shard(4, &[3], false)];
    world.register(NOW).await;
    assert!(!world.kinesis.ended(&id(2)));
    assert_eq!(world.drained(2, position(0)).await, Drained::No);
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_found_out() {
    let world = World::registered().await;
    world.script().made += 1;
    let said = world.register(NOW.plus(MINUTE)).await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("another source of the same name"), "{said:?}");
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
    // It is said at every tick, not only when the list is new.
    assert_eq!(world.register(NOW.plus(MINUTE)).await.len(), 1);
    assert_eq!(world.in_registry().await.len(), 1);
}

#[tokio::test]
async fn a_stream_that_is_not_there_or_not_ours_is_named() {
    for (code, said) in [
        ("ResourceNotFoundException", "there is no Kinesis stream `clicks`"),
        ("AccessDeniedException", "allow kinesis:DescribeStreamSummary"),
    ] {
        let world = World::registered().await;
        world.script().summaries.push_back(error(400, code, "no"));
        let errors = world.kinesis.register(&world.registry, NOW.plus(MINUTE)).await.unwrap_err();
        assert!(errors[0].to_string().contains(said), "{errors:?}");
        assert!(!errors[0].is_transient());
        assert_eq!(world.drained(0, position(0)).await, Drained::Unknown);
        // It comes back.
        assert_eq!(world.register(NOW.plus(MINUTE)).await, Vec::<String>::new());
        assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
    }

    // Without a source in the file the stream may be a topic: no error, and nobody can tell.
    let world = World::new(StartingPosition::TrimHorizon, false);
    world.script().summaries.push_back(error(400, "ResourceNotFoundException", "no"));
    assert_eq!(world.register(NOW).await, Vec::<String>::new());
    assert_eq!(world.drained(0, position(0)).await, Drained::Unknown);
}

#[tokio::test]
async fn a_listing_that_fails_leaves_the_one_before() {
    let world = World::registered().await;
    let down = error(500, "InternalFailure", "oops");
    world.script().summaries.extend(std::iter::repeat_n(down, 2));
    let errors = world.kinesis.register(&world.registry, NOW.plus(MINUTE)).await.unwrap_err();
    assert!(errors[0].is_transient(), "{errors:?}");
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
}
