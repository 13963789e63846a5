//! Cost and speed on DynamoDB Local.

fn main() {}
