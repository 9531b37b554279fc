//! A recipe for llm-compressor: shares of entries for its Wanda or SparseGPT modifier, as YAML.
//!
//! Where every block has one share, a list over the blocks in one modifier: one calibration pass. Otherwise a modifier
//! for each share, rounded to steps of 5 %, each with a pass of its own. Its `mask_structure` counts what is *removed*:
//! N:M here, which keeps N, is (M−N):M there.

use super::{ExportError, Exported, Exporter, Lost, Recipe, float, names, origin, quoted, regex, share};
use crate::export::lint::Target;
use crate::model::{Layer, naming};
use crate::treat::{Criterion, Pattern, Prune};

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "llm-compressor",
    words: "shares removed, unstructured and N:M, as a YAML recipe; llmcompressor.oneshot(recipe=FILE)",
    file: "recipe.yaml",
    spectra: false,
    target: Target::Any,
    write,
};

/// Shares of one block that differ by no more than this are one.
const SAME: f64 = 0.005;
/// Steps of the shares of groups, in percent.
const STEP: f64 = 5.0;

/// What the plan removes from one layer.
struct Cut<'a> {
    layer: &'a Layer,
    prune: Prune,
}

fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    let mut lost = Lost::default();
    let cuts = cuts(recipe, &mut lost);
    if cuts.is_empty() {
        return Err(ExportError::Cannot {
            format: FORMAT.name,
            why: "holds pruning in the patterns unstructured and N:M, and this plan has none".to_owned(),
            remedy: "lems, peft and aimet carry ranks, torch-pruning rows, json and csv everything".to_owned(),
        });
    }
    let mut notes = Vec::new();
    tell_modifiers(&cuts, &mut notes);
    let one = cuts.iter().all(|c| c.modifier() == cuts[0].modifier());
    let body = match blocks(recipe, &cuts).filter(|_| one) {
        Some(blocks) => by_block(recipe, &blocks, cuts[0].modifier(), &mut notes),
        None => by_group(&cuts, &mut notes),
    };
    lost.of_the_plan(recipe, true);
    notes.extend(lost.notes());
    let text = format!("# {}\ndefault_stage:\n{body}", origin(recipe));
    Ok(Exported { bytes: text.into_bytes(), notes, ..Exported::default() })
}

/// What it can say of the plan; the rest is lost.
fn cuts<'a>(recipe: &Recipe<'a>, lost: &mut Lost) -> Vec<Cut<'a>> {
    let mut cuts = Vec::new();
    for (layer, treatment) in recipe.modules(lost) {
        match (treatment.prune, treatment.rank) {
            (None, None) => {}
            (None, Some(_)) => {
                lost.add(layer, "the rank is left out, the layer stays dense (lems and peft carry ranks)");
            }
            (Some(_), Some(_)) => lost.add(
                layer,
                "low rank plus sparse is left out, the layer stays dense: pruning it alone is another thing (json and \
                 csv carry both)",
            ),
            (Some(prune), None) => match prune.pattern {
                Pattern::Groups(m) if layer.cols() % m != 0 => lost.add(
                    layer,
                    format!("{} is left out: {} columns are no multiple of {m}", prune.short(), layer.cols()),
                ),
                Pattern::Unstructured | Pattern::PerRow | Pattern::Groups(_) => cuts.push(Cut { layer, prune }),
                _ => lost.add(
                    layer,
                    "the pattern is left out, the layer stays dense: masks are unstructured or N:M (torch-pruning \
                     carries rows and columns)",
                ),
            },
        }
    }
    cuts
}

/// Its own names for what chooses.
const SPARSE_GPT: &str = "SparseGPTModifier";
const WANDA: &str = "WandaPruningModifier";

impl Cut<'_> {
    /// The modifier whose choice is nearest to the plan's.
    fn modifier(&self) -> &'static str {
        if matches!(self.prune.criterion, Criterion::Obs | Criterion::ObsRefit) { SPARSE_GPT } else { WANDA }
    }
}

