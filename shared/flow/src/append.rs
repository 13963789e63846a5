//! append: a batch of one shard → segments of its log, each by one create-if-absent write.
