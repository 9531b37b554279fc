//! Keys to actions. The help page, the hint bar and the frames are written from this table.

use super::message::{Code, Key};
use super::{Action, LensId};

/// Keys that do one thing, and where the help page lists them.
#[derive(Debug, Clone)]
pub struct Binding {
    /// Any of these.
    pub keys: &'static [Key],
    /// What they do.
    pub action: Action,
    /// Heading on the help page.
    pub group: &'static str,
}

const fn c(c: char) -> Key {
    Key { code: Code::Char(c), ctrl: false, shift: false }
}
const fn k(code: Code) -> Key {
    Key { code, ctrl: false, shift: false }
}
const fn ctrl(c: char) -> Key {
    Key { code: Code::Char(c), ctrl: true, shift: false }
}
const fn shift(code: Code) -> Key {
    Key { code, ctrl: false, shift: true }
}
const fn bind(keys: &'static [Key], action: Action, group: &'static str) -> Binding {
    Binding { keys, action, group }
}

const LAYERS: &str = "Layers";
const KNOBS: &str = "Knobs and plan";
const BUDGET: &str = "Budget and plans";
const LENSES: &str = "Lenses";
const QUALITY: &str = "Quality";
const SPECTRUM: &str = "Spectrum";
const GENERAL: &str = "General";

/// The key map.
pub static BINDINGS: &[Binding] = &[
    bind(&[k(Code::Up), c('k')], Action::Move(-1), LAYERS),
    bind(&[k(Code::Down), c('j')], Action::Move(1), LAYERS),
    bind(&[c('K')], Action::SameRole(-1), LAYERS),
    bind(&[c('J')], Action::SameRole(1), LAYERS),
    bind(&[k(Code::PageUp)], Action::Page(-1), LAYERS),
    bind(&[k(Code::PageDown)], Action::Page(1), LAYERS),
    bind(&[k(Code::Home)], Action::First, LAYERS),
    bind(&[k(Code::End)], Action::Last, LAYERS),
    bind(&[c('/')], Action::Filter, LAYERS),
    bind(&[c('s')], Action::Sort, LAYERS),
    bind(&[c('z')], Action::Fold, LAYERS),
    bind(&[c('Z')], Action::FoldAll, LAYERS),
    bind(&[c('a')], Action::ShowAll, LAYERS),
    bind(&[k(Code::Left), c('h')], Action::Scrub(-1), KNOBS),
    bind(&[k(Code::Right), c('l')], Action::Scrub(1), KNOBS),
    bind(&[shift(Code::Left), c('H')], Action::Scrub(-10), KNOBS),
    bind(&[shift(Code::Right), c('L')], Action::Scrub(10), KNOBS),
    bind(&[k(Code::Tab)], Action::NextKnob, KNOBS),
    bind(&[k(Code::BackTab)], Action::PreviousKnob, KNOBS),
    bind(&[c('n')], Action::NextPattern, KNOBS),
    bind(&[c('f')], Action::NextForm, KNOBS),
    bind(&[c('y')], Action::NextCriterion, KNOBS),
    bind(&[c('R')], Action::NextRule, KNOBS),
    bind(&[c('=')], Action::TypeValue, KNOBS),
    bind(&[c('g')], Action::NextScope, KNOBS),
    bind(&[c('d')], Action::Dense, KNOBS),
    bind(&[c('p')], Action::Pin, KNOBS),
    bind(&[c('u')], Action::Undo, KNOBS),
    bind(&[ctrl('r')], Action::Redo, KNOBS),
    bind(&[ctrl('o')], Action::Sessions, KNOBS),
    bind(&[c('B')], Action::Budget, BUDGET),
    bind(&[c('A')], Action::Allocator, BUDGET),
    bind(&[c('t')], Action::Means, BUDGET),
    bind(&[c('U')], Action::Unit, BUDGET),
    bind(&[c('G')], Action::Groups, BUDGET),
    bind(&[c('*')], Action::Multiple, BUDGET),
    bind(&[c('S')], Action::Snapshot, BUDGET),
    bind(&[c('D')], Action::Differences, BUDGET),
    bind(&[c('x'), ctrl('s')], Action::Export, BUDGET),
    bind(&[c('1')], Action::Lens(LensId::Spectrum), LENSES),
    bind(&[c('2')], Action::Lens(LensId::Sparsity), LENSES),
    bind(&[c('3')], Action::Lens(LensId::Lipschitz), LENSES),
    bind(&[c('4')], Action::Lens(LensId::Map), LENSES),
    bind(&[c('5')], Action::Lens(LensId::Frontier), LENSES),
    bind(&[c('6')], Action::Lens(LensId::Quality), LENSES),
    bind(&[c('m')], Action::Metric, LENSES),
    bind(&[c('w')], Action::Activations, LENSES),
    bind(&[c('C')], Action::Certify, LENSES),
    bind(&[k(Code::Enter), c('e'), c(' ')], Action::Expand, LENSES),
    bind(&[c('E')], Action::Extent, QUALITY),
    bind(&[c('W')], Action::Sweep, QUALITY),
    bind(&[c('['), c(',')], Action::Cursor(-1), SPECTRUM),
    bind(&[c(']'), c('.')], Action::Cursor(1), SPECTRUM),
    bind(&[c('{')], Action::Cursor(-10), SPECTRUM),
    bind(&[c('}')], Action::Cursor(10), SPECTRUM),
    bind(&[c('v')], Action::Axes, SPECTRUM),
    bind(&[c('c')], Action::Cumulative, SPECTRUM),
    bind(&[c('o')], Action::Overlay, SPECTRUM),
    bind(&[c('?')], Action::Help, GENERAL),
    bind(&[c('i')], Action::Explain, GENERAL),
    bind(&[k(Code::Esc)], Action::Back, GENERAL),
    bind(&[c('M')], Action::Mouse, GENERAL),
    bind(&[ctrl('z')], Action::Suspend, GENERAL),
    bind(&[c('q'), ctrl('c')], Action::Quit, GENERAL),
];

