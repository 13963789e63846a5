//! `state` of a DynamoDB table.

use tidemill_aws::Aws;
use tidemill_aws::store::DynamoStore;
use tidemill_embedded::store::RedbStore;
use tidemill_flow::keys::Keys;
use tidemill_model::LogId;
use tidemill_model::store::{Limits, Put, Store};
use tidemill_testkit::servers::DynamoDbLocal;

use crate::workspace::{Ran, Workspace, events, json_lines};

const SHARDS: [&str; 2] = ["events/0-of-2", "events/1-of-2"];

/// What `state` says of the table, given an emulator's address.
fn state(workspace: &Workspace, dynamodb: &DynamoDbLocal, table: &str) -> Ran {
    let mut command =
        workspace.command(&["state", "--table", table, "--pipeline", "pipeline.toml"]);
    Ran::of(command.envs(dynamodb.environment()).output().unwrap())
}

/// The same items in a table are shown as they are in a file.
#[tokio::test]
async fn a_table_is_shown_as_a_file_is() {
    let workspace = Workspace::new();
    workspace.write("events.jsonl", json_lines(&events(1_000)));
    let run = ["run", "pipeline.toml", "--input", "events=events.jsonl", "--shards", "2"];
    let run = [&run[..], &["--store", "s.redb", "--output", "out", "--until-end"]].concat();
    workspace.tidemill(&run).succeeded();
    let file = workspace.tidemill(&["state", "s.redb", "--pipeline", "pipeline.toml"]).succeeded();

    let dynamodb = DynamoDbLocal::start();
    let table = DynamoStore::new(&Aws::emulator(&dynamodb.url()), "state");
    table.create_table().await.unwrap();
    {
        let from = RedbStore::open_read_only(&workspace.path("s.redb")).unwrap();
        let keys = Keys::new("test");
        let logs = SHARDS.map(|shard| keys.log(&LogId::parse(shard).unwrap()));
        let others = [keys.logs(), keys.checkpoint(), keys.emitted()];
        for pk in logs.into_iter().chain(others) {
            let rows = from.range(&pk, "", Limits::NONE).await.unwrap();
            for row in rows {
                let put = table.put_new(&pk, &row.sk, row.item).await;
                assert_eq!(put, Ok(Put::Created));
            }
        }
    }

    let shown = state(&workspace, &dynamodb, "state").succeeded();
    // Offsets count bytes in a file and records elsewhere; a column may be wider for the word.
    let words = |text: &str| -> Vec<String> {
        text.replace(" byte ", " offset ").split_whitespace().map(str::to_string).collect()
    };
    assert_eq!(words(&shown.stdout), words(&file.stdout), "{}", shown.stdout);
    for word in [SHARDS[0], SHARDS[1], "1,000", "per_key", "offset"] {
        assert!(shown.stdout.contains(word), "`{word}` is not in:\n{}", shown.stdout);
    }

    let absent = state(&workspace, &dynamodb, "absent");
    absent.failed(1, &["the state table `absent`", "create the table"]);
}

#[test]
fn a_region_is_asked_for() {
    let workspace = Workspace::new();
    let mut command = workspace.command(&["state", "--table", "t", "--pipeline", "pipeline.toml"]);
    for set in ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"] {
        command.env_remove(set);
    }
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    Ran::of(command.output().unwrap()).failed(1, &["no AWS region", "AWS_REGION="]);
}
