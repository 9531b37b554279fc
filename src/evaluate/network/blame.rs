//! Where logits that are no numbers come from.

use super::Network;
use candle_core::Tensor;

impl Network {
    /// Where numbers that are none come from: the first weight that holds one, by layer and position, or an overflow on the
    /// way.
    pub(in crate::evaluate) fn blame(&self) -> String {
        let sites = self.sites.values().flat_map(|site| {
            let parts = site.parts().into_iter().map(|part| (site.name.as_str(), part));
            parts.chain(site.bias.as_ref().map(|bias| (site.name.as_str(), bias)))
        });
        let fixed = self.fixed.iter().filter_map(|(id, t)| Some((self.names.get(id)?.as_str(), t)));
        let found = sites.chain(fixed).find_map(|(name, t)| Some((name, not_finite(t)?)));
        match found {
            Some((name, (at, what))) => format!("the logits are no numbers: {name} holds {what} at {at:?}"),
            None => {
                "the logits are no numbers, though every weight is one: an intermediate result overflows f32".to_owned()
            }
        }
    }
}

/// The first entry that is no number, and what it is.
fn not_finite(tensor: &Tensor) -> Option<(Vec<usize>, &'static str)> {
    let entries = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).ok()?;
    let at = entries.iter().position(|x| !x.is_finite())?;
    let mut left = at;
    let mut place: Vec<usize> = Vec::new();
    for extent in tensor.dims().iter().rev() {
        place.push(left % extent);
        left /= extent;
    }
    place.reverse();
    Some((place, if entries[at].is_nan() { "NaN" } else { "an infinity" }))
}
