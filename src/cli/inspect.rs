//! What the headers say.

use super::args::{Inspect, InspectFormat};
use super::error::CliError;
use super::output::{line, open, pieces};
use crate::model::Model;
use crate::report::{json, table::Table};
use crate::widgets::number::{bytes, count, grouped};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Prints layers and sizes.
pub fn run(args: &Inspect) -> Result<(), CliError> {
    let (model, _) = open(Some(&args.model))?;
    match args.format {
        InspectFormat::Json => json_lines(&model),
        InspectFormat::Table => table(&model),
    }
}

fn dtypes(model: &Model) -> BTreeMap<&'static str, u64> {
    let mut out = BTreeMap::new();
    for tensor in &model.tensors {
        *out.entry(tensor.dtype.name()).or_default() += 1;
    }
    out
}

/// One object, its layers one at a time: a header of 100,000 tensors is not held as JSON values.
fn json_lines(model: &Model) -> Result<(), CliError> {
    let object = |map: Map<String, Value>| {
        let text = Value::Object(map).to_string();
        text[1..text.len() - 1].to_owned()
    };
    let comma = |first: bool| if first { "" } else { "," };
    let head = format!("{{{},\"layers\":[", object(head(model)));
    let layers = model.layers.iter().enumerate();
    let layers = layers.map(|(i, l)| format!("{}{}", comma(i == 0), Value::from(json::header(model, l))));
    let others = model.not_weights.iter().filter_map(|(id, why)| {
        let t = model.tensors.get(*id)?;
        Some(serde_json::json!({"tensor": t.name, "dtype": t.dtype.name(), "shape": t.shape, "why": why}))
    });
    let others = others.enumerate().map(|(i, value)| format!("{}{value}", comma(i == 0)));
    let notes =
        if model.notes.is_empty() { String::new() } else { format!(",\"notes\":{}", Value::from(model.notes.clone())) };
    let begin = std::iter::once(head).chain(layers).chain(std::iter::once("],\"not_weights\":[".to_owned()));
    pieces(begin.chain(others).chain(std::iter::once(format!("]{notes}}}"))))
}

/// What stands before the layers.
fn head(model: &Model) -> Map<String, Value> {
    let mut map = Map::new();
    let files: Vec<&str> = model.files.iter().map(|f| f.name.as_str()).collect();
    map.insert("model".into(), model.name.clone().into());
    map.insert("format".into(), model.format.into());
    map.insert("files".into(), files.into());
    map.insert("params".into(), model.params().into());
    map.insert("bytes".into(), model.bytes().into());
    map.insert(
        "dtypes".into(),
        dtypes(model).into_iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect::<Map<_, _>>().into(),
    );
    map.insert("architecture".into(), model.architecture().map_or(Value::Null, Into::into));
    map.insert("blocks".into(), model.blocks().into());
    map
}

fn table(model: &Model) -> Result<(), CliError> {
    let types: Vec<String> = dtypes(model).iter().map(|(d, n)| format!("{n} {d}")).collect();
    line(&format!(
        "{}  {}  {} parameters  {}  {} blocks  {} files  tensors: {}",
        model.name,
        model.architecture().unwrap_or(model.format),
        count(model.params()),
        bytes(model.bytes()),
        model.blocks(),
        model.files.len(),
        types.join(", ")
    ))?;
    for note in &model.notes {
        line(&format!("note: {note}"))?;
    }
    let mut table = Table::new(&["layer", "role", "kind", "shape", "matrix", "dtype", ">params", ">bytes", "eligible"]);
    for l in &model.layers {
        let shape: Vec<String> = l.shape.iter().map(ToString::to_string).collect();
        table.row(vec![
            l.name.clone(),
            l.role.word().into(),
            l.kind.word().into(),
            shape.join("×"),
            format!("{}×{}", l.rows(), l.cols()),
            l.stored_as().into_owned(),
            grouped(l.params),
            bytes(l.bytes),
            l.why_not.as_ref().map_or("yes".into(), |why| format!("no: {why}")),
        ]);
    }
    table.lines().try_for_each(|l| line(&l))?;
    for (id, why) in &model.not_weights {
        if let Some(t) = model.tensors.get(*id) {
            line(&format!("not a weight: {}  {} {:?}: {why}", t.name, t.dtype.name(), t.shape))?;
        }
    }
    Ok(())
}
