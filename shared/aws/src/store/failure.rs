//! What an error of the SDK means for a store: written, not written, or unknown; worth trying again
//! or not; and what a person can do about it.
//!
//! # Invariants
//! 1. *Not written* is said for errors that DynamoDB itself answered with a status below 500 and a
//!    code, and for those that happened before anything was sent. Everything else is *unknown*:
//!    timeouts, lost connections, 5xx, answers that cannot be read.
//!
//! Pure: no I/O, no clock. Not here: what several attempts mean together (`attempts`).

use std::error::Error;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::SdkError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tidemill_model::limits::ITEM_BYTES_MAX;
use tidemill_model::store::StoreError;

/// What is asked of DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Put,
    Query,
    Update,
    Describe,
}

impl Operation {
    /// The permission that it needs.
    pub(super) fn iam_action(self) -> &'static str {
        match self {
            Operation::Put => "dynamodb:PutItem",
            Operation::Query => "dynamodb:Query",
            Operation::Update => "dynamodb:UpdateItem",
            Operation::Describe => "dynamodb:DescribeTable",
        }
    }
}

/// A call of the store: what messages name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) operation: Operation,
    pub(super) table: &'a str,
    pub(super) pk: &'a str,
    pub(super) sk: &'a str,
    /// Bytes of the value that is written.
    pub(super) bytes: usize,
}

/// By what is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The condition of the write does not hold: an outcome, not an error.
    ConditionFailed,
    /// Certainly not written, and soon it may be: try again.
    Busy,
    /// Certainly not written, and trying again does not help.
    Refused,
    /// Maybe written. Trying again is safe: the write is conditional.
    Unknown,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// What happened.
    pub(super) what: String,
    /// What to do about it, if that is known.
    pub(super) help: Option<String>,
}

impl Failure {
    /// What the SDK's error means.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>, call: &Call<'_>) -> Failure
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (kind, what, help) = match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let meta = answer.err().meta();
                let message = meta.message().unwrap_or("no message");
                match meta.code() {
                    Some(code) => of_answer(status, code, message, call),
                    None => of_answer_without_code(status, message),
                }
            }
            SdkError::ConstructionFailure(_) => {
                (Kind::Refused, DisplayErrorContext(error).to_string(), None)
            }
            SdkError::DispatchFailure(failure) => {
                of_dispatch(failure.as_connector_error().and_then(Error::source), error)
            }
            SdkError::TimeoutError(_) => (Kind::Unknown, "no answer in time".to_string(), None),
            SdkError::ResponseError(answer) => {
                let status = answer.raw().status();
                let what = format!("an answer that cannot be read, status {status}");
                (Kind::Unknown, what, None)
            }
            _ => (Kind::Unknown, DisplayErrorContext(error).to_string(), None),
        };
        Failure { kind, what, help }
    }

    /// What happened, where, and what to do, on one line.
    pub(super) fn reason(&self, call: &Call<'_>) -> String {
        let help = self.help.as_ref().map(|help| format!(" help: {help}.")).unwrap_or_default();
        let Call { operation, table, pk, sk, .. } = call;
        let action = operation.iam_action();
        format!("{}.{help} action=`{action}` table=`{table}` pk=`{pk}` sk=`{sk}`", self.what)
    }

    /// What a write that failed answers.
    pub(super) fn of_a_write(self, call: &Call<'_>) -> StoreError {
        match self.kind {
            Kind::Busy | Kind::Refused => StoreError::Refused { reason: self.reason(call) },
            Kind::Unknown | Kind::ConditionFailed => StoreError::Unknown {
                key: format!("{} {}", call.pk, call.sk),
                reason: self.reason(call),
            },
        }
    }

    /// What a read that failed answers: nothing was read, and nothing could be written.
    pub(super) fn of_a_read(self, call: &Call<'_>) -> StoreError {
        StoreError::Refused { reason: self.reason(call) }
    }
}

type Meaning = (Kind, String, Option<String>);

