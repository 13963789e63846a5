//! What the writer answers when the disk fails under it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use redb::{Builder, ReadableDatabase, StorageBackend, backends::InMemoryBackend};

use super::*;

const WORKS: u8 = 0;
const CANNOT_WRITE: u8 = 1;
const CANNOT_SYNC: u8 = 2;
const CANNOT_GROW: u8 = 3;

/// A disk in memory that fails when it is told to.
#[derive(Debug)]
struct Disk {
    memory: InMemoryBackend,
    fault: Arc<AtomicU8>,
}

impl Disk {
    fn unless<T>(&self, fault: u8, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.fault.load(Ordering::Relaxed) == fault {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            work()
        }
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
        self.unless(CANNOT_GROW, || self.memory.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.unless(CANNOT_SYNC, || self.memory.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.unless(CANNOT_WRITE, || self.memory.write(offset, data))
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
        let switch = Arc::new(AtomicU8::new(WORKS));
        let disk = Disk { memory: InMemoryBackend::new(), fault: Arc::clone(&switch) };
        let writer = Writer::new(Builder::new().create_with_backend(disk).unwrap());
        assert_eq!(writer.submit(put("before", 10)), Ok(Put::Created));
        switch.store(fault, Ordering::Relaxed);
        // Larger than what the file holds, so that it must grow.
        let failed = writer.submit(put("during", 16 * 1024 * 1024));
        match &failed {
            Err(StoreError::Refused { .. }) => assert!(!stored(&writer, "during"), "{fault}"),
            Err(StoreError::Unknown { key, .. }) => assert_eq!(key, "p during"),
            other => panic!("fault {fault}: {other:?}"),
        }
        assert!(stored(&writer, "before"), "{fault}");
        switch.store(WORKS, Ordering::Relaxed);
        // redb wants the file opened again after an error; until then nothing is acknowledged
        // that is not there.
        let after = writer.submit(put("after", 10));
        assert_eq!(after == Ok(Put::Created), stored(&writer, "after"), "{fault}: {after:?}");
    }
}

#[test]
fn a_commit_that_may_have_happened_is_unknown_for_all_of_its_puts() {
    let switch = Arc::new(AtomicU8::new(WORKS));
    let disk = Disk { memory: InMemoryBackend::new(), fault: Arc::clone(&switch) };
    let writer = Writer::new(Builder::new().create_with_backend(disk).unwrap());
    assert_eq!(writer.submit(put("a", 10)), Ok(Put::Created));
    switch.store(CANNOT_SYNC, Ordering::Relaxed);
    let answers = writer.commit(&[put("a", 10), put("b", 10), put("b", 10)]);
    // The third lost to the second, which nobody knows the fate of.
    assert_eq!(answers.len(), 3);
    assert!(
        answers.iter().all(|answer| matches!(answer, Err(StoreError::Unknown { .. }))),
        "{answers:?}"
    );
}
