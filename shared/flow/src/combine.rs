//! combine: decoded rows → partial aggregates per key and window slice.
