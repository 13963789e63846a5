use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::super::samples::{emission, letter, queries};
use super::*;

fn sink(servers: &str, properties: &[(&str, &str)]) -> KafkaSink {
    let properties = properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    KafkaSink::new("out", servers, "results", &properties, queries(Some(vec![0]))).unwrap()
}

fn cluster() -> MockCluster<'static, rdkafka::producer::DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("results", 3, 1).unwrap();
    cluster
}

#[derive(Debug, Clone, PartialEq)]
struct Arrived {
    partition: i32,
    key: String,
    headers: Vec<(String, String)>,
    value: Value,
}

/// Reads `count` records of the topic; each partition's in order.
fn arrived(servers: &str, count: usize) -> Vec<Arrived> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "test")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..3 {
        partitions.add_partition_offset("results", partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut arrived = Vec::new();
    while arrived.len() < count {
        let message = consumer.poll(Duration::from_secs(20)).expect("more records").unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = message.headers().unwrap().iter();
        arrived.push(Arrived {
            partition: message.partition(),
            key: text(message.key().unwrap()),
            headers: headers.map(|h| (h.key.to_string(), text(h.value.unwrap()))).collect(),
            value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
        });
    }
    assert!(consumer.poll(Duration::from_millis(300)).is_none(), "no more records");
    arrived
}

fn header(arrived: &Arrived, name: &str) -> String {
    let found = arrived.headers.iter().find(|(header, _)| header == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

#[tokio::test]
async fn results_and_dead_letters_arrive_with_their_ids() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[]);
    assert_eq!(sink.check().await, None);
    let mut emission = emission(4, &["a", "b", "a"]);
    emission.dead_letters = vec![letter("no JSON")];
    assert_eq!(sink.emit(&emission).await.unwrap(), Taken::default());
    // What is emitted again comes again, with the same ids.
    assert_eq!(sink.emit(&emission).await.unwrap(), Taken::default());

    let arrived = arrived(&servers, 8);
    let rows: Vec<_> = arrived.iter().filter(|row| row.key == "q/a").collect();
    let ids: Vec<_> = rows.iter().map(|row| header(row, "result_id")).collect();
    assert_eq!(ids, ["q/4/0", "q/4/2", "q/4/0", "q/4/2"]);
    assert!(rows.iter().all(|row| row.partition == rows[0].partition));
    assert_eq!((header(rows[0], "query").as_str(), &rows[0].value["n"]), ("q", &Value::from(0)));
    let letters: Vec<_> = arrived.iter().filter(|row| row.key == "dead_letters/s/0").collect();
    assert_eq!(letters.len(), 2);
    assert_eq!(header(letters[0], "reason"), "undecodable");
    assert_eq!(header(letters[0], "result_id"), "dead/4/0");
    assert_eq!(letters[0], letters[1]);
}

/// More records than the client's queue holds are all delivered, in the order of their keys.
#[tokio::test]
async fn an_epoch_larger_than_the_client_s_queue_arrives_whole() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[("queue.buffering.max.messages", "10")]);
    sink.emit(&emission(4, &["a"; 200])).await.unwrap();
    let ids: Vec<_> = arrived(&servers, 200).iter().map(|row| header(row, "result_id")).collect();
    assert_eq!(ids, (0..200).map(|n| format!("q/4/{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_row_that_is_too_large_is_rejected_and_the_rest_arrives() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    let large = "x".repeat(RECORD_BYTES_MAX);
    let taken = sink(&servers, &[]).emit(&emission(4, &["a", &large])).await.unwrap();
    assert_eq!(taken.rejected.len(), 1);
    assert_eq!(taken.rejected[0].row, 1);
    assert!(taken.rejected[0].detail.contains("at most 1000000"), "{:?}", taken.rejected);
    assert_eq!(header(&arrived(&servers, 1)[0], "result_id"), "q/4/0");
}

/// A record right below the bound is taken by a client and a broker that nobody has set.
#[tokio::test]
async fn the_largest_row_is_taken() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[("compression.type", "none")]);
    let fits = "x".repeat((RECORD_BYTES_MAX - 2_000) / 2);
    let taken = sink.emit(&emission(4, &[&fits])).await.unwrap();
    assert_eq!(taken.rejected, []);
    assert_eq!(arrived(&servers, 1).len(), 1);
}

#[tokio::test]
async fn brokers_that_are_down_stop_emission_and_lose_nothing() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[("message.timeout.ms", "5000")]);
    sink.emit(&emission(3, &["a"])).await.unwrap();
    cluster.broker_down(1).unwrap();
    let failed = sink.emit(&emission(4, &["a", "b"])).await.unwrap_err();
    assert_eq!(failed.sink, "out");
    for part in ["topic `results`", "tried again at the next tick", "bootstrap_servers"] {
        assert!(failed.reason.contains(part), "{failed}");
    }
    cluster.broker_up(1).unwrap();
    sink.emit(&emission(4, &["a", "b"])).await.unwrap();
    let mut ids: Vec<_> = arrived(&servers, 3).iter().map(|row| header(row, "result_id")).collect();
    ids.sort();
    assert_eq!(ids, ["q/3/0", "q/4/0", "q/4/1"]);
}

/// Every acknowledgement counts: one that is refused fails the epoch.
#[tokio::test]
async fn a_topic_that_refuses_says_what_to_allow() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    for (error, part) in [
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "allow Write"),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "max.message.bytes"),
    ] {
        let mut sink = sink(&servers, &[("message.timeout.ms", "3000")]);
        cluster.request_errors(RDKafkaApiKey::Produce, &[error; 3]);
        let failed = sink.emit(&emission(4, &["a"])).await.unwrap_err();
        assert!(failed.reason.contains(part), "{failed}");
        cluster.clear_request_errors(RDKafkaApiKey::Produce);
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_at_start() {
    let nobody = sink("127.0.0.1:1", &[]).check().await.unwrap();
    assert!(nobody.what.contains("127.0.0.1:1, do not answer"), "{nobody}");
    assert!(nobody.help.contains("security group"), "{nobody}");

    let cluster = cluster();
    let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    cluster.topic_error("results", unknown).unwrap();
    let missing = sink(&cluster.bootstrap_servers(), &[]).check().await.unwrap();
    assert!(missing.what.contains("topic `results` of sink `out` does not exist"), "{missing}");
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.topic_error("results", denied).unwrap();
    assert_eq!(sink(&cluster.bootstrap_servers(), &[]).check().await, None);

    let properties = BTreeMap::from([("no.such".to_string(), "x".to_string())]);
    let wrong = KafkaSink::new("out", "a:1", "results", &properties, queries(None));
    assert!(wrong.err().unwrap().what.contains("no.such"));
}
