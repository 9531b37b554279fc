//! How the spectrum is looked at.

use super::App;

/// Axes of the spectrum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axes {
    /// Both logarithmic.
    #[default]
    LogLog,
    /// Both linear.
    Linear,
    /// Linear across, logarithmic up.
    LogY,
}

impl Axes {
    /// Whether the axis across is logarithmic.
    pub fn log_x(self) -> bool {
        self == Self::LogLog
    }
    /// Whether the axis up is logarithmic.
    pub fn log_y(self) -> bool {
        self != Self::Linear
    }
    /// Its word on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::LogLog => "log·log",
            Self::Linear => "linear",
            Self::LogY => "log σ",
        }
    }
}

/// How the spectrum is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SpectrumView {
    /// Axes.
    pub axes: Axes,
    /// Whether the cumulative energy is shown in place of the values.
    pub cumulative: bool,
    /// Whether the same role of other blocks is drawn behind.
    pub overlay: bool,
    /// The value under the cursor as a share of the full rank; `None`: at the rank kept.
    pub cursor: Option<f64>,
}

impl SpectrumView {
    pub(super) fn next_axes(&mut self) {
        self.axes = match self.axes {
            Axes::LogLog => Axes::Linear,
            Axes::Linear => Axes::LogY,
            Axes::LogY => Axes::LogLog,
        };
    }
}

impl App {
    /// The number (from 1) of the singular value under the cursor: the user's choice, else the last one kept.
    pub fn spectrum_cursor(&self) -> usize {
        let full = self.full_rank(self.selected);
        let at = match (self.spectrum.cursor, self.plan.treatment(self.selected).rank) {
            (Some(share), _) => (share * full as f64).round() as usize,
            (None, Some(rank)) => rank,
            (None, None) => 1,
        };
        at.clamp(1, full)
    }

    pub(super) fn move_spectrum_cursor(&mut self, steps: i32) {
        let full = self.full_rank(self.selected);
        let at = self.spectrum_cursor() as i64;
        let step =
            if steps.abs() == 1 { i64::from(steps) } else { i64::from(steps.signum()) * (full as i64 / 10).max(1) };
        let next = (at + step).clamp(1, full as i64);
        self.spectrum.cursor = Some(next as f64 / full as f64);
    }

    /// Puts the cursor where the pointer is on the plot's axis across.
    pub(super) fn point_spectrum(&mut self, share: f64) {
        let full = self.full_rank(self.selected) as f64;
        let number = if self.spectrum.axes.log_x() { full.powf(share) } else { 1.0 + (full - 1.0) * share };
        self.spectrum.cursor = Some(number.round().clamp(1.0, full) / full);
    }
}
