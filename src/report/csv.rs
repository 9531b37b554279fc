//! JSON objects as CSV: nested fields become columns named `outer.inner`.

use super::figures::{Figure, wanted};
use crate::text::shown;
use serde_json::Value;
use std::fmt::Write;

/// Column names and cells of an object. A value with its bound becomes two columns; lists are joined by blanks.
pub fn flatten(value: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    if let Value::Object(map) = value {
        for (key, value) in map {
            walk(key, value, &mut out);
        }
    }
    out
}

fn walk(name: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let column = if key == "value" { name.to_owned() } else { format!("{name}.{key}") };
                walk(&column, inner, out);
            }
        }
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(plain).collect();
            out.push((name.to_owned(), items.join(" ")));
        }
        other => out.push((name.to_owned(), plain(other))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// One line, cells quoted where they must be (RFC 4180), hidden characters escaped: a row is always one line.
pub fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (i, cell) in cells.into_iter().enumerate() {
        let cell = shown(cell);
        if i > 0 {
            out.push(',');
        }
        if cell.contains([',', '"']) {
            let _ = write!(out, "\"{}\"", cell.replace('"', "\"\""));
        } else {
            out.push_str(&cell);
        }
    }
    out
}

/// All columns that a measured layer may have, or those of the figures that are named.
pub fn heads(spectrum: bool, certificate: bool, only: &[&Figure]) -> Vec<String> {
    let mut heads = all(spectrum, certificate);
    heads.retain(|head| wanted(only, head.split('.').next().unwrap_or(head)));
    heads
}

fn all(spectrum: bool, certificate: bool) -> Vec<String> {
    let mut heads: Vec<String> = [
        "layer",
        "tensor",
        "file",
        "block",
        "role",
        "kind",
        "shape",
        "matrix",
        "dtype",
        "params",
        "bytes",
        "macs_per_token",
        "eligible",
    ]
    .map(str::to_owned)
    .to_vec();
    for known in [
        "zero_fraction",
        "frobenius_norm",
        "spectral_norm",
        "nuclear_norm",
        "l12_nuclear_norm",
        "stable_rank",
        "effective_rank",
        "condition_number",
        "numerical_rank",
    ] {
        heads.extend([known.to_owned(), format!("{known}.bound")]);
        if certificate && known == "spectral_norm" {
            heads.extend(["spectral_norm_certified", "spectral_norm_certified.bound"].map(str::to_owned));
        }
    }
    heads.extend(
        [
            "rank_for_energy.0.90",
            "rank_for_energy.0.95",
            "rank_for_energy.0.99",
            "rank_for_energy_bound.0.90",
            "rank_for_energy_bound.0.95",
            "rank_for_energy_bound.0.99",
            "break_even_rank",
            "power_law.alpha",
            "power_law.xmin",
            "power_law.ks",
            "power_law.tail",
            "power_law.bound",
            "marchenko_pastur.sigma",
            "marchenko_pastur.edge",
            "marchenko_pastur.spikes",
            "marchenko_pastur.bound",
            "magnitude.min_nonzero",
            "magnitude.median",
            "magnitude.max",
            "magnitude.quantiles.0.5",
            "magnitude.quantiles.0.9",
            "magnitude.quantiles.0.99",
            "magnitude.quantile_bound",
            "magnitude.bound",
        ]
        .map(str::to_owned),
    );
    heads.extend(crate::probe::magnitude::RATIOS.iter().map(|r| format!("prune_error.{r}")));
    heads.push("prune_error_bound".to_owned());
    heads.extend(crate::probe::structure::PATTERNS.iter().map(|(n, m)| format!("nm_error.{n}:{m}")));
    heads.push("nm_error_bound".to_owned());
    heads.extend(["pq_index".to_owned(), "pq_index.bound".to_owned()]);
    for norm in ["l2", "linf", "l1", "rms", "l2_lower"] {
        heads.extend([format!("lipschitz.{norm}"), format!("lipschitz.{norm}.bound")]);
    }
    heads.push("lipschitz.method".to_owned());
    if spectrum {
        heads.extend(["singular_values", "singular_values_error"].map(str::to_owned));
    }
    heads.push("note".to_owned());
    heads
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_become_columns() {
        let flat = flatten(&json!({"a": {"value": 1.5, "bound": "exact"}, "b": [1, 2], "c": null, "d": {"x": "y, z"}}));
        let names: Vec<&str> = flat.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["a", "a.bound", "b", "c", "d.x"]);
        assert_eq!(line(flat.iter().map(|(_, v)| v.as_str())), "1.5,exact,1 2,,\"y, z\"");
        assert_eq!(line(["say \"no\""]), "\"say \"\"no\"\"\"");
    }
}
