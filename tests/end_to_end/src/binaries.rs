//! Where the program and the functions were built.

use std::path::PathBuf;

/// How to build what a test runs.
const HOW: &str = "run `make test`, or build them yourself: cargo build --workspace --bins \
                   --features tidemill/aws,tidemill-advance/kafka,tidemill-lambda/virtual-time";

/// A binary of the workspace, built with the profile of the test that runs.
///
/// Panics with how to build it when it is not there.
pub fn find(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    // target/PROFILE/deps/TEST
    let folder = test.parent().and_then(|deps| deps.parent());
    let folder = folder.expect("a test lies in a target folder");
    let binary = folder.join(name);
    assert!(binary.is_file(), "{} is not built: {HOW}", binary.display());
    binary
}
