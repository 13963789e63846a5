//! What a store says of a pipeline besides its logs: the newest checkpoint, and whose store it is.

use miette::Report;
use tidemill_codec::decode_checkpoint;
use tidemill_flow::keys::Keys;
use tidemill_model::Checkpoint;
use tidemill_model::store::{Item, Limits, Put, Store};

use crate::problem::Problem;

/// The newest checkpoint; `None` before the first.
pub(crate) async fn newest_checkpoint(
    store: &dyn Store,
    keys: &Keys,
) -> Result<Option<Checkpoint>, Report> {
    let Some(row) = store.last(&keys.checkpoint()).await.map_err(Problem::plain)? else {
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
pub(crate) async fn id(
    store: &dyn Store,
    pipeline: &str,
    candidate: &str,
) -> Result<String, Report> {
    let (pk, sk) = (format!("{pipeline}/local"), "id");
    let item = Item { bytes: candidate.as_bytes().to_vec(), expires_at: None };
    if store.put_new(&pk, sk, item).await.map_err(Problem::plain)? == Put::Created {
        return Ok(candidate.to_string());
    }
    let rows = store.range(&pk, sk, Limits { items: 1, bytes: usize::MAX }).await;
    let rows = rows.map_err(Problem::plain)?;
    let stored = rows.into_iter().find(|row| row.sk == sk);
    stored
        .and_then(|row| String::from_utf8(row.item.bytes).ok())
        .ok_or_else(|| Problem::plain("the store's id cannot be read; the store is damaged").into())
}
