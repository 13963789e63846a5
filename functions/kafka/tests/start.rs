//! What the Kafka function says when its deployment is wrong.

use tidemill_testkit::InitError;

const FUNCTION: &str = env!("CARGO_BIN_EXE_tidemill-kafka");

#[test]
fn all_faults_of_a_deployment_are_told_at_once() {
    let error = InitError::of(FUNCTION, &[]);
    assert_eq!(error.request, "POST /2018-06-01/runtime/init/error HTTP/1.1");
    assert_eq!(error.error_type, "Setup.Faults");
    for needed in ["TIDEMILL_PIPELINE", "TIDEMILL_STATE_TABLE", "AWS_REGION", "help: "] {
        assert!(error.body.contains(needed), "{needed} is not in {}", error.body);
        assert!(error.log.contains(needed), "{needed} is not in {}", error.log);
    }
    assert_eq!(error.log.lines().count(), 1, "one message: {}", error.log);
    assert_eq!(error.exit_code, Some(1));
}
