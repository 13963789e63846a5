//! Every state of the small scopes. `make model` visits the large ones.

use model::{Scope, check};

fn assert_right(scope: &Scope) {
    let checked = check(scope, 2);
    println!("{checked}");
    assert!(checked.is_right(), "{checked}");
}

#[test]
fn append_is_right_in_every_state() {
    assert_right(&Scope::append_long().small());
}

#[test]
fn racing_advances_are_right_in_every_state() {
    assert_right(&Scope::advance_long().small());
}

#[test]
fn advance_is_right_about_time_in_every_state() {
    assert_right(&Scope::advance_alone().small());
    assert_right(&Scope::advance_aged());
}
