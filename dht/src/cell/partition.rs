//! The partition: all cells of the ring at one time.

use super::{Cell, Position, halves};
use crate::wire::Reader;

/// Most cells: enough for 30 million nodes at 8,192 each.
pub const MAX_CELLS: usize = 4_096;
/// Longest encoding of a partition.
pub const MAX_PARTITION_LEN: usize = 3 + Cell::LEN * MAX_CELLS;

const VERSION: u8 = 1;

/// Cells that cover the whole ring, none overlapping another, from the lowest prefix to the highest.
///
/// On the wire: version 1 ‖ count 2 ‖ cells of 3 B.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    cells: Vec<Cell>,
}

impl Partition {
    /// The ring before its first split.
    pub fn whole() -> Self {
        Self {
            cells: vec![Cell::WHOLE],
        }
    }

    /// A partition of these cells; `None` unless they tile the ring in order.
    pub fn new(cells: Vec<Cell>) -> Option<Self> {
        if cells.is_empty() || cells.len() > MAX_CELLS {
            return None;
        }
        // Each cell begins where the one before ended, and the last one ends with the ring.
        let mut begin = 0u32;
        for cell in &cells {
            if u32::from(cell.prefix()) != begin {
                return None;
            }
            begin += 1 << (16 - u32::from(cell.bits()));
        }
        (begin == 1 << 16).then_some(Self { cells })
    }

    /// The cells, from the lowest prefix to the highest.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The cell of a node or a box.
    pub fn cell_of(&self, position: &Position) -> Cell {
        let head = u16::from_be_bytes([position.0[0], position.0[1]]);
        let after = self.cells.partition_point(|cell| cell.prefix() <= head);
        // The first cell begins at 0, so there is always one.
        self.cells
            .get(after.saturating_sub(1))
            .copied()
            .unwrap_or(Cell::WHOLE)
    }

    /// Puts the halves of a cell in its place; `false` if it isn't one of these cells, can't be divided, or there is no room.
    pub fn split(&mut self, cell: Cell) -> bool {
        let at = self.cells.iter().position(|known| *known == cell);
        match (at, halves(cell)) {
            (Some(at), Some(halves)) if self.cells.len() < MAX_CELLS => {
                self.cells.splice(at..=at, halves);
                true
            }
            _ => false,
        }
    }

    /// The wire bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(3 + Cell::LEN * self.cells.len());
        out.push(VERSION);
        out.extend_from_slice(&(self.cells.len() as u16).to_le_bytes());
        for cell in &self.cells {
            out.extend_from_slice(&cell.to_bytes());
        }
        out
    }

    /// Reads the wire bytes; `None` unless canonical.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.u8()? == VERSION).then_some(())?;
        let count = usize::from(reader.u16()?);
        if count > MAX_CELLS {
            return None;
        }
        let cells: Option<Vec<_>> = (0..count)
            .map(|_| Cell::from_bytes(reader.array()?))
            .collect();
        reader.end()?;
        Self::new(cells?)
    }
}
