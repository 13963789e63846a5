//! What fuzzing found, each as the input that showed it. Most are seeds of their targets too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use fuzz::{Reached, sql};

/// Of several functions that are as close to a misspelt name, the engine suggested another one each
/// time, because it walks a hash table.
#[test]
fn the_suggestion_for_a_misspelt_function_is_the_same_each_time() {
    let text = "SELECT window_start, CO(*) AS orders
        FROM TUMBLE(orders, placed_at, INTERVAL '10' SECOND)
        GROUP BY window_start";
    for _ in 0..8 {
        assert_eq!(sql(text.as_bytes()), Reached::Rejected);
    }
}