/// What the modifiers do that the plan does not.
fn tell_modifiers(cuts: &[Cut], notes: &mut Vec<String>) {
    let using = |name: &str| cuts.iter().filter(|c| c.modifier() == name).collect::<Vec<_>>();
    let (second_order, others) = (using(SPARSE_GPT), using(WANDA));
    if !second_order.is_empty() {
        let refit = second_order.iter().any(|c| c.prune.criterion == Criterion::ObsRefit);
        let row = second_order.iter().any(|c| c.prune.pattern == Pattern::PerRow);
        notes.push(format!(
            "SparseGPT chooses and updates what stays, column by column on its own calibration data{}{}: shares are the \
             plan's, the entries may be others",
            if row { ", of every 128 columns over all rows, not row by row" } else { "" },
            if refit { ", without the refit of obs-refit" } else { "" },
        ));
    }
    if !others.is_empty() {
        let own = others.iter().any(|c| c.prune.criterion != Criterion::Wanda);
        notes.push(format!(
            "Wanda chooses within each row, by |w|·‖x‖ on its own calibration data{}: shares are the plan's, rounded down \
             to whole columns, the entries may be others",
            if own { ", where this plan goes by another criterion" } else { "" }
        ));
    }
}

/// Blocks by their keys, in module order, with the one share that each has; `None` where the plan is not like that.
fn blocks(recipe: &Recipe, cuts: &[Cut]) -> Option<Vec<(String, f64)>> {
    let mut blocks: Vec<(String, Vec<&Cut>)> = Vec::new();
    for cut in cuts {
        let (key, _) = naming::block_of(&cut.layer.name)?;
        if !matches!(cut.prune.pattern, Pattern::Unstructured | Pattern::PerRow) {
            return None;
        }
        match blocks.iter_mut().find(|b| b.0 == key) {
            Some((_, of)) => of.push(cut),
            None => blocks.push((key.to_owned(), vec![cut])),
        }
    }
    // The list is read in the order of the modules: with several families of blocks that order is not known here.
    let every =
        recipe.model.layers.iter().filter_map(|l| naming::block_of(&l.name)).map(|(key, _)| naming::family(key));
    let mut families: Vec<&str> = every.collect();
    families.dedup();
    if families.len() > 1 {
        return None;
    }
    blocks.sort_by(|a, b| naming::natural(&a.0, &b.0));
    blocks
        .into_iter()
        .map(|(key, of)| {
            let all = || of.iter().map(|c| c.prune.remove);
            let (low, high) = all().fold((f64::INFINITY, 0.0f64), |(l, h), r| (l.min(r), h.max(r)));
            let size: u64 = of.iter().map(|c| c.layer.params).sum();
            let mean = of.iter().map(|c| c.prune.remove * c.layer.params as f64).sum::<f64>() / size.max(1) as f64;
            (high - low <= SAME).then_some((key, if high > low { mean } else { low }))
        })
        .collect()
}

fn by_block(recipe: &Recipe, blocks: &[(String, f64)], modifier: &str, notes: &mut Vec<String>) -> String {
    let list = |items: Vec<String>, indent: &str| {
        items.iter().map(|i| format!("{indent}- {i}\n")).collect::<Vec<_>>().concat()
    };
    let inside = |l: &Layer| naming::block_of(&l.name).is_some_and(|(key, _)| blocks.iter().any(|b| b.0 == key));
    // Whatever a block holds besides is pruned with it unless it is ignored.
    let matrices = recipe.model.layers.iter().filter(|l| l.shape.len() >= 2 && inside(l));
    let dense: Vec<&str> =
        matrices.filter(|l| recipe.plan.treatment(l.id).prune.is_none()).map(|l| l.name.as_str()).collect();
    let uneven = recipe.treated().any(|(l, t)| {
        let of = naming::block_of(&l.name).and_then(|(key, _)| blocks.iter().find(|b| b.0 == key));
        t.prune.zip(of).is_some_and(|(p, (_, s))| (p.remove - s).abs() > 1e-9)
    });
    if uneven {
        notes.push("shares within a block differ by at most 0.5 %: each block has their mean".to_owned());
    }
    let mut ignore = vec![quoted("re:.*lm_head$")];
    ignore.extend(regex::anchored(&dense).iter().map(|e| quoted(&format!("re:{e}"))));
    let sparsity: Vec<String> = blocks.iter().map(|b| float(share(b.1))).collect();
    format!(
        "  pruning_modifiers:\n    {modifier}:\n      mask_structure: '0:0'\n      # one for each target, in the order \
         of the model's modules\n      sparsity: [{}]\n      targets:\n{}      ignore:\n{}",
        sparsity.join(", "),
        list(blocks.iter().map(|b| quoted(&b.0)).collect(), "        "),
        list(ignore, "        "),
    )
}

