//! What a `kill -9` leaves of the store on disk: everything that was answered.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use conformance::{key_of, value_of};
use tidemill_embedded::store::{OpenError, RedbStore};
use tidemill_model::store::{Limits, Store};
use tidemill_testkit::Rng;

fn child(path: &Path, command: &str) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_store_child"))
        .arg(path)
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out.lines().map_while(Result::ok))
}

/// Every put that was answered is there with its value, however often the process is killed.
#[tokio::test]
async fn answered_puts_survive_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.store");
    let mut rng = Rng::new(9);
    let mut answered: Vec<u32> = Vec::new();
    for round in 0..6 {
        let (mut process, mut lines) = child(&path, "put");
        let target = answered.len() + 5 + rng.index(60);
        while answered.len() < target {
            answered.push(lines.next().expect("the child goes on").parse().unwrap());
        }
        process.kill().unwrap();
        // What it had said before it died counts as well.
        answered.extend(lines.map(|line| line.parse::<u32>().unwrap()));
        process.wait().unwrap();

        let store = if round % 2 == 0 {
            RedbStore::open(&path, "killed").unwrap()
        } else {
            RedbStore::open_read_only(&path).unwrap()
        };
        let rows = store.range("numbers", "", Limits::NONE).await.unwrap();
        for n in &answered {
            let at = rows.binary_search_by(|row| row.sk.cmp(&key_of(*n)));
            assert!(at.is_ok_and(|at| rows[at].item == value_of(*n)), "{n} is lost");
        }
        // Puts that were not answered may be there, but only whole.
        for row in &rows {
            assert_eq!(row.item, value_of(row.sk.parse().unwrap()), "{} is torn", row.sk);
        }
    }
}

/// Killed while it creates its file, again and again: the next process still finds a store or
/// none, never half of one.
#[tokio::test]
async fn a_process_killed_while_creating_leaves_no_half_store() {
    let mut rng = Rng::new(4);
    for _ in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.store");
        let (mut process, _lines) = child(&path, "hold");
        std::thread::sleep(std::time::Duration::from_micros(rng.below(12_000)));
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(RedbStore::open(&path, "killed").is_ok());
    }
}

#[tokio::test]
async fn a_store_that_another_process_holds_is_locked_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("held.store");
    let (mut process, mut lines) = child(&path, "hold");
    assert_eq!(lines.next().as_deref(), Some("open"));
    let locked = |opened: Result<RedbStore, OpenError>| {
        let error = opened.err().expect("it should be locked");
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        assert!(error.to_string().contains("held.store"), "{error}");
    };
    locked(RedbStore::open(&path, "killed"));
    locked(RedbStore::open_read_only(&path));
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(RedbStore::open(&path, "killed").is_ok());
}
