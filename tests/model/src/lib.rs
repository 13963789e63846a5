//! A model of the protocol, and its exhaustive search: every history of a small world.
//!
//! ```text
//! sources ─ ingest, ingest ─▶ store: logs, chain, snapshots ─ advance, advance ─▶ sinks
//!               │                    │                             │
//!          lost answers,        expiry, late puts,            crashes at every step,
//!          stalls, crashes      deletions in any order        two emissions, replays
//! ```
//!
//! The model says what `shared/flow/src/append.rs` and `shared/flow/src/advance.rs` do, cut into
//! steps wherever another process, the store or time may come between. The checker (the crate
//! `stateright`) takes every step in every order and asks in each state whether the properties in
//! [`property`] hold. A [`Scope`] bounds the world; a [`Guard`] is a rule of the protocol that can
//! be switched off, to see that a property breaks.
//!
//! # Why the split loses nothing
//! One model serves all scopes; a scope without ingest processes appends in one step, a scope
//! without advance processes merges in one step.
//! - Append sees of advance the checkpoint's merged position only, which one put moves. Segments
//!   between the old and the new position cannot change; more of them can only be read later. So
//!   merging one segment in one step gives append every world that advance can give it.
//! - Advance sees of append the segments only, each of which one put creates at the tail. What an
//!   ingest process believes, and how it came to its put, leaves no other trace. Segments behind
//!   the merged position, which a stalled writer may leave, are never read; that append leaves no
//!   others is what the append scopes show.
//! - Both sides share time: what must not expire. That is what the joined scope is for.
//!
//! # Invariants
//! 1. The state is canonical: it does not tell processes of a kind apart, nor two shards with the
//!    same records. So the search visits one of several equal states.
//! 2. Times are ages, and end where they no longer matter. So time is unbounded and the states are
//!    finite.
//! 3. A step decides nothing that the real process could not: choices that are not a process's own
//!    (sizes, silence, answers) are all tried.
//!
//! Not here: what queries compute, more than two processes, clocks that differ: see `README.md`.

mod advance;
mod check;
mod event;
mod fold;
mod guard;
mod ingest;
pub mod property;
mod protocol;
mod record;
mod replay;
mod scope;
mod state;
mod world;

pub use check::{Checked, check, find};
pub use event::Event;
pub use guard::{Guard, Guards};
pub use protocol::{Action, Protocol};
pub use record::Record;
pub use scope::{Scope, Times};
pub use state::State;

pub(crate) use event::Reached;
