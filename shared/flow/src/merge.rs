//! merge: new segments of all logs → open state, in a fixed order.
