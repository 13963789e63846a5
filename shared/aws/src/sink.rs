//! Sinks: where results and dead letters go.