/// What a key means; `None` for a key without meaning.
pub fn action(key: Key) -> Option<Action> {
    let same = |bound: &Key| {
        // Terminals differ in telling shift for characters: the character itself says it.
        bound.code == key.code
            && bound.ctrl == key.ctrl
            && (matches!(key.code, Code::Char(_)) || bound.shift == key.shift)
    };
    BINDINGS.iter().find(|b| b.keys.iter().any(same)).map(|b| b.action)
}

/// The first key of an action, as written on screen.
pub fn key_of(action: Action) -> Option<String> {
    BINDINGS.iter().find(|b| b.action == action).and_then(|b| b.keys.first()).map(|k| k.label())
}

/// `key word` of an action, for frames and the hint bar.
pub fn hint(action: Action) -> String {
    hint_as(action, None)
}

/// The same with a word of its own, where the action does something else.
pub fn hint_as(action: Action, word: Option<&str>) -> String {
    let key = match action {
        Action::Scrub(-1 | 1) => "←→".to_owned(),
        Action::Scrub(_) => "⇧←→".to_owned(),
        Action::Cursor(_) => "[ ]".to_owned(),
        Action::SameRole(_) => "J K".to_owned(),
        _ => key_of(action).unwrap_or_default(),
    };
    format!("{key} {}", word.or(action.hint()).unwrap_or_else(|| action.words()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things() {
        let mut seen = std::collections::HashSet::new();
        for key in BINDINGS.iter().flat_map(|b| b.keys) {
            assert!(seen.insert(*key), "{} is bound twice", key.label());
        }
    }

    #[test]
    fn every_action_is_in_the_table_once_and_has_words() {
        for (i, b) in BINDINGS.iter().enumerate() {
            assert!(!b.action.words().is_empty() && !b.keys.is_empty());
            assert!(BINDINGS[i + 1..].iter().all(|o| o.action != b.action), "{:?}", b.action);
        }
    }

    #[test]
    fn the_keys_that_scripts_rely_on() {
        for (key, want) in [
            ("<up>", Action::Move(-1)),
            ("j", Action::Move(1)),
            ("<left>", Action::Scrub(-1)),
            ("l", Action::Scrub(1)),
            ("<tab>", Action::NextKnob),
            ("u", Action::Undo),
            ("<c-r>", Action::Redo),
            ("3", Action::Lens(LensId::Lipschitz)),
            ("/", Action::Filter),
            ("?", Action::Help),
            ("<esc>", Action::Back),
            ("q", Action::Quit),
            ("<c-c>", Action::Quit),
            ("<s-left>", Action::Scrub(-10)),
        ] {
            assert_eq!(action(Key::parse(key).unwrap()), Some(want), "{key}");
        }
        assert_eq!(action(Key { shift: true, ..Key::char('H') }), Some(Action::Scrub(-10)));
    }
}
