use redb::TableDefinition;
use tempfile::TempDir;
use tidemill_model::store::{Item, Limits, Put, Store, StoreError};
use tidemill_testkit::Rng;

use super::*;
use crate::store::RedbStore;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn error_of_open(path: &Path) -> OpenError {
    RedbStore::open(path, "flights").err().unwrap()
}

fn item(bytes: impl AsRef<[u8]>) -> Item {
    Item { bytes: bytes.as_ref().to_vec(), expires_at: None }
}

async fn filled(path: &Path) -> RedbStore {
    let store = RedbStore::open(path, "flights").unwrap();
    for n in 0..40 {
        let sk = format!("{n:02}");
        assert_eq!(store.put_new("log", &sk, item(sk.repeat(500))).await, Ok(Put::Created));
    }
    store
}

async fn is_filled(store: &RedbStore) -> Result<bool, StoreError> {
    let rows = store.range("log", "", Limits::NONE).await?;
    let whole = |(n, row): (usize, &tidemill_model::store::Row)| {
        row.sk == format!("{n:02}") && row.item == item(row.sk.repeat(500))
    };
    Ok(rows.len() == 40 && rows.iter().enumerate().all(whole))
}

#[tokio::test]
async fn a_new_store_is_created_and_opened_again() {
    let folder = folder();
    let path = folder.path().join("new.store");
    drop(filled(&path).await);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names, std::slice::from_ref(&path), "no draft stays behind");
    let store = RedbStore::open(&path, "flights").unwrap();
    assert_eq!(store.pipeline(), "flights");
    assert_eq!(is_filled(&store).await, Ok(true));
}

#[test]
fn an_empty_file_becomes_a_store() {
    let folder = folder();
    let path = folder.path().join("empty.store");
    File::create(&path).unwrap();
    drop(RedbStore::open(&path, "flights").unwrap());
    assert!(RedbStore::open(&path, "flights").is_ok());
}

