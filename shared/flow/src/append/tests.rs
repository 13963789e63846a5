//! Append against a store in memory: what is in the log afterwards, whatever happened on the way.

mod exactly_once;
mod guards;
mod steps;
mod world;
