//! One configuration for every Kafka client.
//!
//! # Invariants
//! 1. What the pipeline file sets comes first, what Tidemill rests on afterwards: `check` refuses
//!    the properties that could contradict, and here none of them wins.
//! 2. No value of a property is ever shown: it may be a password.
//!
//! Not here: what is produced (`sink::kafka`) and asked (`source::kafka`).

use std::collections::BTreeMap;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use tracing::{debug, info, warn};

use crate::Fault;

/// A client's callbacks: what librdkafka has to say goes to our log.
pub(crate) struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug => debug!(facility, "librdkafka: {message}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                info!(facility, "librdkafka: {message}");
            }
            _ => warn!(facility, "librdkafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for Logged {}

/// A client for `servers` with the user's `properties` and our own `fixed`. `owner` is what needs
/// it, such as "sink `views`".
pub(crate) fn client<C: FromClientConfigAndContext<Logged>>(
    owner: &str,
    servers: &str,
    properties: &BTreeMap<String, String>,
    fixed: &[(&str, &str)],
) -> Result<C, Fault> {
    let mut config = ClientConfig::new();
    config.set("client.id", "tidemill");
    for (name, value) in properties {
        config.set(name, value);
    }
    config.set("bootstrap.servers", servers);
    for (name, value) in fixed {
        config.set(*name, *value);
    }
    config.create_with_context(Logged).map_err(|error| fault(owner, &error))
}

fn fault(owner: &str, error: &KafkaError) -> Fault {
    let (what, reason) = match error {
        KafkaError::ClientConfig(_, reason, property, _) => {
            (format!("property `{property}` of {owner} is wrong: {reason}"), reason)
        }
        KafkaError::ClientCreation(reason) => {
            (format!("no Kafka client can be made for {owner}: {reason}"), reason)
        }
        error => (format!("no Kafka client can be made for {owner}: {error}"), &error.to_string()),
    };
    let lacks_tls = ["ssl", "sasl"].iter().any(|word| reason.to_lowercase().contains(word));
    let help = if lacks_tls && !cfg!(feature = "kafka-tls") {
        "TLS and SASL need a build with the feature `kafka-tls`"
    } else {
        "librdkafka's CONFIGURATION.md lists its properties and their values"
    };
    Fault::new(what, help)
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::BaseConsumer;

    use super::*;

    fn made(properties: &[(&str, &str)]) -> Result<(), Fault> {
        let properties = properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let fixed = [("group.id", "g"), ("socket.timeout.ms", "1000")];
        client::<BaseConsumer<Logged>>("sink `s`", "127.0.0.1:1", &properties, &fixed).map(|_| ())
    }

    #[test]
    fn a_property_that_is_none_is_named_and_no_value_is_shown() {
        assert_eq!(made(&[("client.id", "mine"), ("socket.timeout.ms", "7")]), Ok(()));
        let fault = made(&[("no.such.property", "hunter2")]).unwrap_err();
        assert!(fault.what.starts_with("property `no.such.property` of sink `s`"), "{fault}");
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
        let fault = made(&[("fetch.min.bytes", "hunter2")]).unwrap_err();
        assert!(fault.what.contains("fetch.min.bytes"), "{fault}");
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }

    #[cfg(not(feature = "kafka-tls"))]
    #[test]
    fn tls_names_the_feature() {
        let fault = made(&[("security.protocol", "SSL")]).unwrap_err();
        assert!(fault.help.contains("kafka-tls"), "{fault}");
    }
}