/// Share, mask, modifier, and the layers that have them.
type Group<'a> = (u32, String, &'static str, Vec<&'a str>);

fn by_group(cuts: &[Cut], notes: &mut Vec<String>) -> String {
    let mut groups: Vec<Group> = Vec::new();
    let (mut rounded, mut none): (f64, Vec<String>) = (0.0, Vec::new());
    for cut @ Cut { layer, prune } in cuts {
        let (percent, mask) = if let Pattern::Groups(m) = prune.pattern {
            let removed = (prune.remove * m as f64).round() as usize;
            ((prune.remove * 100.0).round() as u32, format!("{removed}:{m}"))
        } else {
            let percent = ((prune.remove * 100.0 / STEP).round() * STEP).min(100.0);
            rounded = rounded.max((percent / 100.0 - prune.remove).abs());
            (percent as u32, "0:0".to_owned())
        };
        if percent == 0 {
            none.push(layer.name.clone());
            continue;
        }
        let modifier = cut.modifier();
        match groups.iter_mut().find(|g| g.0 == percent && g.1 == mask && g.2 == modifier) {
            Some(group) => group.3.push(&layer.name),
            None => groups.push((percent, mask, modifier, vec![&layer.name])),
        }
    }
    groups.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
    let mixed = groups.windows(2).any(|w| w[0].2 != w[1].2);
    if rounded > 1e-9 {
        notes.push(format!(
            "shares are rounded to steps of {STEP:.0} %, by up to {:.1} %: json and csv carry them as they are",
            rounded * 100.0
        ));
    }
    if !none.is_empty() {
        notes.push(format!("{}: less than half a step goes, the layers stay dense", names(&none)));
    }
    if groups.len() > 1 {
        notes.push(format!("{} groups: llm-compressor makes one calibration pass for each", groups.len()));
    }
    let mut text = String::new();
    for (percent, mask, modifier, layers) in &groups {
        // Stages are told apart by their names.
        let by = if mixed && *modifier == SPARSE_GPT { "_obs" } else { "" };
        let of_mask = if mask == "0:0" { String::new() } else { format!("_{}", mask.replace(':', "of")) };
        text.push_str(&format!(
            "  s{percent:02}{of_mask}{by}_modifiers:\n    {modifier}:\n      sparsity: {}\n      mask_structure: '{mask}'\n      \
             targets:\n",
            float(share(exact(*percent, mask)))
        ));
        for expression in regex::anchored(layers) {
            text.push_str(&format!("        - {}\n", quoted(&format!("re:{expression}"))));
        }
        if !layers.iter().any(|l| l.ends_with("lm_head")) {
            text.push_str("      ignore:\n        - 're:.*lm_head$'\n");
        }
    }
    text
}

