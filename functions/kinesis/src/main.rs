//! The kinesis function.

fn main() {}
