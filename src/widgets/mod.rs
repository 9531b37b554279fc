//! Brushes: know ratatui and numbers, nothing of models.
