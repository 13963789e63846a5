//! A Kafka topic on librdkafka's mock cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

/// How long the cluster may take to take all records.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster of one broker with one topic. Dropping it ends it.
pub struct Topic {
    cluster: MockCluster<'static, DefaultProducerContext>,
    name: String,
    partitions: i32,
    producer: BaseProducer,
}

impl Topic {
    /// Starts a cluster with an empty topic.
    pub fn create(name: &str, partitions: i32) -> Topic {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(name, partitions, 1).expect("a topic");
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("linger.ms", "1")
            .create()
            .expect("a producer of the mock cluster");
        Topic { cluster, name: name.to_string(), partitions, producer }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its partitions.
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// Its brokers.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Produces values, (partition, timestamp in milliseconds, value), in order; `None` is a null
    /// value. Answers the offset after the last record of each partition, when the topic was empty
    /// before.
    pub fn produce(&self, records: &[(i32, i64, Option<Vec<u8>>)]) -> BTreeMap<i32, i64> {
        let mut ends = BTreeMap::new();
        for (partition, timestamp, value) in records {
            let header = Header { key: "origin", value: Some("test") };
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.name)
                .partition(*partition)
                .timestamp(*timestamp)
                .key(b"key")
                .headers(OwnedHeaders::new().insert(header));
            if let Some(value) = value {
                record = record.payload(value);
            }
            let mut sent = self.producer.send(record);
            while let Err((_, record)) = sent {
                // The queue is full.
                self.producer.poll(Duration::from_millis(10));
                sent = self.producer.send(record);
            }
            *ends.entry(*partition).or_default() += 1;
        }
        self.producer.flush(FLUSH_TIMEOUT).expect("the mock cluster takes records");
        ends
    }
}
