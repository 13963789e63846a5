//! advance: watermark forward, windows closed, one checkpoint created.
