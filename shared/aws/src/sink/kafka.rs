//! Results on a Kafka topic: one record a row or dead letter.
//!
//! The value is a JSON object, the key is the row's key (`messages`), the headers are `result_id`
//! and `query`, in dead letters `result_id` and `reason`.
//!
//! # Invariants
//! 1. An epoch is emitted when every record is acknowledged by all replicas in sync.
//! 2. Rows of one key keep their order: one idempotent producer sends them in the order of the
//!    emission. After any failure it is thrown away with what it still holds, so that nothing of
//!    an epoch that failed mixes with its repetition.
//! 3. A row is rejected by [`RECORD_BYTES_MAX`] alone, whatever the topic is set to.
//!
//! Not here: the client's configuration ([`crate::kafka`]).

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tidemill_flow::ports::{Emission, Sink, SinkError, Taken};

use super::messages::{Form, Message, messages};
use super::rows::Queries;
use crate::Fault;
use crate::kafka::{Logged, client};

/// Largest record with its key and headers: what brokers take unless their topics are set lower.
const RECORD_BYTES_MAX: usize = 1_000_000;
/// A key may be as long as a record; nobody wants that.
const FORM: Form = Form { is_tagged: false, bytes_max: RECORD_BYTES_MAX, key_chars_max: 1024 };
/// Longest wait for the brokers at start.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What may be set otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("compression.type", "zstd"),
    ("linger.ms", "5"),
    // Far less than a function's time: a broker that is down is told of while it can be.
    ("message.timeout.ms", "20000"),
    // As Java's clients do it, so that topics of one key can be joined partition by partition.
    ("partitioner", "murmur2_random"),
];
/// What exactly-once results rest on.
const FIXED: &[(&str, &str)] = &[("acks", "all"), ("enable.idempotence", "true")];

/// The sink.
pub(super) struct KafkaSink {
    sink: String,
    servers: String,
    topic: String,
    properties: BTreeMap<String, String>,
    queries: Queries,
    /// Absent after a failure, until the next emission.
    producer: Option<FutureProducer<Logged>>,
}

impl KafkaSink {
    /// The sink; no request is sent.
    pub(super) fn new(
        sink: &str,
        servers: &str,
        topic: &str,
        properties: &BTreeMap<String, String>,
        queries: Queries,
    ) -> Result<KafkaSink, Fault> {
        let mut properties = properties.clone();
        for (name, value) in DEFAULTS {
            properties.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
        }
        let mut sink = KafkaSink {
            sink: sink.to_owned(),
            servers: servers.to_owned(),
            topic: topic.to_owned(),
            properties,
            queries,
            producer: None,
        };
        sink.producer = Some(sink.make_producer()?);
        Ok(sink)
    }

    /// Whether the brokers answer and have the topic. A client that may write but not look is
    /// enough: the writes will tell.
    pub(super) async fn check(&self) -> Option<Fault> {
        let producer = self.producer.clone()?;
        let topic = self.topic.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = producer.client().fetch_metadata(Some(&topic), CHECK_TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            match found.and_then(|found| found.error()) {
                Some(error) => Err(KafkaError::MetadataFetch(error.into())),
                None => Ok(()),
            }
        });
        let error = asked.await.ok()?.err()?;
        let (sink, topic) = (&self.sink, &self.topic);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                let what = format!("topic `{topic}`");
                tracing::warn!(sink, what, %error, "a sink could not be looked at: access denied");
                None
            }
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                Some(Fault::new(
                    format!("topic `{topic}` of sink `{sink}` does not exist ({error})"),
                    format!("create it, or correct [sinks.{sink}] in the pipeline file"),
                ))
            }
            _ => Some(Fault::new(
                format!("the brokers of sink `{sink}`, {}, do not answer ({error})", self.servers),
                format!(
                    "check `bootstrap_servers` and `properties` of [sinks.{sink}], and that the \
                     function is in the brokers' VPC and their security group lets it in"
                ),
            )),
        }
    }

    fn make_producer(&self) -> Result<FutureProducer<Logged>, Fault> {
        client(&format!("sink `{}`", self.sink), &self.servers, &self.properties, FIXED)
    }

    async fn send(&mut self, messages: &[Message]) -> Result<(), SinkError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => self.make_producer().map_err(|fault| self.down(fault.to_string()))?,
        };
        let mut sent: VecDeque<DeliveryFuture> = VecDeque::with_capacity(messages.len());
        for message in messages {
            let (about, value) = &message.about;
            let headers = OwnedHeaders::new()
                .insert(Header { key: "result_id", value: Some(&message.id) })
                .insert(Header { key: about, value: Some(value) });
            let mut record = FutureRecord::to(&self.topic)
                .key(&message.key)
                .payload(&message.body)
                .headers(headers);
            loop {
                match producer.send_result(record) {
                    Ok(delivery) => break sent.push_back(delivery),
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                        record = again;
                        // Room comes with what is delivered, which is the oldest first.
                        match sent.pop_front() {
                            Some(oldest) => self.delivered(oldest.await)?,
                            None => tokio::time::sleep(Duration::from_millis(10)).await,
                        }
                    }
                    Err((error, _)) => return Err(self.failed(&error)),
                }
            }
        }
        for delivery in sent {
            self.delivered(delivery.await)?;
        }
        self.producer = Some(producer);
        Ok(())
    }

    fn delivered<C>(
        &self,
        answer: Result<rdkafka::producer::future_producer::OwnedDeliveryResult, C>,
    ) -> Result<(), SinkError> {
        match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(self.failed(&error)),
            Err(_) => Err(self.down("the client ended before the brokers answered".to_owned())),
        }
    }

    fn failed(&self, error: &KafkaError) -> SinkError {
        let topic = &self.topic;
        self.down(match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                format!(
                    "topic `{topic}` does not exist ({error}); create it again, or correct the \
                     pipeline file"
                )
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::Authentication,
            ) => format!(
                "topic `{topic}` denies access ({error}); allow Write on the topic and \
                 IdempotentWrite on the cluster, or correct `properties` of the sink"
            ),
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                format!(
                    "topic `{topic}` takes no record of {RECORD_BYTES_MAX} bytes ({error}); raise \
                     its `max.message.bytes`, and `message.max.bytes` of the sink if it is set"
                )
            }
            _ => format!(
                "the brokers of topic `{topic}` did not take the results ({error}); it is tried \
                 again at the next tick; check `bootstrap_servers`, `properties` and the network \
                 if it lasts"
            ),
        })
    }

    fn down(&self, reason: String) -> SinkError {
        SinkError { sink: self.sink.clone(), reason }
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, emission: &Emission) -> Result<Taken, SinkError> {
        let (messages, rejected) =
            messages(&self.queries, emission, FORM).map_err(|reason| self.down(reason))?;
        self.send(&messages).await?;
        Ok(Taken { state: Vec::new(), rejected })
    }
}

#[cfg(test)]
mod tests;
