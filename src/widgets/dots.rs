//! A layer of braille dots, two by four to a character.

use super::{Ink, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Dots over an area of `columns × rows` characters; (0, 0) is the upper left dot.
#[derive(Debug, Clone)]
pub struct Dots {
    columns: usize,
    bits: Vec<u8>,
    ink: Vec<Ink>,
}

impl Dots {
    /// No dots.
    pub fn new(columns: usize, rows: usize) -> Self {
        Self { columns, bits: vec![0; columns * rows], ink: vec![Ink::Text; columns * rows] }
    }
    /// Dots across.
    pub fn width(&self) -> usize {
        self.columns * 2
    }
    /// Dots down.
    pub fn height(&self) -> usize {
        self.bits.len().checked_div(self.columns).unwrap_or(0) * 4
    }
    /// Sets a dot; the character it lies in takes the last ink.
    pub fn set(&mut self, x: usize, y: usize, ink: Ink) {
        const BITS: [[u8; 4]; 2] = [[1, 2, 4, 64], [8, 16, 32, 128]];
        if x >= self.width() || y >= self.height() {
            return;
        }
        let cell = y / 4 * self.columns + x / 2;
        self.bits[cell] |= BITS[x % 2][y % 4];
        self.ink[cell] = ink;
    }
    /// Whether a dot is set.
    pub fn get(&self, x: usize, y: usize) -> bool {
        const BITS: [[u8; 4]; 2] = [[1, 2, 4, 64], [8, 16, 32, 128]];
        x < self.width() && y < self.height() && self.bits[y / 4 * self.columns + x / 2] & BITS[x % 2][y % 4] != 0
    }
    /// Sets the dots of a column between two heights, both included.
    pub fn column(&mut self, x: usize, from: usize, to: usize, ink: Ink) {
        for y in from.min(to)..=from.max(to) {
            self.set(x, y, ink);
        }
    }
    /// Draws the characters that hold a dot.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, theme: Theme) {
        for (i, (&bits, &ink)) in self.bits.iter().zip(&self.ink).enumerate().filter(|(_, (b, _))| **b != 0) {
            let (x, y) = (area.x + (i % self.columns) as u16, area.y + (i / self.columns) as u16);
            let symbol = char::from_u32(0x2800 + u32::from(bits)).unwrap_or(' ');
            if let Some(cell) = buf.cell_mut((x, y)) {
                cell.set_char(symbol).set_style(theme.style(ink));
            }
        }
    }
}
