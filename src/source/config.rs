//! `config.json` as Python writes and reads it: with `NaN`, `Infinity` and `-Infinity`, and perhaps a byte order mark.

use super::regular;
use serde_json::Value;
use std::path::Path;

/// A configuration longer than this is none.
const MOST: u64 = 16 << 20;

/// Reads a configuration.
///
/// # Errors
/// Why it cannot be read or parsed, in words.
pub fn read(path: &Path) -> Result<Value, String> {
    parse(&regular::read(path, MOST).map_err(|e| e.to_string())?)
}

/// Parses a configuration. `NaN`, `Infinity` and `-Infinity` become texts of the same letters, since JSON has no such
/// numbers: a reader that needs a number finds none, and no default takes the place of a value that is there.
///
/// # Errors
/// What is wrong, in words.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| format!("is not UTF-8: {e}"))?;
    serde_json::from_str(&quoted(text)).map_err(|e| e.to_string())
}

/// The text with Python's numbers that JSON lacks in quotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut rest) = (false, text);
    while let Some(c) = rest.chars().next() {
        let found = ["NaN", "-Infinity", "Infinity"].into_iter().find(|w| !inside && rest.starts_with(w));
        if let Some(word) = found {
            out.extend(["\"", word, "\""]);
            rest = &rest[word.len()..];
            continue;
        }
        let escaped = inside && c == '\\';
        inside ^= c == '"';
        let width = rest.chars().take(1 + usize::from(escaped)).map(char::len_utf8).sum();
        let (piece, after) = rest.split_at(width);
        out.push_str(piece);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_that_python_writes_and_json_lacks_are_read() {
        let text = "\u{feff}{\"a\": NaN, \"b\": [0.0, Infinity, -Infinity], \"c\": \"NaN \\\" Infinity\", \"d\": -1}";
        let want = json!({"a": "NaN", "b": [0.0, "Infinity", "-Infinity"], "c": "NaN \" Infinity", "d": -1});
        assert_eq!(parse(text.as_bytes()).unwrap(), want);
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for text in [
            "",
            "{",
            "{\"a\": nan}",
            "{\"a\": +Infinity}",
            "{'a': 1}",
            "{} // note",
            "{\"a\": 1,}",
            "{\"a\": Infinityx}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"{\"a\": \"\xe9\"}").unwrap_err().contains("UTF-8"));
        assert!(parse("[".repeat(1 << 20).as_bytes()).is_err(), "deep nesting ends in an error");
    }
}
