//! A process that holds a store, to be killed from outside.
//!
//! `store_child PATH put`: puts numbers from several threads for ever, and prints each number
//! once its put was answered. `store_child PATH hold`: prints `open` and holds the store until its
//! standard input ends.

use std::{
    error::Error,
    io::{Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use conformance::{key_of, value_of};
use tidemill_embedded::store::RedbStore;
use tidemill_model::store::{Put, Store};

#[tokio::main(flavor = "multi_thread", worker_threads = 3)]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, command] = &arguments[..] else {
        return Err("usage: store_child PATH put|hold".into());
    };
    let store = Arc::new(RedbStore::open(Path::new(path), "killed")?);
    match &command[..] {
        "hold" => {
            say("open")?;
            std::io::stdin().read_to_end(&mut Vec::new())?;
        }
        "put" => {
            let next = match store.last("numbers").await? {
                Some(row) => row.sk.parse::<u32>()? + 1,
                None => 0,
            };
            let next = Arc::new(AtomicU32::new(next));
            let mut writers = tokio::task::JoinSet::new();
            for _ in 0..3 {
                let (store, next) = (Arc::clone(&store), Arc::clone(&next));
                writers.spawn(async move { put_for_ever(&store, &next).await });
            }
            while let Some(ended) = writers.join_next().await {
                ended??;
            }
        }
        other => return Err(format!("no such command: {other}").into()),
    }
    Ok(())
}

async fn put_for_ever(
    store: &RedbStore,
    next: &AtomicU32,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        // A number above the last one may be left out by a kill, but none is ever put twice.
        match store.put_new("numbers", &key_of(n), value_of(n)).await? {
            Put::Created => say(&n.to_string())?,
            Put::AlreadyExists => return Err(format!("{n} was put before").into()),
        }
    }
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
