//! Against an emulator: real iterators, sequence numbers, splits and merges.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::StreamStatus;
use tidemill_flow::ports::Source;
use tidemill_testkit::servers::KinesisLocal;

use super::*;
use crate::source::Sources;

const MIDDLE: &str = "170141183460469231731687303715884105728";

struct Real {
    _server: KinesisLocal,
    client: Client,
    sources: Sources,
    registry: Registry,
}

impl Real {
    async fn start() -> Real {
        let server = KinesisLocal::start();
        let aws = Aws::emulator(&server.url());
        let text = "name = \"p\"\n[streams.ads]\nformat = \"json\"\ncolumns = { a = \"int\" }\n\
                    event_time = \"arrival_time\"\n\
                    source = { type = \"kinesis\", stream = \"clicks\" }\n\
                    [queries.q]\nsql = \"SELECT 1\"\n";
        let pipeline =
            tidemill_pipeline::parse("p.toml", text, std::path::Path::new(""), &|_| None).unwrap();
        let sources = Sources::open(&aws, &pipeline, StartingPosition::TrimHorizon).unwrap();
        let registry = Registry::new(Arc::new(MemoryStore::new()), Keys::new("p"));
        let client = Client::new(aws.sdk());
        let real = Real { _server: server, client, sources, registry };
        real.client.create_stream().stream_name("clicks").shard_count(1).send().await.unwrap();
        real.settle().await;
        real
    }

    /// Waits until the stream is active.
    async fn settle(&self) {
        loop {
            let answer = self.client.describe_stream_summary().stream_name("clicks").send().await;
            let summary = answer.unwrap().stream_description_summary.unwrap();
            if summary.stream_status == StreamStatus::Active {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn put(&self, data: &[u8], hash_key: &str) -> (String, Position) {
        let request = self.client.put_record().stream_name("clicks").partition_key("k");
        let request = request.explicit_hash_key(hash_key).data(Blob::new(data));
        let answer = request.send().await.unwrap();
        (answer.shard_id.clone(), Position::from_sequence(&answer.sequence_number, 0).unwrap())
    }

    async fn register(&self, now: WallMs) {
        let errors = self.sources.register(&self.registry, now).await;
        assert!(errors.is_empty(), "{errors:?}");
    }

    async fn drained(&self, number: u64, position: Position) -> Drained {
        self.sources.drained(&LogId::new("ads", id(number)), position).await
    }

    async fn ended(&self, number: u64) -> bool {
        self.sources.ended(&LogId::new("ads", id(number))).await
    }
}

#[tokio::test]
async fn what_was_put_is_there_and_nothing_else() {
    let real = Real::start().await;
    real.register(NOW).await;
    assert_eq!(real.drained(0, Position::START).await, Drained::Yes, "empty");
    let (_, first) = real.put(b"{}", "0").await;
    let (_, last) = real.put(b"{}", "0").await;
    assert_eq!(real.drained(0, Position::START).await, Drained::No);
    assert_eq!(real.drained(0, first).await, Drained::No);
    for _ in 0..3 {
        assert_eq!(real.drained(0, last).await, Drained::Yes);
    }
    // Behind the remembered iterator.
    let (_, newest) = real.put(&crate::kpl::pack(&[b"{}", b"{}"]), "0").await;
    assert_eq!(real.drained(0, last).await, Drained::No);
    assert_eq!(real.drained(0, newest).await, Drained::No, "one of two user records");
    let (number, _) = newest.to_sequence();
    let whole = Position::from_sequence(&number, 1).unwrap();
    assert_eq!(real.drained(0, whole).await, Drained::Yes);
    assert!(!real.ended(0).await);
}

#[tokio::test]
async fn a_split_and_a_merge_end_their_parents_once_the_children_are_registered() {
    let real = Real::start().await;
    real.register(NOW).await;
    let (_, last) = real.put(b"{}", "0").await;
    assert_eq!(real.drained(0, last).await, Drained::Yes);
    let split = real.client.split_shard().stream_name("clicks").shard_to_split(id(0));
    split.new_starting_hash_key(MIDDLE).send().await.unwrap();
    real.settle().await;
    // The parent's end is seen before anybody has looked at the list again.
    assert_eq!(real.drained(0, last).await, Drained::No);
    assert!(!real.ended(0).await);
    real.register(NOW).await;
    assert!(real.ended(0).await && !real.ended(1).await);
    assert_eq!(real.drained(0, last).await, Drained::Yes);
    assert_eq!(real.drained(0, Position::START).await, Drained::No);

    let (left, left_last) = real.put(b"{}", "1").await;
    assert_eq!(left, id(1));
    assert_eq!(real.drained(1, Position::START).await, Drained::No);
    assert_eq!(real.drained(1, left_last).await, Drained::Yes);
    assert_eq!(real.drained(2, Position::START).await, Drained::Yes);

    let merge = real.client.merge_shards().stream_name("clicks");
    merge.shard_to_merge(id(1)).adjacent_shard_to_merge(id(2)).send().await.unwrap();
    real.settle().await;
    real.register(NOW.plus(60_000)).await;
    let entries = real.registry.all().await.unwrap();
    let parents: Vec<_> = entries[3].parents.iter().map(|log| log.shard.clone()).collect();
    assert_eq!(parents, [id(1), id(2)]);
    assert!(real.ended(1).await && real.ended(2).await && !real.ended(3).await);
    assert_eq!(real.drained(1, left_last).await, Drained::Yes);
    assert_eq!(real.drained(2, Position::START).await, Drained::Yes);
    let identities: std::collections::BTreeSet<_> =
        entries.iter().map(|entry| entry.identity.clone()).collect();
    assert_eq!(identities.len(), 1);
    assert!(identities.iter().all(|identity| identity.starts_with("made 20")), "{identities:?}");
}

#[tokio::test]
async fn a_stream_that_is_made_again_is_another_one() {
    let real = Real::start().await;
    real.register(NOW).await;
    real.client.delete_stream().stream_name("clicks").send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    real.client.create_stream().stream_name("clicks").shard_count(1).send().await.unwrap();
    real.settle().await;
    let errors = real.sources.register(&real.registry, NOW.plus(60_000)).await;
    assert!(errors[0].to_string().contains("another source of the same name"), "{errors:?}");
    assert_eq!(real.drained(0, Position::START).await, Drained::No);
}
