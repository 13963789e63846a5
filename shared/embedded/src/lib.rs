//! Ports for one machine: files and pipes in.

pub mod input;
