//! A mapping that gives up on batches, against all advice, loses records. That they were lost shows
//! as soon as they come again: a loud error, and nothing of them is taken for done.

use end_to_end::mapping::KinesisSettings;
use end_to_end::mapping::delivery::Policy;

use crate::deployment::{Deployment, WITHIN, events_by_shard};

#[test]
fn records_that_a_mapping_skipped_are_missed_when_they_come_again() {
    let deployment = Deployment::of_ads(1, 25);
    let events = events_by_shard(1, 2_000, 60_000, 25).remove(0);
    let policy = Policy { bisect: false, report_failures: true, retries_max: Some(1) };
    let settings = KinesisSettings { policy, replaced_percent: 0, ..KinesisSettings::new(25) };
    let careless = deployment.map(settings);
    deployment.put(0, &events[..500]);
    careless.drain(WITHIN);
    deployment.ingest.fail_invocations(true);
    deployment.put(0, &events[500..1_500]);
    careless.drain(WITHIN);
    deployment.ingest.fail_invocations(false);
    deployment.put(0, &events[1_500..]);
    careless.drain(WITHIN);
    assert_eq!(careless.discarded().len(), 1_000);
    drop(careless);

    let again = deployment.map(KinesisSettings { batch_size: 2_000, ..KinesisSettings::new(26) });
    again.wait_for_failure(WITHIN);
    let (invoked, failed) = again.counts();
    let said = deployment.ingest.logs().matching("in no segment");
    assert!(!said.is_empty(), "no line says so:\n{}", deployment.ingest.logs().tail(10));
    assert!(said[0].contains("ParallelizationFactor"), "{}", said[0]);
    assert!(failed > 0 && invoked - failed <= 500, "{invoked} invocations, {failed} failed");
}
