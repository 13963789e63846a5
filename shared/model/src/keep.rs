//! How long state that would grow for ever is kept.

use serde::{Deserialize, Serialize};

/// What a query declares of state that nothing else bounds: running totals, deduplication, versions
/// of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Keep {
    /// Nothing is declared: such state is refused.
    #[default]
    None,
    /// What is kept of a key goes when no row of that key came for longer than these milliseconds of
    /// event time.
    For(i64),
    /// For ever.
    Forever,
}
