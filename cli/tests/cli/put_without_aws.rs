//! `tidemill put` of a build without AWS.

use std::process::Command;

#[test]
fn it_says_how_to_build_one_that_can() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["put", "--stream", "clicks", "--file", "events.jsonl"]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cargo build -p tidemill --features aws"), "{said}");
    assert!(said.contains("`clicks`"), "{said}");
}
