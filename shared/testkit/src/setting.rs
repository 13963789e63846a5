//! What whoever runs tests asks for, by variables.

use std::str::FromStr;

/// The number that the variable holds, or `default` without it.
///
/// # Panics
/// When it holds no number.
pub fn setting<T: FromStr>(variable: &str, default: T) -> T {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`: no number")),
        Err(_) => default,
    }
}
