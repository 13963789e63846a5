//! The streams of the benchmarks, the same bytes each time.
//!
//! Not here: the benchmarks (`main`, `bench/aws`).

pub mod generate;
pub mod nexmark;
