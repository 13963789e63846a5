//! One SDK configuration for every client.
//!
//! # Invariants
//! 1. Every request is bounded: a connect timeout, a timeout per attempt and one for the whole
//!    operation, retries included. They are far below [`REQUEST_LINGER_MS`], for which the store's
//!    protocol lets a request linger.
//! 2. Behaviour is pinned: a newer SDK changes nothing that we have not asked for.
//! 3. One HTTP client, one TLS stack (rustls on ring), one pool of connections.
//!
//! Not here: which requests are sent, and what their errors mean (the ports beside this module).

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::{Builder, tls};
use tidemill_model::limits::REQUEST_LINGER_MS;

use crate::Fault;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for the answer to one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait for an operation with all its attempts.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts of an operation, unless a port counts its own.
const ATTEMPTS_MAX: u32 = 4;

const _: () = assert!(OPERATION_TIMEOUT.as_millis() * 5 < REQUEST_LINGER_MS as u128);

/// Access to AWS, or to an emulator: what every client is made from.
#[derive(Debug, Clone)]
pub struct Aws {
    sdk: SdkConfig,
}

impl Aws {
    /// Region, credentials and endpoints from the environment and the shared configuration files,
    /// as every AWS tool reads them (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`,
    /// `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_DYNAMODB`, …).
    ///
    /// Sends no request: credentials are looked up when the first one is sent.
    pub async fn from_env() -> Result<Aws, Fault> {
        // The SDK's own search for a region ends with a request to the instance metadata service.
        // Functions have a region in their environment, people in their configuration file.
        let region = aws_config::environment::EnvironmentVariableRegionProvider::new();
        let region = aws_config::meta::region::RegionProviderChain::first_try(region)
            .or_else(aws_config::profile::ProfileFileRegionProvider::new());
        // Before anything is loaded: what loads credentials would search for a region again.
        let Some(region) = region.region().await else {
            return Err(Fault::new(
                "no AWS region is set",
                "set AWS_REGION, such as AWS_REGION=eu-central-1, or a region in ~/.aws/config",
            ));
        };
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(region)
            .http_client(http_client())
            .timeout_config(timeouts())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .load()
            .await;
        Ok(Aws { sdk })
    }

    /// An emulator at `endpoint`, such as `http://127.0.0.1:8000`: every service there, region
    /// `us-east-1`, credentials that are worth nothing. The environment is not read.
    pub fn emulator(endpoint: &str) -> Aws {
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
            .endpoint_url(endpoint)
            .http_client(http_client())
            .timeout_config(timeouts())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .build();
        Aws { sdk }
    }

    /// What clients are made from.
    pub(crate) fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }
}

/// Trusted certificates are loaded when the first client is made.
fn http_client() -> SharedHttpClient {
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    Builder::new().tls_provider(ring).build_https()
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}
