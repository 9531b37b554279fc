//! JSON objects as CSV: nested fields become columns named `outer.inner`.

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

/// One line, cells quoted where they must be (RFC 4180).
pub fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (i, cell) in cells.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            let _ = write!(out, "\"{}\"", cell.replace('"', "\"\""));
        } else {
            out.push_str(cell);
        }
    }
    out
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
