//! What tests of Tidemill share: a store in memory, a store with faults, the store contract, random
//! numbers that a seed repeats, settings by variables, and AWS emulators as processes.
//!
//! Everything here but the settings and the emulators is deterministic: no clock, no ambient randomness, no hash
//! order.
//!
//! Not here: the tests themselves (`tests/`), stores that last (`embedded`).

mod contract;
mod faulty_store;
mod init_error;
mod memory_store;
mod rng;
pub mod servers;
mod setting;

pub use contract::store_contract;
pub use faulty_store::{Call, Fault, FaultPlan, FaultyStore, RandomFaults, Step, Verb};
pub use init_error::InitError;
pub use memory_store::MemoryStore;
pub use rng::Rng;
pub use setting::setting;