/// An error that DynamoDB answered with, and named.
fn of_answer(status: u16, code: &str, message: &str, call: &Call<'_>) -> Meaning {
    let what = format!("{code}: {}", message.trim_end_matches('.'));
    if !(300..500).contains(&status) || code.starts_with("RequestTimeout") {
        return (Kind::Unknown, what, None);
    }
    let refused = |help: String| (Kind::Refused, what.clone(), Some(help));
    match code {
        "ConditionalCheckFailedException" => (Kind::ConditionFailed, what, None),
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "TooManyRequestsException" => {
            let help = "if it goes on, make the table on demand or raise its write units";
            (Kind::Busy, what, Some(help.to_string()))
        }
        "TransactionConflictException"
        | "ReplicatedWriteConflictException"
        | "LimitExceededException" => (Kind::Busy, what, None),
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => refused(format!(
            "allow {} on this table, and on the key that encrypts it, to the role in use",
            call.operation.iam_action()
        )),
        "ResourceNotFoundException" => refused(
            "create the table, or correct its name, AWS_REGION or AWS_ENDPOINT_URL".to_string(),
        ),
        "ItemCollectionSizeLimitExceededException" => {
            refused("give the state a table without local secondary indexes".to_string())
        }
        "UnrecognizedClientException"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "IncompleteSignatureException"
        | "IncompleteSignature" => refused("renew or correct the AWS credentials".to_string()),
        "InvalidSignatureException" if !of_clock(message) => {
            refused("correct the AWS secret key".to_string())
        }
        "InvalidSignatureException" | "RequestExpired" | "RequestTimeTooSkewed" => refused(
            "correct this machine's clock: it may be wrong by 5 minutes at most".to_string(),
        ),
        "ValidationException" if message.contains("size has exceeded") => refused(format!(
            "an item holds at most {ITEM_BYTES_MAX} bytes with its keys; this value has {}",
            call.bytes
        )),
        "ValidationException" if message.contains("key") => {
            refused(format!("the table is no state table: {KEYS_WANTED}"))
        }
        _ => (Kind::Refused, what, None),
    }
}

/// Whether a signature was refused for its time and not for its key.
fn of_clock(message: &str) -> bool {
    message.contains("Signature expired") || message.contains("Signature not yet current")
}

/// What the keys of the table must be.
pub(super) const KEYS_WANTED: &str =
    "create a table with the partition key `pk` and the sort key `sk`, both strings";

/// An answer without a code is perhaps not DynamoDB's: a proxy's, a load balancer's.
fn of_answer_without_code(status: u16, message: &str) -> Meaning {
    (Kind::Unknown, format!("an answer without an error code, status {status}: {message}"), None)
}

/// No answer. Certainly nothing was sent if there was nobody to send it to, or nobody to sign it.
fn of_dispatch<E>(
    cause: Option<&(dyn Error + 'static)>,
    error: &SdkError<E, HttpResponse>,
) -> Meaning
where
    E: Error + 'static,
{
    if find::<CredentialsError>(cause).is_some() {
        let help = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role";
        return (Kind::Refused, format!("no credentials: {}", deepest(cause)), Some(help.into()));
    }
    let what = format!("the connection failed: {}", deepest(cause));
    let refused = find::<io::Error>(cause)
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if refused {
        let help = "check AWS_ENDPOINT_URL, or the network's route to DynamoDB";
        return (Kind::Busy, what, Some(help.into()));
    }
    match cause {
        Some(_) => (Kind::Unknown, what, None),
        None => (Kind::Unknown, DisplayErrorContext(error).to_string(), None),
    }
}

fn chain<'a>(
    first: Option<&'a (dyn Error + 'static)>,
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = first;
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn find<'a, T: Error + 'static>(first: Option<&'a (dyn Error + 'static)>) -> Option<&'a T> {
    chain(first).find_map(|error| error.downcast_ref())
}

fn deepest(first: Option<&(dyn Error + 'static)>) -> String {
    chain(first).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests;
