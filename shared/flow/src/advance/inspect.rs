//! Where a pipeline stands, for people: reads the store and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_model::store::Store;
use tidemill_model::{Checkpoint, LogEntry, LogId};

use super::chain::Chain;
use super::{AdvanceError, replay};
use crate::keys::Keys;
use crate::ports::{OpenState, OpenWindows};

/// Where a pipeline stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// The newest checkpoint; `None`: nothing was ever advanced.
    pub newest: Option<Checkpoint>,
    /// Whether its results are emitted.
    pub is_emitted: bool,
    /// Every registered log, also those that the checkpoint does not know yet.
    pub logs: BTreeMap<LogId, LogEntry>,
    /// What is open after it, by query.
    pub open: Vec<OpenWindows>,
}

/// Reads where the pipeline of `keys` stands; `open` holds its open state afterwards.
pub async fn inspect(
    store: Arc<dyn Store>,
    keys: Keys,
    open: &mut dyn OpenState,
) -> Result<Inspected, AdvanceError> {
    let chain = Chain { store, keys };
    let newest = match chain.newest().await? {
        Some(row) => {
            let newest = chain.decode(&row)?;
            replay::replay(&chain, open, &newest).await?;
            Some(newest)
        }
        None => {
            open.clear();
            None
        }
    };
    let marked = chain.marker().await?.map(|marker| marker.epoch);
    let is_emitted =
        newest.as_ref().is_none_or(|newest| !newest.emits || marked >= Some(newest.epoch));
    let logs = chain.registry().await?;
    Ok(Inspected { newest, is_emitted, logs, open: open.open_windows() })
}