/// The share of a group: of a mask the one that it removes.
fn exact(percent: u32, mask: &str) -> f64 {
    let places = mask.split_once(':').and_then(|(n, m)| Some((n.parse::<f64>().ok()?, m.parse::<f64>().ok()?)));
    places.filter(|(n, _)| *n > 0.0).map_or(f64::from(percent) / 100.0, |(n, m)| n / m)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{block, layer, recipe_of};
    use super::*;
    use crate::plan::Treatment;

    fn text(at: &super::super::tests::At) -> (String, Vec<String>) {
        let out = write(&at.recipe()).unwrap();
        (String::from_utf8(out.bytes).unwrap(), out.notes)
    }

    fn cut(remove: f64) -> Treatment {
        Treatment::prune(Prune::unstructured(remove))
    }

    #[test]
    fn a_share_a_block_is_one_list_and_ten_comes_after_nine() {
        let layers: Vec<_> = (0..12).flat_map(block).collect();
        let at = recipe_of(layers, |i| cut(0.1 + (i / 2) as f64 * 0.05));
        let (text, notes) = text(&at);
        assert!(
            text.contains("sparsity: [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65]"),
            "{text}"
        );
        let (nine, ten) = (text.find("'model.layers.9'").unwrap(), text.find("'model.layers.10'").unwrap());
        assert!(nine < ten && text.find("'model.layers.2'").unwrap() < nine);
        assert_eq!(text.matches("Modifier:").count(), 1);
        assert!(!notes.iter().any(|n| n.contains("rounded to steps")), "{notes:?}");
    }

    #[test]
    fn what_a_block_keeps_dense_is_ignored_by_name() {
        let at = recipe_of((0..2).flat_map(block).collect(), |i| if i == 3 { Treatment::default() } else { cut(0.4) });
        let (text, _) = text(&at);
        assert!(text.contains(r"- 're:^model\.layers\.1\.mlp\.down_proj$'"), "{text}");
        assert!(text.contains("sparsity: [0.4, 0.4]"), "{text}");
    }

    #[test]
    fn uneven_blocks_become_groups_and_masks_count_what_goes() {
        let layers = vec![
            layer("model.layers.0.a", &[8, 8]),
            layer("model.layers.0.b", &[8, 8]),
            layer("model.layers.1.a", &[8, 8]),
            layer("model.layers.1.b", &[8, 8]),
            layer("lm_head", &[8, 8]),
        ];
        let at = recipe_of(layers, |i| match i {
            0 => cut(0.31),
            1 => cut(0.62),
            2 => cut(0.01),
            3 => Treatment::prune(Prune::of(0.75, Pattern::Groups(4))),
            _ => cut(0.6),
        });
        let (text, notes) = text(&at);
        for part in [
            "s30_modifiers",
            "s60_modifiers",
            "s75_3of4_modifiers",
            "mask_structure: '3:4'",
            "sparsity: 0.75\n",
            r"- 're:^model\.layers\.0\.b$'",
            r"- 're:^lm_head$'",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("owl") && !text.contains("layers\\.1\\.a"), "{text}");
        let told = notes.join("\n");
        assert!(told.contains("rounded to steps of 5 %, by up to 2.0 %") && told.contains("3 groups"), "{told}");
        assert!(told.contains("model.layers.1.a: less than half a step"), "{told}");
    }

    #[test]
    fn each_criterion_goes_to_the_modifier_that_is_nearest() {
        let by = |criterion, remove| Treatment::prune(Prune { criterion, ..Prune::of(remove, Pattern::PerRow) });
        let at = recipe_of((0..2).flat_map(block).collect(), |_| by(Criterion::ObsRefit, 0.5));
        let (one, notes) = text(&at);
        assert!(one.contains("SparseGPTModifier:") && !one.contains("Wanda"), "{one}");
        assert!(notes.join("\n").contains("without the refit"), "{notes:?}");
        let layers = vec![layer("a", &[8, 8]), layer("b", &[8, 8])];
        let at = recipe_of(layers, |i| by(if i == 0 { Criterion::Obs } else { Criterion::Wanda }, 0.5));
        let (both, notes) = text(&at);
        for part in ["s50_obs_modifiers:\n    SparseGPTModifier:", "s50_modifiers:\n    WandaPruningModifier:"] {
            assert!(both.contains(part), "{part}: {both}");
        }
        assert!(notes.iter().any(|n| n.starts_with("Wanda")) && notes.iter().any(|n| n.starts_with("SparseGPT")));
    }

    #[test]
    fn what_masks_cannot_say_is_told_or_refused() {
        let layers = || vec![layer("a", &[8, 8]), layer("b", &[8, 6]), layer("c", &[8, 8]), layer("d", &[8, 8])];
        let at = recipe_of(layers(), |i| match i {
            0 => cut(0.5),
            1 => Treatment::prune(Prune::of(0.5, Pattern::Groups(4))),
            2 => Treatment::prune(Prune::of(0.5, Pattern::Rows)),
            _ => Treatment::both(2, Prune::unstructured(0.5)),
        });
        let (_, notes) = text(&at);
        let told = notes.join("\n");
        for part in ["b: 2:4 is left out: 6 columns", "c: the pattern is left out", "d: low rank plus sparse"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let ranks = recipe_of(layers(), |_| Treatment::rank(2));
        assert!(write(&ranks.recipe()).unwrap_err().to_string().contains("lems"));
    }
}
