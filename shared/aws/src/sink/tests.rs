//! Wiring: what is wrong with a pipeline's sinks is told all at once.

use tidemill_pipeline::Pipeline;
use tidemill_plan::PipelinePlan;

use super::*;
use crate::fake_aws::{FakeAws, error};

const STREAM: &str = r#"
[streams.s]
format = "json"
columns = { k = "string", v = "bigint", ts = "timestamp_ms" }
event_time = "ts"
"#;

fn pipeline(top: &str, rest: &str) -> (Pipeline, PipelinePlan) {
    let text = format!("name = \"shop\"\n{top}\n{STREAM}\n{rest}");
    let parsed = tidemill_pipeline::parse("p.toml", &text, std::path::Path::new("."), &|_| None);
    let pipeline = parsed.unwrap_or_else(|errors| panic!("{errors:?}"));
    let plan = tidemill_plan::plan(&pipeline).unwrap_or_else(|errors| panic!("{errors:?}"));
    (pipeline, plan)
}

fn query(name: &str, columns: &str, sink: &str) -> String {
    let sink = if sink.is_empty() { String::new() } else { format!("sink = \"{sink}\"") };
    format!(
        "[queries.{name}]\nsql = \"SELECT {columns}, window_start, window_end, COUNT(*) AS n \
         FROM TUMBLE(s, ts, INTERVAL '1' MINUTE) GROUP BY k, window_start, window_end\"\n{sink}\n"
    )
}

const QUEUE: &str = "queue_url = \"https://sqs.eu-central-1.amazonaws.com/1/q\"";

async fn faults(aws: &Aws, top: &str, rest: &str) -> Vec<String> {
    let (pipeline, plan) = pipeline(top, rest);
    let faults = open(aws, &pipeline, &plan).await.err().unwrap_or_default();
    faults.iter().map(Fault::to_string).collect()
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let fake = FakeAws::start(|request| match request.method.as_str() {
        "HEAD" => (404, serde_json::Value::Null),
        _ => error(400, "ResourceNotFoundException", "not here"),
    });
    let sinks = format!(
        "[sinks.files]\ntype = \"file\"\n[sinks.console]\ntype = \"stdout\"\n\
         [sinks.table]\ntype = \"dynamodb\"\ntable = \"t\"\n\
         [sinks.stream]\ntype = \"kinesis\"\nstream = \"r\"\n\
         [sinks.bucket]\ntype = \"s3\"\nbucket = \"b\"\n\
         [sinks.unused]\ntype = \"sqs\"\n{QUEUE}\n"
    );
    let queries = [
        query("a", "k", "files"),
        query("b", "k", "console"),
        query("c", "k AS pk", "table"),
        query("d", "k AS query", "stream"),
        query("e", "k AS result_id", "bucket"),
        query("f", "k", ""),
    ];
    let found = faults(&fake.aws(), "", &(queries.join("") + &sinks)).await;
    let expected = [
        "query `f` names no sink, and a function has no --output. help: write `sink = \"NAME\"` under [queries.f]",
        "no sink takes the dead letters, and a function has no --output. help: write `dead_letters = \"NAME\"`",
        "query `e` has a column `result_id`, and sink `bucket` has something of its own",
        "bucket `b` of sink `bucket` does not exist",
        "sink `console` writes to standard output, which a function does not have",
        "sink `files` writes to files, which a function does not have",
        "query `d` has a column `query`, and sink `stream` has something of its own",
        "stream `r` of sink `stream` does not exist",
        "query `c` has a column `pk`, and sink `table` has something of its own under that name. help: give the column another name: pk AS pk_value",
        "table `t` of sink `table` does not exist",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[tokio::test]
async fn only_sinks_that_something_goes_to_are_asked_for() {
    let fake = FakeAws::start(|_| (200, serde_json::json!({ "Attributes": {} })));
    let rest = query("a", "k", "queue")
        + &format!("[sinks.queue]\ntype = \"sqs\"\n{QUEUE}\n[sinks.files]\ntype = \"file\"\n");
    assert_eq!(faults(&fake.aws(), "dead_letters = \"queue\"", &rest).await, [""; 0]);
    assert_eq!(fake.requests("GetQueueAttributes").len(), 1);
    // A sink of dead letters alone is asked for too.
    let rest = rest + "[sinks.table]\ntype = \"dynamodb\"\ntable = \"t\"\n";
    assert_eq!(faults(&fake.aws(), "dead_letters = \"table\"", &rest).await, [""; 0]);
    assert_eq!(fake.requests("DescribeTable").len(), 1);
}

#[tokio::test]
async fn columns_that_no_sink_holds_are_faults() {
    let fake = FakeAws::start(|_| (200, serde_json::json!({ "Attributes": {} })));
    let rest = "[queries.a]\nsql = \"SELECT k, window_start, window_end, union_value FROM (SELECT k, \
                window_start, window_end, arrow_cast(COUNT(*), 'RunEndEncoded(\\\"run_ends\\\": \
                non-null Int32, \\\"values\\\": Int64)') AS union_value FROM TUMBLE(s, ts, INTERVAL '1' \
                MINUTE) GROUP BY k, window_start, window_end)\"\nsink = \"queue\"\n[sinks.queue]\n\
                type = \"sqs\"\n"
        .to_string()
        + QUEUE;
    let found = faults(&fake.aws(), "dead_letters = \"queue\"", &rest).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("sink `queue` cannot hold query `a`"), "{}", found[0]);
}

#[cfg(not(feature = "kafka"))]
#[tokio::test]
async fn a_kafka_sink_says_what_to_build() {
    let fake = FakeAws::start(|_| (200, serde_json::Value::Null));
    let rest = query("a", "k", "topic")
        + "[sinks.topic]\ntype = \"kafka\"\nbootstrap_servers = \"b:9092\"\ntopic = \"t\"\n";
    let found = faults(&fake.aws(), "dead_letters = \"topic\"", &rest).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("cargo feature `kafka`"), "{}", found[0]);
}
