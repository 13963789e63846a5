//! Sources: the shards and partitions of a stream.
