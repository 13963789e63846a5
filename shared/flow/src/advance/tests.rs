//! Each guard and each step by name (`steps`, `snapshots`), crashes and faults at every call of the
//! store (`crash`), bounds (`bounds`), and two processes at once (`rivals`).

mod bounds;
mod crash;
mod fake;
mod rivals;
mod snapshots;
mod steps;
mod world;
