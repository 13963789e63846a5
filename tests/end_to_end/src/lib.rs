//! Function binaries as processes, servers, and a driver that behaves as event source mappings do.
