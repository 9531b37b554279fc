//! The figures that `measure` prints, and which probes each of them needs.

use crate::probe::ProbeId;

/// A figure: its JSON field and what it needs.
#[derive(Debug)]
pub struct Figure {
    /// Field of a layer's JSON object, and name for `--only`.
    pub name: &'static str,
    /// Probes that it comes from. Where [`ProbeId::Spectrum`] is left out, a sketch stands in for it.
    pub probes: &'static [ProbeId],
}

const fn figure(name: &'static str, probes: &'static [ProbeId]) -> Figure {
    Figure { name, probes }
}

use ProbeId::{Certificate, Lipschitz, Magnitude, Spectrum, Structure};

/// All of them, in the order in which they are printed.
pub static FIGURES: &[Figure] = &[
    figure("zero_fraction", &[Magnitude]),
    figure("frobenius_norm", &[Magnitude]),
    figure("spectral_norm", &[Spectrum]),
    figure("spectral_norm_certified", &[Certificate]),
    figure("nuclear_norm", &[Spectrum]),
    figure("l12_nuclear_norm", &[Magnitude]),
    figure("stable_rank", &[Spectrum]),
    figure("effective_rank", &[Spectrum]),
    figure("condition_number", &[Spectrum]),
    figure("numerical_rank", &[Spectrum]),
    figure("rank_for_energy", &[Spectrum]),
    figure("power_law", &[Spectrum]),
    figure("marchenko_pastur", &[Spectrum]),
    figure("magnitude", &[Magnitude]),
    figure("prune_error", &[Magnitude]),
    figure("pq_index", &[Magnitude]),
    figure("nm_error", &[Structure]),
    figure("lipschitz", &[Magnitude, Lipschitz, Spectrum]),
    figure("singular_values", &[Spectrum]),
];

/// The figure of a name.
pub fn find(name: &str) -> Option<&'static Figure> {
    FIGURES.iter().find(|f| f.name == name)
}

/// All names, for messages.
pub fn names() -> String {
    FIGURES.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")
}

/// Whether a field of a layer's object belongs to one of these figures; with none named all do.
pub fn wanted(only: &[&Figure], field: &str) -> bool {
    // Fields of the header, and those that say what a figure is.
    let base = field.strip_suffix("_bound").or(field.strip_suffix("_error")).unwrap_or(field);
    let of = |name: &str| find(field).or_else(|| find(base)).is_none_or(|f| f.name == name);
    only.is_empty() || only.iter().any(|f| of(f.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_go_with_the_figure_that_they_describe() {
        let only = [find("prune_error").unwrap(), find("singular_values").unwrap()];
        for (field, want) in [
            ("prune_error", true),
            ("prune_error_bound", true),
            ("singular_values_error", true),
            ("nm_error", false),
            ("nm_error_bound", false),
            ("layer", true),
            ("spectral_norm", false),
        ] {
            assert_eq!(wanted(&only, field), want, "{field}");
            assert!(wanted(&[], field));
        }
    }
}