#[test]
fn a_file_of_something_else_is_left_as_it_is() {
    let folder = folder();
    let path = folder.path().join("flights.jsonl");
    fs::write(&path, "{\"flight\": 1}\n").unwrap();
    let error = error_of_open(&path);
    assert!(
        matches!(&error, OpenError::NotOurs { found, .. } if found.contains(r#"{\"flight"#)),
        "{error}"
    );
    assert!(matches!(RedbStore::open_read_only(&path).err(), Some(OpenError::NotOurs { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"flight\": 1}\n");
}

#[test]
fn another_programs_database_is_not_ours() {
    let folder = folder();
    let path = folder.path().join("other.redb");
    let other: TableDefinition<'_, u64, u64> = TableDefinition::new("identity");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(other).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(error_of_open(&path), OpenError::NotOurs { .. }));
    let database = Database::open(&path).unwrap();
    let table = database.begin_read().unwrap().open_table(other).unwrap();
    assert_eq!(table.get(1).unwrap().map(|value| value.value()), Some(2));
}

#[test]
fn folders_and_missing_folders_are_named() {
    let folder = folder();
    assert!(matches!(error_of_open(folder.path()), OpenError::Folder { .. }));
    let nowhere = folder.path().join("absent/new.store");
    let error = error_of_open(&nowhere);
    assert!(matches!(error, OpenError::Missing { what: "folder", .. }), "{error}");
    let absent = folder.path().join("absent.store");
    let error = RedbStore::open_read_only(&absent).err().unwrap();
    assert!(matches!(error, OpenError::Missing { what: "file", .. }), "{error}");
    assert!(!absent.exists());
    let inside_a_file = folder.path().join("file/new.store");
    fs::write(folder.path().join("file"), "x").unwrap();
    assert!(matches!(error_of_open(&inside_a_file), OpenError::Io { .. }));
}

#[test]
fn what_the_system_denies_is_told_apart() {
    let error = |kind| io_error(Path::new("x"), io::Error::from(kind));
    assert!(matches!(error(ErrorKind::PermissionDenied), OpenError::Denied { .. }));
    assert!(matches!(error(ErrorKind::ReadOnlyFilesystem), OpenError::Denied { .. }));
    assert!(matches!(error(ErrorKind::UnexpectedEof), OpenError::Damaged { .. }));
    assert!(matches!(error(ErrorKind::StorageFull), OpenError::Io { .. }));
}

/// "Restore it from a copy" was the advice about a sound file whose disk had failed a moment before.
#[test]
fn a_file_whose_disk_failed_is_not_called_damaged() {
    let failures = Failures::of(Path::new("a.store"));
    let damaged = error_of(&failures, redb::Error::PreviousIo);
    assert!(matches!(damaged, OpenError::Damaged { .. }), "nothing is known of the disk");
    let _ = failures.note::<()>(Err(ErrorKind::StorageFull.into()));
    let error = error_of(&failures, redb::Error::PreviousIo);
    assert!(matches!(&error, OpenError::Io { path, .. } if path == "a.store"), "{error}");
    let said = error.to_string();
    assert!(said.contains("no storage space") && said.contains("has room"), "{said}");
}

#[test]
fn another_pipelines_store_names_both() {
    let folder = folder();
    let path = folder.path().join("a.store");
    drop(RedbStore::open(&path, "weather").unwrap());
    let error = error_of_open(&path);
    assert_eq!(
        error,
        OpenError::OtherPipeline {
            path: path.display().to_string(),
            found: "weather".to_string(),
            wanted: "flights".to_string()
        }
    );
    assert_eq!(RedbStore::open_read_only(&path).unwrap().pipeline(), "weather");
}

#[test]
fn a_newer_store_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("a.store");
    let database = Database::create(&path).unwrap();
    write_identity(&database, "flights", VERSION + 1).unwrap();
    drop(database);
    let path_shown = path.display().to_string();
    assert_eq!(
        error_of_open(&path),
        OpenError::Newer { path: path_shown, found: VERSION + 1, known: VERSION }
    );
}

#[tokio::test]
async fn an_open_store_is_locked_for_everyone_else() {
    let folder = folder();
    let path = folder.path().join("a.store");
    let store = filled(&path).await;
    assert!(matches!(error_of_open(&path), OpenError::Locked { .. }));
    assert!(matches!(RedbStore::open_read_only(&path).err(), Some(OpenError::Locked { .. })));
    drop(store);
    let reader = RedbStore::open_read_only(&path).unwrap();
    assert_eq!(is_filled(&reader).await, Ok(true));
    assert!(matches!(error_of_open(&path), OpenError::Locked { .. }));
    drop(reader);
    assert!(RedbStore::open(&path, "flights").is_ok());
}

#[tokio::test]
async fn a_file_that_may_not_be_written_can_be_read_when_it_was_closed() {
    let folder = folder();
    let (path, killed) = (folder.path().join("a.store"), folder.path().join("killed.store"));
    let store = filled(&path).await;
    fs::copy(&path, &killed).unwrap();
    drop(store);
    let before = fs::read(&path).unwrap();
    let failures = Failures::of(&path);
    let (access, pipeline) = to_read_unverified(&path, &failures).unwrap();
    let store = RedbStore { access, failures, pipeline };
    assert_eq!(is_filled(&store).await, Ok(true));
    let put = store.put_new("log", "99", item("x")).await;
    assert!(matches!(put, Err(StoreError::Refused { .. })));
    drop(store);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(matches!(
        to_read_unverified(&killed, &Failures::of(&killed)).err(),
        Some(OpenError::Denied { .. })
    ));
}

#[tokio::test]
async fn a_store_for_reading_refuses_puts() {
    let folder = folder();
    let path = folder.path().join("a.store");
    drop(filled(&path).await);
    let store = RedbStore::open_read_only(&path).unwrap();
    let put = store.put_new("log", "99", item("x")).await;
    assert!(matches!(put, Err(StoreError::Refused { .. })));
    assert_eq!(store.last("log").await.unwrap().unwrap().sk, "39");
}

/// A copy of an open file is what a kill leaves behind.
#[tokio::test]
async fn a_store_that_was_not_closed_can_be_read_and_written() {
    let folder = folder();
    let (path, killed) = (folder.path().join("a.store"), folder.path().join("killed.store"));
    let store = filled(&path).await;
    fs::copy(&path, &killed).unwrap();
    drop(store);
    let read = RedbStore::open_read_only(&killed).unwrap();
    assert_eq!(is_filled(&read).await, Ok(true));
    assert!(matches!(read.put_new("log", "99", item("x")).await, Err(StoreError::Refused { .. })));
    drop(read);
    let store = RedbStore::open(&killed, "flights").unwrap();
    assert_eq!(is_filled(&store).await, Ok(true));
}

/// Whatever is wrong with the bytes of a file, opening it says so, or all that it holds is right.
#[tokio::test]
async fn a_damaged_store_is_an_error_and_never_a_panic() {
    let folder = folder();
    let path = folder.path().join("a.store");
    drop(filled(&path).await);
    let whole = fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.store");
    let mut rng = Rng::new(1);
    let mut found = 0;
    for round in 0..80 {
        let mut bytes = whole.clone();
        if round % 4 == 0 {
            bytes.truncate(rng.index(bytes.len()).max(1));
        } else {
            // Anywhere, or in the first pages, where the header and the roots are.
            let within = if round % 4 == 1 { 4096 } else { bytes.len() };
            let at = rng.index(within - 64);
            for byte in &mut bytes[at..at + 64] {
                *byte = rng.bits() as u8;
            }
        }
        fs::write(&damaged, &bytes).unwrap();
        let opened = if round % 8 < 4 {
            RedbStore::open(&damaged, "flights")
        } else {
            RedbStore::open_read_only(&damaged)
        };
        match opened {
            Ok(store) => assert_eq!(is_filled(&store).await, Ok(true), "round {round}"),
            Err(OpenError::Damaged { .. } | OpenError::NotOurs { .. }) => found += 1,
            Err(error) => panic!("round {round}: {error}"),
        }
    }
    assert!(found > 10, "only {found} of 80 damages were found");
}
