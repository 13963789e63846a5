//! What the writer answers when the disk fails under it, and what the file holds afterwards.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use redb::{Builder, DatabaseError, ReadableDatabase, StorageBackend, backends::InMemoryBackend};

use super::*;
use crate::store::file::Watched;

const WORKS: u8 = 0;
const CANNOT_WRITE: u8 = 1;
const CANNOT_SYNC: u8 = 2;
const CANNOT_GROW: u8 = 3;
const FULL: u8 = 4;

/// A disk in memory that fails when it is told to. Clones share it.
#[derive(Debug, Clone, Default)]
struct Disk {
    memory: Arc<InMemoryBackend>,
    fault: Arc<AtomicU8>,
    /// Calls that a [`FULL`] disk still serves.
    left: Arc<AtomicU64>,
    /// What was done with the file, for the message of a failed test.
    refused: Arc<Mutex<Option<&'static str>>>,
}

impl Disk {
    fn fails(&self, fault: u8) {
        self.fault.store(fault, Ordering::Relaxed);
    }

    fn is_full_after(&self, calls: u64) {
        self.left.store(calls, Ordering::Relaxed);
        self.fails(FULL);
    }

    fn unless<T>(
        &self,
        fault: u8,
        what: &'static str,
        work: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let told = self.fault.load(Ordering::Relaxed);
        let served =
            || self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if told == fault || (told == FULL && served().is_err()) {
            self.refused.lock().unwrap().get_or_insert(what);
            return Err(io::ErrorKind::StorageFull.into());
        }
        work()
    }

    fn try_open(&self) -> Result<Writer, DatabaseError> {
        let failures = Failures::of(Path::new("flights.store"));
        let mut builder = Builder::new();
        builder.set_check_integrity_on_open(true);
        let database = builder.create_with_backend(Watched::new(self.clone(), &failures))?;
        Ok(Writer::new(database, failures))
    }

    fn open(&self) -> Writer {
        self.try_open().unwrap()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.unless(CANNOT_GROW, "grow", || self.memory.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.unless(CANNOT_SYNC, "sync", || self.memory.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.unless(CANNOT_WRITE, "write", || self.memory.write(offset, data))
    }
}

fn put(sk: &str, bytes: usize) -> Change {
    let item = Item { bytes: vec![7; bytes], expires_at: None };
    Change::Put { key: layout::key("p", sk), item }
}

fn stored(writer: &Writer, sk: &str) -> bool {
    let transaction = writer.database().begin_read().unwrap();
    let items = transaction.open_table(ITEMS).unwrap();
    items.get(&layout::key("p", sk)[..]).unwrap().is_some()
}

#[test]
fn a_failing_disk_never_answers_created() {
    for fault in [CANNOT_WRITE, CANNOT_SYNC, CANNOT_GROW] {
        let disk = Disk::default();
        let writer = disk.open();
        assert_eq!(writer.submit(put("before", 10)), Ok(Put::Created));
        disk.fails(fault);
        // Larger than what the file holds, so that it must grow.
        let failed = writer.submit(put("during", 16 * 1024 * 1024));
        match &failed {
            Err(StoreError::Refused { .. }) => assert!(!stored(&writer, "during"), "{fault}"),
            Err(StoreError::Unknown { key, .. }) => assert_eq!(key, "p during"),
            other => panic!("fault {fault}: {other:?}"),
        }
        assert!(stored(&writer, "before"), "{fault}");
        disk.fails(WORKS);
        // redb wants the file opened again after an error; until then nothing is acknowledged
        // that is not there.
        let after = writer.submit(put("after", 10));
        assert_eq!(after == Ok(Put::Created), stored(&writer, "after"), "{fault}: {after:?}");
    }
}

#[test]
fn a_commit_that_may_have_happened_is_unknown_for_all_of_its_puts() {
    let disk = Disk::default();
    let writer = disk.open();
    assert_eq!(writer.submit(put("a", 10)), Ok(Put::Created));
    disk.fails(CANNOT_SYNC);
    let answers = writer.commit(&[put("a", 10), put("b", 10), put("b", 10)]);
    // The third lost to the second, which nobody knows the fate of.
    assert_eq!(answers.len(), 3);
    assert!(
        answers.iter().all(|answer| matches!(answer, Err(StoreError::Unknown { .. }))),
        "{answers:?}"
    );
}

/// redb serves nothing after an error until the file is opened again, and says only that there was
/// one. So a run on a full disk ended with "previous I/O error occurred": neither which file, nor
/// why.
#[test]
fn every_error_after_the_first_names_the_file_and_what_was_wrong_first() {
    let disk = Disk::default();
    let writer = disk.open();
    assert_eq!(writer.submit(put("a", 10)), Ok(Put::Created));
    disk.fails(CANNOT_SYNC);
    for _ in 0..3 {
        let said = writer.submit(put("b", 10)).unwrap_err().to_string();
        assert!(said.contains("flights.store: ") && said.contains("no storage space"), "{said}");
        disk.fails(WORKS);
    }
    let said = writer.sweep(WallMs(0)).unwrap_err().to_string();
    assert!(said.contains("flights.store: ") && said.contains("no storage space"), "{said}");
}

/// Fills the disk up at each call in turn: while something is written, before it, or while the file
/// is opened again.
#[test]
fn wherever_the_disk_fills_up_what_was_answered_stays_and_the_file_goes_on() {
    /// A few of them make the file grow.
    const VALUE_BYTES: usize = 150_000;
    let keys: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    let mut full_at = 0;
    loop {
        let disk = Disk::default();
        let writer = disk.open();
        assert_eq!(writer.submit(put("before", 10)), Ok(Put::Created));
        disk.is_full_after(full_at);
        let answers: Vec<Answer> =
            keys.iter().map(|key| writer.submit(put(key, VALUE_BYTES))).collect();
        drop(writer);
        let opened_full = disk.try_open().is_ok();
        disk.fails(WORKS);
        let refused = *disk.refused.lock().unwrap();
        let place = format!("full at call {full_at}, {refused:?}, {opened_full}: {answers:?}");

        let writer = disk.open();
        assert!(stored(&writer, "before"), "{place}");
        for (key, answer) in keys.iter().zip(&answers) {
            match answer {
                Ok(Put::Created) => assert!(stored(&writer, key), "{key} is lost, {place}"),
                Err(StoreError::Refused { .. }) => {
                    assert!(!stored(&writer, key), "{key} was refused, {place}");
                }
                Err(StoreError::Unknown { .. }) => {}
                other => panic!("{key}: {other:?}, {place}"),
            }
        }
        for key in &keys {
            assert!(writer.submit(put(key, VALUE_BYTES)).is_ok(), "{key}, {place}");
            assert!(stored(&writer, key), "{key}, {place}");
        }
        if answers.iter().all(|answer| *answer == Ok(Put::Created)) {
            break;
        }
        full_at += 1;
    }
    assert!(full_at > 30, "the disk was full at {full_at} calls only");
}
