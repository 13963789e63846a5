//! Checks that a record batch message describes rows of a schema inside its body.
//!
//! Walks the schema as Arrow's reader does, one field node per array and the buffers that its
//! type has, and checks every number that the reader would trust.
//!
//! Not here: what is in the buffers (offsets, UTF-8, null counts), which Arrow validates.

use arrow::{
    datatypes::{DataType, SchemaRef},
    ipc,
};

use super::WHAT;
use crate::CodecError;

/// Most rows (or elements of a nested column) that a batch may claim: columns without buffers
/// (nulls, empty structs) could claim any number of them.
const LENGTH_MAX: usize = i32::MAX as usize;

/// Fails unless `batch` describes rows of `schema`, with every buffer inside `body` and long
/// enough for its array.
pub(super) fn check(
    schema: &SchemaRef,
    batch: &ipc::RecordBatch<'_>,
    body: &[u8],
) -> Result<(), CodecError> {
    if batch.compression().is_some() {
        return Err(malformed("its buffers are compressed"));
    }
    let mut walk = Walk {
        nodes: batch.nodes().map(|nodes| nodes.iter().copied().collect()).unwrap_or_default(),
        buffers: Vec::new(),
        variadic: batch.variadicBufferCounts().map(|v| v.iter().collect()).unwrap_or_default(),
        ..Walk::default()
    };
    for buffer in batch.buffers().into_iter().flatten() {
        let (offset, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let inside = match (offset, length) {
            (Ok(offset), Ok(length)) => offset.checked_add(length).filter(|end| *end <= body.len()),
            _ => None,
        };
        match inside {
            Some(_) => walk.buffers.push(length.unwrap_or_default()),
            None => return Err(malformed("a buffer lies outside its body")),
        }
    }
    let rows = usize::try_from(batch.length())
        .ok()
        .filter(|rows| *rows <= LENGTH_MAX)
        .ok_or_else(|| malformed(format!("it claims {} rows", batch.length())))?;
    for field in schema.fields() {
        let length = walk.array(field.data_type())?;
        if length != rows {
            let name = field.name();
            return Err(malformed(format!("column {name} has {length} of {rows} rows")));
        }
    }
    walk.finish()
}

/// What of the message has been matched with the schema so far.
#[derive(Default)]
struct Walk {
    nodes: Vec<ipc::FieldNode>,
    next_node: usize,
    /// Lengths of the buffers, bytes.
    buffers: Vec<usize>,
    next_buffer: usize,
    /// Data buffers per view array.
    variadic: Vec<i64>,
    next_variadic: usize,
}

impl Walk {
    /// Matches an array of `data_type` and answers its length.
    fn array(&mut self, data_type: &DataType) -> Result<usize, CodecError> {
        let node = *self
            .nodes
            .get(self.next_node)
            .ok_or_else(|| malformed("it has fewer columns than its schema"))?;
        self.next_node += 1;
        let bounded = |number: i64, bound: usize| {
            usize::try_from(number)
                .ok()
                .filter(|number| *number <= bound)
                .ok_or_else(|| malformed(format!("an array claims {number} of {bound} elements")))
        };
        let length = bounded(node.length(), LENGTH_MAX)?;
        let nulls = bounded(node.null_count(), length)?;
        if *data_type == DataType::Null {
            return Ok(length);
        }
        self.buffer(if nulls > 0 { length.div_ceil(8) } else { 0 }, 1)?;
        match data_type {
            DataType::Boolean => self.buffer(length.div_ceil(8), 1)?,
            DataType::Utf8 | DataType::Binary => {
                self.offsets(length, 4)?;
                self.buffer(0, 1)?;
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.offsets(length, 8)?;
                self.buffer(0, 1)?;
            }
            DataType::Utf8View | DataType::BinaryView => {
                self.buffer(length, 16)?;
                let count = self.variadic.get(self.next_variadic).copied();
                self.next_variadic += 1;
                let left = self.buffers.len() - self.next_buffer;
                for _ in 0..bounded(count.unwrap_or(-1), left)? {
                    self.buffer(0, 1)?;
                }
            }
            DataType::FixedSizeBinary(width) => {
                let width = usize::try_from(*width).unwrap_or(0);
                self.buffer(length, width)?;
            }
            DataType::List(field) | DataType::Map(field, _) => {
                self.offsets(length, 4)?;
                self.array(field.data_type())?;
            }
            DataType::LargeList(field) => {
                self.offsets(length, 8)?;
                self.array(field.data_type())?;
            }
            DataType::FixedSizeList(field, size) => {
                let size = usize::try_from(*size).unwrap_or(0);
                let found = self.array(field.data_type())?;
                if length.checked_mul(size) != Some(found) {
                    return Err(malformed(format!(
                        "{length} lists of {size} elements have {found} elements in all"
                    )));
                }
            }
            DataType::Struct(fields) => {
                for field in fields {
                    let found = self.array(field.data_type())?;
                    if found != length {
                        let name = field.name();
                        return Err(malformed(format!(
                            "field {name} has {found} of {length} values"
                        )));
                    }
                }
            }
            other => {
                let width = other.primitive_width().ok_or_else(|| CodecError::Unsupported {
                    column: String::new(),
                    data_type: other.to_string(),
                })?;
                self.buffer(length, width)?;
            }
        }
        Ok(length)
    }

    /// Matches the offsets of `length` elements; none at all will do for no elements.
    fn offsets(&mut self, length: usize, width: usize) -> Result<(), CodecError> {
        self.buffer(if length == 0 { 0 } else { length + 1 }, width)
    }

    /// Matches a buffer of whole elements of `width` bytes, at least `count` of them. (Arrow's
    /// validation panics on part of an element.)
    fn buffer(&mut self, count: usize, width: usize) -> Result<(), CodecError> {
        let found = *self
            .buffers
            .get(self.next_buffer)
            .ok_or_else(|| malformed("it has fewer buffers than its schema asks for"))?;
        self.next_buffer += 1;
        let needed = count.saturating_mul(width);
        if found < needed || !found.is_multiple_of(width.max(1)) {
            return Err(malformed(format!("a buffer has {found} of {needed} bytes")));
        }
        Ok(())
    }

    /// Fails when the message describes more than the schema.
    fn finish(&self) -> Result<(), CodecError> {
        let all = self.next_node == self.nodes.len()
            && self.next_buffer == self.buffers.len()
            && self.next_variadic == self.variadic.len();
        if all { Ok(()) } else { Err(malformed("it has more columns than its schema")) }
    }
}

fn malformed(reason: impl ToString) -> CodecError {
    CodecError::malformed(WHAT, reason)
}
