//! Rules that give each layer a rank of its own from its spectrum: one file each, one line in [`RULES`].

mod break_even;
mod effective;
mod energy;
mod gavish_donoho;
mod lord;
mod marchenko_pastur;
mod trp;

use crate::model::Layer;
use crate::probe::Spectrum;
use crate::probe::book::LayerFacts;
use crate::treat::Factors;

/// What a rule looks at.
pub struct Ground<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// Of which matrix the rank is.
    pub form: Factors,
    /// Its singular values, exact; of the whitened form those of WS.
    pub spectrum: &'a Spectrum,
}

impl Ground<'_> {
    /// The smaller over the larger extent, β.
    fn aspect(&self) -> f64 {
        let [m, n] = self.form.shape(self.layer);
        m.min(n) as f64 / m.max(n).max(1) as f64
    }
}

/// A rule.
pub struct Rule {
    /// Its name, typed after `=` and on the command line.
    pub name: &'static str,
    /// What it does and where it comes from, in a line.
    pub words: &'static str,
    /// The share that it takes where none is given; `None` for a rule that takes none.
    pub share: Option<f64>,
    /// Whether it goes by what directions hold: for factors that go by activations of the outputs, else of the weights. What
    /// fits the law of noise is of the weights alone.
    pub holds: bool,
    /// The rank; `None` where the rule finds none.
    pub rank: fn(&Ground, f64) -> Option<usize>,
}

/// All rules.
pub static RULES: [&Rule; 8] = [
    &energy::RULE,
    &trp::RULE,
    &lord::RULE,
    &gavish_donoho::RULE,
    &marchenko_pastur::RULE,
    &effective::EFFECTIVE,
    &effective::STABLE,
    &break_even::RULE,
];

/// A rule with its share.
#[derive(Clone, Copy)]
pub struct Chosen {
    /// The rule.
    pub rule: &'static Rule,
    /// Its share; 0 where it takes none.
    pub share: f64,
}

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        self.rule.name == other.rule.name && self.share == other.share
    }
}

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Chosen {
    /// Its name, with the share: `energy 95%`.
    pub fn name(self) -> String {
        match self.rule.share {
            Some(_) => format!("{} {}%", self.rule.name, (self.share * 1e4).round() / 100.0),
            None => self.rule.name.to_owned(),
        }
    }

    /// The rank of a layer; `None` where its singular values are not known yet, or the rule finds none.
    pub fn rank(self, layer: &Layer, facts: &LayerFacts, form: Factors) -> Option<usize> {
        let spectrum = self.spectrum(facts, form)?;
        let full = form.full_rank(layer);
        let rank = (self.rule.rank)(&Ground { layer, form, spectrum }, self.share)?;
        (rank > 0 && full > 0).then(|| rank.min(full))
    }

    /// The singular values that it goes by, once they are known: of WS for the whitened form, else of W.
    pub fn spectrum(self, facts: &LayerFacts, form: Factors) -> Option<&Spectrum> {
        if self.rule.holds && form == Factors::Whitened {
            return facts.weighted().spectrum.as_deref();
        }
        facts.spectrum_of(form)
    }

    /// Those that a key goes through.
    pub fn cycle() -> Vec<Self> {
        // What TRP keeps is the first of the energies.
        let energies = [0.9, 0.95, 0.99].map(|share| Self { rule: &energy::RULE, share });
        let others = RULES.iter().filter(|r| !matches!(r.name, "energy" | "trp"));
        energies.into_iter().chain(others.map(|rule| Self { rule, share: rule.share.unwrap_or(0.0) })).collect()
    }
}

/// Reads `gd`, `energy 95%`, `lord:20%`; `None` when no rule is named.
pub fn parse(text: &str) -> Option<Result<Chosen, String>> {
    let (name, rest) = text.trim().split_once([' ', ':', '=']).unwrap_or((text.trim(), ""));
    let name = match name {
        "gavish-donoho" => "gd",
        "marchenko-pastur" => "mp",
        "even" => "break-even",
        name => name,
    };
    let rule = RULES.into_iter().find(|r| r.name == name)?;
    Some(match (rule.share, rest.trim()) {
        (share, "") => Ok(Chosen { rule, share: share.unwrap_or(0.0) }),
        (None, more) => Err(format!("{name} takes no share: leave out {more}")),
        (Some(_), share) => {
            let number: Option<f64> = share.trim_end_matches('%').trim().parse().ok();
            let value = number.map(|n| if share.ends_with('%') || n > 1.0 { n / 100.0 } else { n });
            match value.filter(|v| *v > 0.0 && *v <= 1.0) {
                Some(share) => Ok(Chosen { rule, share }),
                None => Err(format!("\"{share}\" is no share: type {name} 90%")),
            }
        }
    })
}

#[cfg(test)]
mod tests;
