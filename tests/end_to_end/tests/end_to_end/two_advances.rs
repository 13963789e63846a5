//! Two advances at once, all the time: they cost each other work, and nothing else.

use end_to_end::mapping::KinesisSettings;

use crate::deployment::{Deployment, WITHIN, events_by_shard};

#[test]
fn two_advances_at_once_emit_what_one_does() {
    let deployment = Deployment::of_ads(2, 3);
    let shards = events_by_shard(2, 3_000, 180_000, 3);
    let mapping = deployment.map(KinesisSettings { batch_size: 150, ..KinesisSettings::new(3) });
    let schedule = deployment.schedule(2);
    for (shard, events) in shards.iter().enumerate() {
        deployment.put(shard, events);
    }
    mapping.drain(WITHIN);
    deployment.assert_counted(&shards.concat());
    deployment.assert_nothing_dead();
    assert_eq!(schedule.failures(), Vec::<String>::new());
    let answers = schedule.answers();
    let sum = |name: &str| answers.iter().filter_map(|it| it[name].as_u64()).sum::<u64>();
    assert!(sum("lost") > 0, "they never met: {answers:?}");
    assert_eq!(sum("records"), 6_000, "each record is merged by one of them");
}
