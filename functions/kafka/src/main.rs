//! The kafka function.

fn main() {}
