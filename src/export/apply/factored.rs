//! A layer as the factors that it is stored as: which tensors there are, of what shapes, and their entries.

use crate::model::{Layer, Matrix, Model};
use crate::numerics::KeepGoing;
use crate::plan::{Plan, Treatment};
use crate::treat::low_rank::{self, multiplied};
use crate::treat::{Factors, prune::prune, quantise::quantise};

/// Whether a treatment leaves factors.
pub fn is_factored(treatment: Treatment) -> bool {
    treatment.rank.is_some()
}

/// Rank that is stored.
pub fn rank(layer: &Layer, treatment: Treatment) -> usize {
    treatment.rank.map_or(0, |r| r.min(layer.full_rank()))
}

/// Why a layer cannot be stored as factors.
pub fn why_not(model: &Model, plan: &Plan, layer: &Layer) -> Option<String> {
    let treatment = plan.treatment(layer.id);
    let dense = "; `--as dense` writes it";
    if rank(layer, treatment) == 0 {
        return Some(format!("rank 0 leaves no factors{dense}"));
    }
    if treatment.form == Factors::Spatial {
        return Some(format!("spatial factors of a convolution are not written as factors yet{dense}"));
    }
    if layer.dtype.bits() < 16 {
        return Some(format!("{} has no scale of its own for factors{dense}", layer.dtype.name()));
    }
    match layer.groups {
        Some(1) => {}
        Some(_) => return Some(format!("a convolution in groups is no two convolutions of this rank{dense}")),
        None => {
            return Some(format!(
                "its channels do not follow from the layer before: it may be a convolution in groups, which is no two \
                 convolutions of this rank{dense}"
            ));
        }
    }
    if let Some(tied) = model.layers.iter().find(|l| l.tied_to == Some(layer.id)) {
        return Some(format!("{} shares its tensor and would lose it{dense}", tied.name));
    }
    let taken = tensors(layer, treatment).into_iter().find(|(name, _)| model.tensors.iter().any(|t| t.name == *name));
    taken.map(|(name, _)| format!("the checkpoint has a tensor {name} already{dense}"))
}

/// Names and shapes of the tensors that take the place of a layer's weight: `mod_a` (r × inputs), `mod_b`
/// (outputs × r), and with pruning of what they leave `mod_s`, outputs × inputs with zeros. Outputs come first whatever
/// the weight's own order; of a convolution `mod_a` is one of r filters and `mod_b` one of a single tap.
pub fn tensors(layer: &Layer, treatment: Treatment) -> Vec<(String, Vec<usize>)> {
    let (rank, [out, inputs]) = (rank(layer, treatment), layer.matrix);
    let conv = layer.kind.is_conv();
    let taps = if conv { layer.shape.len().saturating_sub(2) } else { 0 };
    let inside = if conv { layer.shape[1..].to_vec() } else { vec![inputs] };
    let shape = |first: usize| [vec![first], inside.clone()].concat();
    let name = |part: &str| format!("{}.{part}.weight", layer.stored());
    let mut all = vec![(name("mod_a"), shape(rank)), (name("mod_b"), [vec![out, rank], vec![1; taps]].concat())];
    all.extend(treatment.prune.map(|_| (name("mod_s"), shape(out))));
    all
}

/// Entries of the [`tensors`], and what they multiply out to where `product` asks for it.
pub struct Made {
    /// One after the other.
    pub tensors: Vec<Vec<f32>>,
    /// Ŵ, before anything is rounded to the stored type.
    pub product: Option<Matrix>,
}

/// Makes the factors.
pub fn make(
    layer: &Layer,
    matrix: &Matrix,
    treatment: Treatment,
    product: bool,
    keep_going: KeepGoing<'_>,
) -> Result<Made, String> {
    let rank = rank(layer, treatment);
    let pair = low_rank::pair(layer, matrix, treatment.form, rank, treatment.quantise, keep_going);
    let [up, down] = pair.map_err(|e| e.to_string())?;
    let mut whole = None;
    let mut tensors = Vec::new();
    if treatment.prune.is_some() || product {
        whole = Some(multiplied(&up, &down));
    }
    if let (Some(how), Some(base)) = (treatment.prune, &mut whole) {
        let mut rest = matrix.clone();
        rest.data.iter_mut().zip(&base.data).for_each(|(w, b)| *w -= b);
        prune(&mut rest, layer, how, keep_going).map_err(|e| e.to_string())?;
        if let Some(how) = treatment.quantise {
            quantise(&mut rest, how, keep_going).map_err(|e| e.to_string())?;
        }
        base.data.iter_mut().zip(&rest.data).for_each(|(b, w)| *b += w);
        tensors.push(rest.data);
    }
    tensors.splice(0..0, [down.data, up.data]);
    Ok(Made { tensors, product: whole.filter(|_| product) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;
    use crate::plan::Prune;

    #[test]
    fn shapes_are_those_that_layers_of_two_take() {
        let shapes = |layer: &Layer, t| tensors(layer, t).into_iter().map(|(_, s)| s).collect::<Vec<_>>();
        let linear = Layer::alone(Kind::Linear, &[6, 4]);
        assert_eq!(tensors(&linear, Treatment::rank(3))[0].0, "fc.mod_a.weight");
        assert_eq!(shapes(&linear, Treatment::rank(3)), [vec![3, 4], vec![6, 3]]);
        assert_eq!(shapes(&linear, Treatment::rank(99)), [vec![4, 4], vec![6, 4]], "no more than there is");
        let conv = Layer::alone(Kind::Conv2d, &[8, 3, 5, 5]);
        let both = Treatment::both(2, Prune::unstructured(0.5));
        assert_eq!(shapes(&conv, both), [vec![2, 3, 5, 5], vec![8, 2, 1, 1], vec![8, 3, 5, 5]]);
        let conv = Layer::alone(Kind::Conv1d, &[8, 3, 5]);
        assert_eq!(shapes(&conv, Treatment::rank(2)), [vec![2, 3, 5], vec![8, 2, 1]]);
    }

    #[test]
    fn the_parts_add_up_to_what_the_treatment_leaves() {
        let layer = Layer::alone(Kind::Linear, &[12, 9]);
        let data = (0..108).map(|i| (i as f32 * 1.7).sin() + (i % 5) as f32 * 0.1).collect();
        let matrix = Matrix::new(12, 9, data).unwrap();
        for treatment in [Treatment::rank(4), Treatment::both(3, Prune::unstructured(0.5))] {
            let made = make(&layer, &matrix, treatment, true, &|| true).unwrap();
            let want = crate::treat::treated(&layer, &matrix, treatment, &|| true).unwrap();
            let product = made.product.unwrap();
            assert!(want.data.iter().zip(&product.data).all(|(a, b)| (a - b).abs() < 1e-5));
            assert_eq!(made.tensors.len(), tensors(&layer, treatment).len());
            let zeros = made.tensors.get(2).map(|s| s.iter().filter(|w| **w == 0.0).count());
            assert_eq!(zeros, treatment.prune.map(|_| 54));
        }
    }
}
