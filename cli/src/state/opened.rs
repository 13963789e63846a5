//! The store that `state` looks into: a file, or a table.

use std::path::Path;
use std::sync::Arc;

use miette::Report;
use tidemill_embedded::store::RedbStore;
use tidemill_flow::keys::Keys;
use tidemill_model::store::Store;

use crate::problem::Problem;

/// A store, and whose it is.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    /// The pipeline's name.
    pub(super) pipeline: String,
    pub(super) keys: Keys,
    /// What an offset counts in its source.
    pub(super) offsets: &'static str,
}

/// The store of a run on this machine.
pub(super) fn file(path: &Path) -> Result<Opened, Report> {
    let store = RedbStore::open_read_only(path).map_err(Problem::plain)?;
    let pipeline = store.pipeline().to_string();
    Ok(Opened { keys: Keys::new(&pipeline), pipeline, store: Arc::new(store), offsets: "byte" })
}

/// The state table of a deployed pipeline.
#[cfg(feature = "aws")]
pub(super) async fn table(table: &str, pipeline: &str) -> Result<Opened, Report> {
    let fault = |fault: tidemill_aws::Fault| Problem::new(fault.what, fault.help);
    let aws = tidemill_aws::Aws::from_env().await.map_err(fault)?;
    let store = tidemill_aws::store::DynamoStore::new(&aws, table);
    store.check().await.map_err(fault)?;
    Ok(Opened {
        keys: Keys::new(pipeline),
        pipeline: pipeline.to_string(),
        store: Arc::new(store),
        offsets: "offset",
    })
}

/// The state table of a deployed pipeline, which this build cannot read.
#[cfg(not(feature = "aws"))]
pub(super) async fn table(table: &str, _pipeline: &str) -> Result<Opened, Report> {
    Err(Problem::new(
        format!("this build of tidemill cannot read the table `{table}`: it is without AWS"),
        "build it with: cargo install --path cli --features aws",
    )
    .into())
}
