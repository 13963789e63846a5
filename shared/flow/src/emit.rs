//! emit: results of one committed epoch → sinks, replayable with the same ids.
