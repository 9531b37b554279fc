//! Without a screen: what a layer is and what was measured of it, as JSON, CSV and tables.

pub mod csv;
pub mod figures;
pub mod json;
pub mod plan;
pub mod table;

#[cfg(test)]
mod tests;
