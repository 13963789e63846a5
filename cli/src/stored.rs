//! What a store says of a pipeline besides its logs: the newest checkpoint, and what a run keeps for
//! itself under `{pipeline}/run`.

use miette::Report;
use tidemill_codec::decode_checkpoint;
use tidemill_embedded::store::RedbStore;
use tidemill_flow::keys::Keys;
use tidemill_model::Checkpoint;
use tidemill_model::store::{Item, Limits, Put, Store, StoreError};

use crate::problem::Problem;

/// The newest checkpoint; `None` before the first.
pub(crate) async fn newest_checkpoint(
    store: &dyn Store,
    keys: &Keys,
) -> Result<Option<Checkpoint>, Report> {
    let Some(row) = store.last(&keys.checkpoint()).await.map_err(of_store)? else {
        return Ok(None);
    };
    let checkpoint = decode_checkpoint(&row.item.bytes).map_err(|error| {
        Problem::new(
            format!("the newest checkpoint cannot be read: {error}"),
            "use the version of tidemill that wrote the store, or restore it from a backup",
        )
    })?;
    Ok(Some(checkpoint))
}

/// The id of this pipeline's state in this store: `candidate`, if it has none yet. It tells a
/// folder of results whether they are this state's.
pub(crate) async fn id(store: &RedbStore, candidate: &str) -> Result<String, Report> {
    first(store, "id", candidate).await
}

/// What tells the input of `stream` from another one: `candidate`, if nothing was read of it yet.
pub(crate) async fn input_identity(
    store: &RedbStore,
    stream: &str,
    candidate: &str,
) -> Result<String, Report> {
    first(store, &format!("input/{stream}"), candidate).await
}

/// The text that the store has under a name; `candidate`, which it keeps, if it has none.
async fn first(store: &RedbStore, sk: &str, candidate: &str) -> Result<String, Report> {
    let pk = format!("{}/run", store.pipeline());
    let item = Item { bytes: candidate.as_bytes().to_vec(), expires_at: None };
    if store.put_new(&pk, sk, item).await.map_err(of_store)? == Put::Created {
        return Ok(candidate.to_string());
    }
    let rows = store.range(&pk, sk, Limits { items: 1, bytes: usize::MAX }).await;
    let found = rows.map_err(of_store)?.into_iter().find(|row| row.sk == sk);
    let text = found.and_then(|row| String::from_utf8(row.item.bytes).ok());
    text.ok_or_else(|| Problem::plain(format!("the store is damaged: {pk} {sk}")).into())
}

fn of_store(error: StoreError) -> Problem {
    Problem::of_store(&error)
}
