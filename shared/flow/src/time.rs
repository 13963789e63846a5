//! time: clocks, watermark, idleness: pure decisions over facts.
