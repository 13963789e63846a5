//! Against librdkafka's mock cluster. It has no transactions' markers; a gap without records is
//! the end itself, asked for by [`Topic::read`].

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tidemill_flow::keys::Keys;
use tidemill_testkit::MemoryStore;

use super::*;

const NOW: WallMs = WallMs(1_700_000_000_000);

struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    registry: Registry,
    kafka: Kafka,
}

impl World {
    fn new(starting: StartingPosition) -> World {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("clicks", 2, 1).unwrap();
        let kafka = kafka(&cluster.bootstrap_servers(), starting);
        let registry = Registry::new(Arc::new(MemoryStore::new()), Keys::new("p"));
        World { cluster, registry, kafka }
    }

    /// Puts a record into a partition.
    fn put(&self, partition: i32, at: WallMs) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .create()
            .unwrap();
        let record = BaseRecord::<str, str>::to("clicks").partition(partition);
        producer.send(record.payload("{}").key("k").timestamp(at.0)).unwrap();
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    async fn register(&self, now: WallMs) -> Vec<SourceError> {
        self.kafka.register(&self.registry, now).await.err().unwrap_or_default()
    }

    async fn drained(&self, partition: i32, position: Position) -> Drained {
        self.kafka.drained(&partition.to_string(), position).await
    }
}

fn kafka(servers: &str, starting: StartingPosition) -> Kafka {
    Kafka::new("ads", "clicks", servers, &BTreeMap::new(), starting).unwrap()
}

#[tokio::test]
async fn partitions_are_registered_and_new_ones_found_within_a_minute() {
    let world = World::new(StartingPosition::TrimHorizon);
    assert!(world.register(NOW).await.is_empty());
    let logs = async || {
        let entries = world.registry.all().await.unwrap();
        entries.into_iter().map(|entry| entry.log.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(logs().await, ["ads/0", "ads/1"]);
    world.cluster.request_errors(
        RDKafkaApiKey::Metadata,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR; 3],
    );
    assert!(world.register(NOW.plus(59_999)).await.is_empty(), "not asked again so soon");
}

#[tokio::test]
async fn the_end_offset_decides() {
    let world = World::new(StartingPosition::TrimHorizon);
    assert_eq!(world.drained(0, Position::START).await, Drained::Yes, "empty");
    world.put(0, NOW);
    world.put(0, NOW);
    let at = |offset| Position::from_offset(offset);
    assert_eq!(world.drained(0, Position::START).await, Drained::No);
    assert_eq!(world.drained(0, at(0)).await, Drained::No);
    assert_eq!(world.drained(0, at(1)).await, Drained::Yes);
    assert_eq!(world.drained(1, Position::START).await, Drained::Yes, "another partition");
    // Behind the end: another topic of the same name, which a person must see to.
    assert_eq!(world.drained(0, at(2)).await, Drained::Unknown);
    // What comes after a yes is seen.
    world.put(0, NOW);
    assert_eq!(world.drained(0, at(1)).await, Drained::No);
}

/// Offsets that hold no record are passed: reading on from there reaches the end.
#[tokio::test]
async fn offsets_without_records_do_not_hold_a_partition_for_ever() {
    let world = World::new(StartingPosition::TrimHorizon);
    world.put(0, NOW);
    let read = async |first| {
        let topic = Arc::clone(&world.kafka.topic);
        tokio::task::spawn_blocking(move || topic.read(0, first, 2)).await.unwrap()
    };
    assert_eq!(read(0).await, Found::Something);
    assert_eq!(read(1).await, Found::Nothing);
    // Nothing lies between those two for ever: it is not read again, though a record came after
    // it; the next question has another end.
    world.put(0, NOW);
    assert_eq!(read(1).await, Found::Nothing);
    assert_eq!(world.drained(0, Position::from_offset(0)).await, Drained::Yes);
    world.put(0, NOW);
    assert_eq!(world.drained(0, Position::from_offset(0)).await, Drained::No);
}

#[tokio::test]
async fn a_mapping_that_began_at_the_latest_record_does_not_owe_older_ones() {
    let world = World::new(StartingPosition::Latest);
    world.put(0, NOW.plus(-60_000));
    assert_eq!(world.drained(0, Position::START).await, Drained::No, "not registered yet");
    assert!(world.register(NOW).await.is_empty());
    assert_eq!(world.drained(0, Position::START).await, Drained::Yes);
}

/// The mock knows no times: it always says that no record is that new.
#[test]
fn a_time_means_the_first_record_since() {
    assert_eq!(first_since(Some(Offset::Offset(7)), 9), 7);
    assert_eq!(first_since(Some(Offset::End), 9), 9);
    for silence in [None, Some(Offset::Invalid), Some(Offset::Stored)] {
        assert_eq!(first_since(silence, 9), 0);
    }
}

#[tokio::test]
async fn brokers_that_are_down_are_no_and_what_they_forbid_is_unknown() {
    let world = World::new(StartingPosition::TrimHorizon);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    world.cluster.request_errors(RDKafkaApiKey::ListOffsets, &[denied; 4]);
    assert_eq!(world.drained(0, Position::START).await, Drained::Unknown);
    world.cluster.clear_request_errors(RDKafkaApiKey::ListOffsets);
    assert_eq!(world.drained(0, Position::START).await, Drained::Yes);
    world.cluster.broker_down(1).unwrap();
    assert_eq!(world.drained(0, Position::START).await, Drained::No);
}

#[tokio::test]
async fn a_topic_that_is_not_there_or_not_ours_is_named() {
    let world = World::new(StartingPosition::TrimHorizon);
    for (error, said) in [
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "no topic `clicks`"),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "allow the operations"),
    ] {
        world.cluster.topic_error("clicks", error).unwrap();
        let errors = world.register(NOW).await;
        assert!(errors[0].to_string().contains(said), "{errors:?}");
        assert!(!errors[0].is_transient());
    }
    let nobody = kafka("127.0.0.1:1", StartingPosition::TrimHorizon);
    let errors = nobody.register(&world.registry, NOW).await.unwrap_err();
    assert!(errors[0].is_transient() && errors[0].to_string().contains("bootstrap_servers"));
}
