//! Writing records to a stream.
