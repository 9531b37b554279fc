//! What the terminal sends, in the words of the interface.

use crate::app::{Code, Key};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The key of an event; `None` for releases and keys that mean nothing anywhere.
pub fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release || event.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    let shift = event.modifiers.contains(KeyModifiers::SHIFT);
    let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    let code = match event.code {
        // The character itself says whether shift was held.
        KeyCode::Char(c) => return Some(Key { code: Code::Char(c), ctrl, shift: false }),
        KeyCode::Enter => Code::Enter,
        KeyCode::Esc => Code::Esc,
        KeyCode::Tab if shift => return Some(Key::plain(Code::BackTab)),
        KeyCode::Tab => Code::Tab,
        KeyCode::BackTab => return Some(Key::plain(Code::BackTab)),
        KeyCode::Backspace => Code::Backspace,
        KeyCode::Up => Code::Up,
        KeyCode::Down => Code::Down,
        KeyCode::Left => Code::Left,
        KeyCode::Right => Code::Right,
        KeyCode::PageUp => Code::PageUp,
        KeyCode::PageDown => Code::PageDown,
        KeyCode::Home => Code::Home,
        KeyCode::End => Code::End,
        _ => return None,
    };
    Some(Key { code, ctrl, shift })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_count_and_releases_do_not() {
        let mut event = KeyEvent::new(KeyCode::Left, KeyModifiers::SHIFT);
        assert_eq!(key(event), Some(Key::shift(Code::Left)));
        event.kind = KeyEventKind::Repeat;
        assert_eq!(key(event), Some(Key::shift(Code::Left)));
        event.kind = KeyEventKind::Release;
        assert_eq!(key(event), None);
        assert_eq!(key(KeyEvent::new(KeyCode::Char('H'), KeyModifiers::SHIFT)), Some(Key::char('H')));
        assert_eq!(key(KeyEvent::new(KeyCode::Char('r'), KeyModifiers::CONTROL)), Some(Key::ctrl('r')));
        assert_eq!(key(KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT)), Some(Key::plain(Code::BackTab)));
    }
}
