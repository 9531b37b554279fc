//! Text from outside, made safe to show: names of tensors and files, metadata, messages of other libraries.
//!
//! Names keep their raw form wherever they are matched or written to a checkpoint. Whatever reaches a terminal, a table,
//! a frame or a recipe passes through [`shown`]: a name must not move the cursor, change the title of a window, reverse
//! the order of a line or hide a part of itself.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character has no shape of its own: control characters (C0, DEL, C1), line and paragraph separators,
/// direction marks, zero-width characters, tags.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with each hidden character replaced by a visible escape: `\n`, `\r`, `\t`, else `\u` and four hexadecimal
/// digits of its UTF-16 code. These escapes are those of JSON, so that JSON stays the same value.
pub fn shown(text: &str) -> Cow<'_, str> {
    // Nearly all text is printable ASCII.
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) || !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}");
            }),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hidden_characters_become_visible_and_all_others_stay() {
        for (raw, safe) in [
            ("model.layers.0.mlp", "model.layers.0.mlp"),
            ("a\x1b[31mb", "a\\u001b[31mb"),
            ("a\u{9b}31mb\u{7f}", "a\\u009b31mb\\u007f"),
            ("one\ntwo\r\t\0\x07", "one\\ntwo\\r\\t\\u0000\\u0007"),
            ("\u{202e}abc\u{2066}\u{200b}\u{feff}", "\\u202eabc\\u2066\\u200b\\ufeff"),
            ("\u{e0041}", "\\udb40\\udc41"),
            ("層.שלום.é", "層.שלום.é"),
        ] {
            assert_eq!(shown(raw), safe);
        }
    }

    proptest! {
        #[test]
        fn json_keeps_its_value_and_showing_twice_changes_nothing(text in ".*\\PC*[\u{0}-\u{a0}\u{2000}-\u{2070}]*") {
            let safe = shown(&text);
            prop_assert!(!safe.contains(is_hidden));
            prop_assert_eq!(shown(&safe), safe.as_ref());
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&shown(&json)).unwrap(), text);
        }
    }
}
