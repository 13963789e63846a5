//! Whether something lies after a position.

use super::*;

#[tokio::test]
async fn an_empty_answer_at_the_tip_is_drained_and_one_before_it_is_not() {
    let world = World::registered().await;
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);

    // Lag: followed, and only the tip counts.
    let behind = |next| read(&[], 4_000, Some(next));
    world.script().reads.extend([behind("a"), behind("b"), read(&[], 0, Some("c"))]);
    assert_eq!(world.drained(0, position(1)).await, Drained::Yes);
    let iterators: Vec<_> = world.server.requests("GetRecords").iter().map(used).collect();
    assert_eq!(iterators, ["opened", "opened", "a", "b"]);

    world.script().reads.extend(["a", "b", "c", "d", "e"].map(behind));
    assert_eq!(world.drained(0, position(2)).await, Drained::No);

    // An answer that does not say how far behind it is says nothing.
    let silent = (200, json!({ "Records": [], "NextShardIterator": "next" }));
    world.script().reads.extend(std::iter::repeat_n(silent, 5));
    assert_eq!(world.drained(0, position(3)).await, Drained::No);
}

fn used(request: &Request) -> String {
    request.json()["ShardIterator"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_record_after_the_position_is_not_drained() {
    let world = World::registered().await;
    world.script().reads.push_back(read(&[record(LATER, b"{}")], 0, Some("next")));
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
}

/// The position's own record comes first, because Kinesis has no iterator after a user record.
#[tokio::test]
async fn the_position_s_own_record_counts_only_as_far_as_it_was_taken() {
    let packed = crate::kpl::pack(&[b"a", b"b", b"c"]);
    let only_looks_packed = [&packed[..packed.len() - 1], b"x"].concat();
    for (data, sub, drained) in [
        (&b"{}"[..], 0, Drained::Yes),
        (&packed, 2, Drained::Yes),
        (&packed, 1, Drained::No),
        (&packed, 0, Drained::No),
        (&only_looks_packed, 0, Drained::Yes),
    ] {
        let world = World::registered().await;
        // Kinesis may say that it is at the tip while it hands over the record itself.
        world.script().reads.push_back(read(&[record(NUMBER, data)], 0, Some("next")));
        assert_eq!(world.drained(0, position(sub)).await, drained, "{data:?} {sub}");
        let asked = world.server.requests("GetShardIterator")[0].json();
        assert_eq!(asked["ShardIteratorType"], "AT_SEQUENCE_NUMBER");
        assert_eq!(asked["StartingSequenceNumber"], NUMBER);
        assert_eq!(world.server.requests("GetRecords")[0].json()["Limit"], 1);
    }
}

/// The record at the tip and what comes behind it: the record itself must not be all that is seen.
#[tokio::test]
async fn the_position_s_own_record_does_not_hide_what_follows() {
    let world = World::registered().await;
    let own = read(&[record(NUMBER, b"{}")], 0, Some("next"));
    world.script().reads.extend([own, read(&[record(LATER, b"{}")], 0, Some("next"))]);
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
}

#[tokio::test]
async fn what_passes_is_no_and_what_a_person_must_change_is_unknown() {
    for (answer, drained) in [
        (error(400, "ProvisionedThroughputExceededException", "slow down"), Drained::No),
        (error(400, "LimitExceededException", "slow down"), Drained::No),
        (error(400, "KMSThrottlingException", "slow down"), Drained::No),
        (error(500, "InternalFailure", "oops"), Drained::No),
        (error(400, "ResourceNotFoundException", "no such shard"), Drained::No),
        (error(400, "AccessDeniedException", "no"), Drained::Unknown),
        (error(400, "KMSAccessDeniedException", "no"), Drained::Unknown),
    ] {
        let world = World::registered().await;
        world.script().reads.extend(std::iter::repeat_n(answer.clone(), 10));
        assert_eq!(world.drained(0, position(0)).await, drained, "{answer:?}");
        let world = World::registered().await;
        world.script().iterators.extend(std::iter::repeat_n(answer.clone(), 10));
        assert_eq!(world.drained(0, position(0)).await, drained, "{answer:?}");
    }
}

#[tokio::test]
async fn an_iterator_is_kept_for_its_position_and_opened_again_when_it_has_expired() {
    let world = World::registered().await;
    for _ in 0..3 {
        assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
    }
    assert_eq!((world.count("GetShardIterator"), world.count("GetRecords")), (1, 3));

    let expired = error(400, "ExpiredIteratorException", "too old");
    world.script().reads.push_back(expired.clone());
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
    assert_eq!(world.count("GetShardIterator"), 2);

    // An iterator that was opened just now does not expire: nothing is believed.
    world.script().reads.extend([expired.clone(), expired]);
    assert_eq!(world.drained(0, position(0)).await, Drained::No);

    // Another position needs another iterator.
    assert_eq!(world.drained(0, position(7)).await, Drained::Yes);
    let asked = world.server.requests("GetShardIterator").len();
    assert_eq!(world.drained(0, position(8)).await, Drained::Yes);
    assert_eq!(world.server.requests("GetShardIterator").len(), asked + 1);
}

/// No answer is remembered: a record that came since is seen.
#[tokio::test]
async fn a_record_that_came_after_a_yes_is_seen() {
    let world = World::registered().await;
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
    world.script().reads.push_back(read(&[record(LATER, b"{}")], 0, Some("next")));
    assert_eq!(world.drained(0, position(0)).await, Drained::No);
    // The iterator has passed a record: the next look begins at the position again.
    assert_eq!(world.count("GetShardIterator"), 1);
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
    assert_eq!(world.count("GetShardIterator"), 2);
}

/// A position whose record has expired: what the look passes before it does not count.
#[tokio::test]
async fn an_expired_position_is_looked_at_from_the_oldest_record() {
    let world = World::registered().await;
    let invalid = error(400, "InvalidArgumentException", "no such sequence number");
    world.script().iterators.push_back(invalid.clone());
    world.script().reads.push_back(read(&[record("77", b"{}")], 900, Some("next")));
    assert_eq!(world.drained(0, position(0)).await, Drained::Yes);
    assert_eq!(
        world.server.requests("GetShardIterator")[1].json()["ShardIteratorType"],
        "TRIM_HORIZON"
    );

    let world = World::registered().await;
    world.script().iterators.push_back(invalid.clone());
    world.script().reads.push_back(read(&[record(LATER, b"{}")], 900, Some("next")));
    assert_eq!(world.drained(0, position(0)).await, Drained::No);

    let world = World::registered().await;
    world.script().iterators.extend([invalid.clone(), invalid]);
    assert_eq!(world.drained(0, position(0)).await, Drained::Unknown);
}

#[tokio::test]
async fn an_unread_shard_is_looked_at_where_its_mapping_begins() {
    let world = World::registered().await;
    world.script().reads.push_back(read(&[record("77", b"{}")], 0, Some("next")));
    assert_eq!(world.drained(0, Position::START).await, Drained::No);
    let asked = world.server.requests("GetShardIterator")[0].json();
    assert_eq!(asked["ShardIteratorType"], "TRIM_HORIZON");

    // The stream's first registration counts, also for shards that came later: Lambda reads
    // those from their beginning.
    let world = World::new(StartingPosition::Latest, true);
    assert_eq!(world.register(NOW).await, Vec::<String>::new());
    world.script().shards.push(shard(1, &[], false));
    assert_eq!(world.register(NOW.plus(90_000)).await, Vec::<String>::new());
    assert_eq!(world.drained(1, Position::START).await, Drained::Yes);
    let asked = world.server.requests("GetShardIterator")[0].json();
    assert_eq!(asked["ShardIteratorType"], "AT_TIMESTAMP");
    assert_eq!(asked["Timestamp"].as_f64(), Some(NOW.0 as f64 / 1000.0));

    // Another process asks of the same moment: the registry's, not its own start.
    let later = Kinesis::new(&world.server.aws(), "ads", "clicks", true, StartingPosition::Latest);
    later.register(&world.registry, NOW.plus(500_000)).await.unwrap();
    assert_eq!(later.drained(&id(1), Position::START).await, Drained::Yes);
    let asked = world.server.requests("GetShardIterator")[1].json();
    assert_eq!(asked["Timestamp"].as_f64(), Some(NOW.0 as f64 / 1000.0));
}
