//! Result rows as multisets that can be compared: exactly, or floats within a tolerance.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A value of a result row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Anything but a float: its text.
    Exact(String),
    /// A float.
    Float(f64),
    /// A list.
    List(Vec<Cell>),
}

/// How far two floats may be apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// Not at all: the same bits, but for the sign of NaN.
    Exact,
    /// 1e-9 of the larger one.
    Floats,
    /// This much: the error of a sketch.
    Within(f64),
}

/// Rows, sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows(pub Vec<Vec<Cell>>);

impl Rows {
    /// The rows of these batches.
    pub fn of(batches: &[RecordBatch]) -> Rows {
        let mut rows = Vec::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                rows.push(cells(batch, row));
            }
        }
        Rows(rows).sorted()
    }

    /// These rows in the order in which [`Rows::same`] wants them.
    pub fn sorted(mut self) -> Rows {
        self.0.sort_by(|a, b| compare_rows(a, b));
        self
    }

    /// Whether these are the same rows; else what is different first.
    pub fn same(&self, expected: &Rows, tolerance: Tolerance) -> Result<(), String> {
        let near = |(a, b): (&Vec<Cell>, &Vec<Cell>)| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b, tolerance))
        };
        let first = self.0.iter().zip(&expected.0).position(|pair| !near(pair));
        match first {
            None if self.0.len() == expected.0.len() => Ok(()),
            first => {
                let at = first.unwrap_or(self.0.len().min(expected.0.len()));
                Err(format!(
                    "{} rows, expected {}; row {at} is\n  {:?}, expected\n  {:?}",
                    self.0.len(),
                    expected.0.len(),
                    self.0.get(at),
                    expected.0.get(at)
                ))
            }
        }
    }
}

/// Types of a schema's columns.
pub fn types(schema: &SchemaRef) -> Vec<DataType> {
    schema.fields().iter().map(|field| field.data_type().clone()).collect()
}

/// One row of a batch.
pub fn cells(batch: &RecordBatch, row: usize) -> Vec<Cell> {
    batch.columns().iter().map(|column| cell(column, row)).collect()
}

fn cell(column: &ArrayRef, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Exact("NULL".to_string());
    }
    match column.data_type() {
        DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => Cell::Float(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|item| cell(&items, item)).collect())
        }
        _ => {
            let options = FormatOptions::default();
            let text = ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string();
            Cell::Exact(format!("'{text}'"))
        }
    }
}

/// Rows that differ only a little in a float stand side by side: floats compare last.
fn compare_rows(a: &[Cell], b: &[Cell]) -> Ordering {
    let by = |floats: bool| {
        a.iter().zip(b).map(|(a, b)| compare(a, b, floats)).find(|order| order.is_ne())
    };
    by(false).or_else(|| by(true)).unwrap_or(Ordering::Equal)
}

fn compare(a: &Cell, b: &Cell, floats: bool) -> Ordering {
    match (a, b) {
        (Cell::Exact(a), Cell::Exact(b)) => a.cmp(b),
        (Cell::Float(a), Cell::Float(b)) if floats => a.total_cmp(b),
        (Cell::Float(_), Cell::Float(_)) => Ordering::Equal,
        (Cell::List(a), Cell::List(b)) => {
            let by = |floats: bool| {
                a.iter().zip(b).map(|(a, b)| compare(a, b, floats)).find(|order| order.is_ne())
            };
            a.len().cmp(&b.len()).then(by(floats).unwrap_or(Ordering::Equal))
        }
        (Cell::Exact(_), _) => Ordering::Less,
        (_, Cell::Exact(_)) => Ordering::Greater,
        (Cell::Float(_), Cell::List(_)) => Ordering::Less,
        (Cell::List(_), Cell::Float(_)) => Ordering::Greater,
    }
}

fn near(a: &Cell, b: &Cell, tolerance: Tolerance) -> bool {
    match (a, b) {
        (Cell::Float(a), Cell::Float(b)) => {
            let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            let close = match tolerance {
                Tolerance::Exact => false,
                Tolerance::Floats => {
                    let size = a.abs().max(b.abs()).max(1.0);
                    (a - b).abs() <= 1e-9 * size || a == b
                }
                Tolerance::Within(error) => (a - b).abs() <= error,
            };
            // Sums and variances of infinities are infinite or NaN, by the order of additions.
            let endless = tolerance != Tolerance::Exact && !a.is_finite() && !b.is_finite();
            same || close || endless
        }
        (Cell::List(a), Cell::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b, tolerance))
        }
        (a, b) => a == b,
    }
}
