//! What a service's error means to whoever runs the pipeline.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError as AnyError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tidemill_flow::ports::SinkError;

use crate::Fault;

/// An error of a service's client.
pub(super) type SdkError<E> = AnyError<E, HttpResponse>;

/// The place that a sink writes to.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The sink's name.
    pub(super) sink: String,
    /// What and which: `table `views``.
    pub(super) what: String,
    /// The IAM action that writing needs.
    pub(super) action: &'static str,
}

/// Kinds of error, by what a person does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The role may not do it.
    Denied,
    /// It is not known who asks.
    Credentials,
    /// The place does not exist.
    Missing,
    /// Anything else: throttled, down, unreachable.
    Other,
}

/// What an error is, and what the service said.
pub(super) fn kind_of<E>(error: &SdkError<E>) -> (Kind, String)
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        return (Kind::Other, DisplayErrorContext(error).to_string());
    };
    // The answer to a HEAD request has a status and nothing else.
    let status = answer.raw().status().as_u16().to_string();
    let code = answer.err().code().unwrap_or(&status);
    let said = match answer.err().message() {
        Some(message) => format!("{code}: {message}"),
        None => code.to_string(),
    };
    (kind_of_code(code), said)
}

fn kind_of_code(code: &str) -> Kind {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "AccessDeniedFault"
        | "NotAuthorized"
        | "Forbidden"
        | "403"
        | "KmsAccessDenied"
        | "KMSAccessDeniedException"
        | "KMS.AccessDeniedException" => Kind::Denied,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "InvalidToken"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "MissingAuthenticationToken" => Kind::Credentials,
        "ResourceNotFoundException"
        | "NoSuchBucket"
        | "NotFound"
        | "404"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue" => Kind::Missing,
        _ => Kind::Other,
    }
}

impl Place {
    /// A write that failed.
    pub(super) fn failed<E>(&self, error: &SdkError<E>) -> SinkError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (kind, said) = kind_of(error);
        let Place { what, action, .. } = self;
        self.down(match kind {
            Kind::Denied => format!(
                "{what} denies access ({said}); allow {action} on it in the role of the function \
                 that advances, and the use of its key where it is encrypted with one of yours"
            ),
            Kind::Credentials => format!("{what} does not know who asks ({said}); {CREDENTIALS}"),
            Kind::Missing => format!(
                "{what} does not exist ({said}); create it again, or correct the pipeline file"
            ),
            Kind::Other => format!("{what} did not take the results ({said}); {TRIED_AGAIN}"),
        })
    }

    /// Part of a batch that was refused until patience ended.
    pub(super) fn stuck(&self, said: &str) -> SinkError {
        let what = &self.what;
        self.down(format!(
            "{what} still refuses part of a batch after some attempts ({said}); it is tried again \
             at the next tick; raise its capacity if it is throttled for long"
        ))
    }

    /// The sink is down, for this reason.
    pub(super) fn down(&self, reason: impl ToString) -> SinkError {
        SinkError { sink: self.sink.clone(), reason: reason.to_string() }
    }

    /// The place was asked for at start and is not there.
    pub(super) fn missing(&self, said: &str) -> Fault {
        let Place { sink, what, .. } = self;
        Fault::new(
            format!("{what} of sink `{sink}` does not exist ({said})"),
            format!(
                "create it in the function's region and account, or correct [sinks.{sink}] in the \
                 pipeline file"
            ),
        )
    }

    /// The place was asked for at start and did not answer.
    pub(super) fn unreachable(&self, said: &str) -> Fault {
        let Place { sink, what, .. } = self;
        Fault::new(
            format!("{what} of sink `{sink}` cannot be looked at ({said})"),
            "check the region, the network (a function in a VPC needs an endpoint of the service \
             or a NAT gateway) and AWS_ENDPOINT_URL; start it again if the service was down",
        )
    }
}

const CREDENTIALS: &str = "renew or correct the AWS credentials; if its clock is wrong by minutes, correct this machine's";
const TRIED_AGAIN: &str = "it is tried again at the next tick";

/// Looks at a sink's place before the first result: what is wrong, if anything. A role that may
/// write but not look is enough: the writes will tell.
pub(super) fn checked<T, E>(
    place: &Place,
    answer: Result<T, SdkError<E>>,
    judge: impl FnOnce(T) -> Option<Fault>,
) -> Option<Fault>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match answer {
        Ok(answer) => judge(answer),
        Err(error) => match kind_of(&error) {
            (Kind::Missing, said) => Some(place.missing(&said)),
            (Kind::Denied, said) => {
                let (sink, what) = (&place.sink, &place.what);
                tracing::warn!(sink, what, said, "a sink could not be looked at: access denied");
                None
            }
            (Kind::Credentials, said) => {
                let Place { sink, what, .. } = place;
                let what = format!("{what} of sink `{sink}` does not know who asks ({said})");
                Some(Fault::new(what, CREDENTIALS))
            }
            (Kind::Other, said) => Some(place.unreachable(&said)),
        },
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;

    use super::*;
    use crate::fake_aws::{FakeAws, error};

    fn place() -> Place {
        let what = "table `t`".to_string();
        Place { sink: "out".to_string(), what, action: "dynamodb:BatchWriteItem" }
    }

    /// What a service that answers so is found to be at start, and what a write to it says.
    async fn told(status: u16, code: &'static str) -> (Option<Fault>, String) {
        let fake = FakeAws::start(move |_| error(status, code, "it says"));
        let client = aws_sdk_dynamodb::Client::new(fake.aws().sdk());
        let answer = client.describe_table().table_name("t").send().await;
        let failed: &SdkError<DescribeTableError> = answer.as_ref().unwrap_err();
        let failed = place().failed(failed).reason;
        (checked(&place(), answer, |_| None), failed)
    }

    #[tokio::test]
    async fn errors_say_what_to_do_and_only_a_denied_look_is_no_fault() {
        let cases = [
            (400, "AccessDeniedException", false, "allow dynamodb:BatchWriteItem on it"),
            (400, "ResourceNotFoundException", true, "create it again"),
            (400, "ExpiredTokenException", true, "renew or correct the AWS credentials"),
            (400, "Whatever", true, "tried again at the next tick"),
        ];
        for (status, code, is_fault, help) in cases {
            let (fault, failed) = told(status, code).await;
            assert_eq!(fault.is_some(), is_fault, "{code}: {fault:?}");
            assert!(failed.contains(help) && failed.contains(code), "{failed}");
            assert!(fault.is_none_or(|fault| fault.what.contains("sink `out`")));
        }
    }
}
