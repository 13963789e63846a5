//! Each guard and each step by name (`steps`, `snapshots`), crashes and faults at every call of the
//! store (`crash`), queries that fail on values (`failing`), bounds (`bounds`), and two processes at once (`rivals`).

mod bounds;
mod crash;
mod failing;
mod fake;
mod rivals;
mod snapshots;
mod steps;
mod world;
