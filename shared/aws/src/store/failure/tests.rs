use std::io;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::error::{
    ConditionalCheckFailedException, InternalServerError, ProvisionedThroughputExceededException,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;

use super::*;

type PutError = SdkError<PutItemError, HttpResponse>;

const CALL: Call<'_> =
    Call { operation: Operation::Put, table: "state", pk: "p/log/a", sk: "17", bytes: 400_001 };

fn response(status: u16) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty())
}

fn answered(status: u16, code: Option<&str>, message: &str) -> PutError {
    let meta = ErrorMetadata::builder().message(message);
    let meta = match code {
        Some(code) => meta.code(code).build(),
        None => meta.build(),
    };
    SdkError::service_error(PutItemError::generic(meta), response(status))
}

fn modelled(error: impl Into<PutItemError>, status: u16) -> PutError {
    SdkError::service_error(error.into(), response(status))
}

fn io_error(kind: io::ErrorKind) -> PutError {
    SdkError::dispatch_failure(ConnectorError::io(Box::new(io::Error::from(kind))))
}

#[track_caller]
fn means(error: &PutError, kind: Kind, said: &[&str]) {
    let failure = Failure::of(error, &CALL);
    assert_eq!(failure.kind, kind, "{failure:?}");
    let reason = failure.reason(&CALL);
    for said in said.iter().chain(&["table=`state`", "pk=`p/log/a`", "sk=`17`"]) {
        assert!(reason.contains(said), "{reason:?} does not say {said:?}");
    }
}

#[test]
fn a_condition_that_fails_is_an_outcome() {
    let meta = ErrorMetadata::builder().code("ConditionalCheckFailedException").build();
    let error = ConditionalCheckFailedException::builder().meta(meta).build();
    let error = PutItemError::ConditionalCheckFailedException(error);
    means(&modelled(error, 400), Kind::ConditionFailed, &[]);
    means(&answered(400, Some("ConditionalCheckFailedException"), ""), Kind::ConditionFailed, &[]);
}

#[test]
fn throttling_is_tried_again_and_has_not_written() {
    let meta = ErrorMetadata::builder().code("ProvisionedThroughputExceededException").build();
    let error = ProvisionedThroughputExceededException::builder().meta(meta).build();
    let error = PutItemError::ProvisionedThroughputExceededException(error);
    means(&modelled(error, 400), Kind::Busy, &["on demand"]);
    for code in ["ThrottlingException", "RequestLimitExceeded", "TransactionConflictException"] {
        means(&answered(400, Some(code), "slow down"), Kind::Busy, &[code, "slow down"]);
    }
}

#[test]
fn what_dynamodb_refuses_says_what_to_do() {
    let cases = [
        ("AccessDeniedException", "User x is not authorized", "allow dynamodb:PutItem"),
        ("ResourceNotFoundException", "Requested resource not found", "create the table"),
        ("ValidationException", "Item size has exceeded the maximum allowed size", "400001"),
        ("ValidationException", "One of the required keys was not given a value", "sort key `sk`"),
        ("ValidationException", "Type mismatch for key pk expected: N", "sort key `sk`"),
        ("ValidationException", "Something else", "Something else"),
        ("UnrecognizedClientException", "The security token is invalid", "credentials"),
        ("ExpiredTokenException", "The security token has expired", "credentials"),
        ("InvalidSignatureException", "Signature expired: 1 is now earlier than 2", "clock"),
        ("InvalidSignatureException", "Signature not yet current: 2 is later than 1", "clock"),
        ("InvalidSignatureException", "The request signature does not match", "secret key"),
        ("ItemCollectionSizeLimitExceededException", "", "secondary indexes"),
        ("SomethingNewException", "who knows", "SomethingNewException: who knows"),
    ];
    for (code, message, help) in cases {
        means(&answered(400, Some(code), message), Kind::Refused, &[code, help]);
    }
}

#[test]
fn an_error_of_the_server_may_have_written() {
    let meta = ErrorMetadata::builder().code("InternalServerError").build();
    let error = InternalServerError::builder().meta(meta).build();
    means(&modelled(PutItemError::InternalServerError(error), 500), Kind::Unknown, &[]);
    // Whatever such an answer calls itself.
    for code in ["ServiceUnavailable", "ThrottlingException", "AccessDeniedException"] {
        means(&answered(503, Some(code), ""), Kind::Unknown, &[code]);
    }
    means(&answered(408, Some("RequestTimeoutException"), ""), Kind::Unknown, &[]);
}

#[test]
fn an_answer_that_is_not_dynamodbs_says_nothing() {
    for status in [200, 302, 400, 403, 404, 502] {
        means(&answered(status, None, ""), Kind::Unknown, &[&status.to_string()]);
    }
    means(&answered(200, Some("AccessDeniedException"), ""), Kind::Unknown, &[]);
    means(&SdkError::response_error("cut off", response(200)), Kind::Unknown, &["200"]);
}

#[test]
fn a_lost_connection_may_have_written() {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    for kind in [ConnectionReset, ConnectionAborted, BrokenPipe, UnexpectedEof, TimedOut] {
        means(&io_error(kind), Kind::Unknown, &["connection"]);
    }
    means(&SdkError::timeout_error("5 s"), Kind::Unknown, &["no answer in time"]);
    let timeout = ConnectorError::timeout("3 s".into());
    means(&SdkError::dispatch_failure(timeout), Kind::Unknown, &["3 s"]);
    let other = ConnectorError::other("incomplete message".into(), None);
    means(&SdkError::dispatch_failure(other), Kind::Unknown, &["incomplete message"]);
}

#[test]
fn before_anything_is_sent_nothing_is_written() {
    means(&io_error(io::ErrorKind::ConnectionRefused), Kind::Busy, &["AWS_ENDPOINT_URL"]);
    let none = CredentialsError::not_loaded("no providers in chain");
    let none = SdkError::dispatch_failure(ConnectorError::other(Box::new(none), None));
    means(&none, Kind::Refused, &["no credentials", "AWS_PROFILE"]);
    means(&SdkError::construction_failure("no region"), Kind::Refused, &["no region"]);
}

#[test]
fn reads_are_refused_and_writes_are_unknown() {
    let failure = Failure::of(&SdkError::timeout_error("5 s") as &PutError, &CALL);
    let StoreError::Refused { reason } = failure.clone().of_a_read(&CALL) else { panic!() };
    assert!(reason.contains("no answer in time"), "{reason}");
    let StoreError::Unknown { key, .. } = failure.of_a_write(&CALL) else { panic!() };
    assert_eq!(key, "p/log/a 17");
    let refused = Failure::of(&answered(400, Some("AccessDeniedException"), ""), &CALL);
    assert!(matches!(refused.of_a_write(&CALL), StoreError::Refused { .. }));
}
