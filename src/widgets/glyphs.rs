//! Which characters the terminal can show. Everything is drawn with the richest set and reduced once, at the end.

use ratatui::buffer::Buffer;

/// A set of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Glyphs {
    /// Braille dots, box drawing, blocks.
    #[default]
    Braille,
    /// Blocks and box drawing, no braille.
    Blocks,
    /// ASCII alone: the Linux console, `LANG=C`.
    Ascii,
}

impl Glyphs {
    /// What a locale (`LC_ALL`, `LC_CTYPE` or `LANG`) and a terminal type allow.
    pub fn detect(locale: &str, term: &str) -> Self {
        let utf8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        match term {
            // No locale at all is that of C.
            _ if !utf8 => Self::Ascii,
            "linux" | "vt100" | "vt220" | "dumb" => Self::Ascii,
            _ => Self::Braille,
        }
    }

    /// Replaces what this set lacks.
    pub fn reduce(self, buf: &mut Buffer) {
        if self == Self::Braille {
            return;
        }
        for cell in &mut buf.content {
            let Some(c) = cell.symbol().chars().next() else { continue };
            if c.is_ascii() {
                continue;
            }
            let quadrant = braille_quadrants(c);
            match self {
                Self::Blocks => {
                    if let Some(q) = quadrant {
                        cell.set_char(QUADRANTS[q as usize]);
                    }
                }
                _ => {
                    cell.set_char(quadrant.map_or_else(|| ascii(c), |q| ASCII_DOTS[q as usize]));
                }
            }
        }
    }
}

/// Indexed by upper left 1, upper right 2, lower left 4, lower right 8.
const QUADRANTS: [char; 16] = [' ', '▘', '▝', '▀', '▖', '▌', '▞', '▛', '▗', '▚', '▐', '▜', '▄', '▙', '▟', '█'];
const ASCII_DOTS: [char; 16] = [' ', '\'', '\'', '\'', '.', ':', '/', ':', '.', '\\', ':', ':', '.', ':', ':', '#'];

fn braille_quadrants(c: char) -> Option<u8> {
    let bits = (c as u32).checked_sub(0x2800).filter(|b| *b < 256)? as u8;
    let any = |mask: u8| u8::from(bits & mask != 0);
    // Dots 1 2 3 7 run down the left, 4 5 6 8 down the right.
    Some(any(0b0000_0011) | any(0b0001_1000) << 1 | any(0b0100_0100) << 2 | any(0b1010_0000) << 3)
}

fn ascii(c: char) -> char {
    match c {
        '─' | '━' | '╌' | '—' | '–' | '┄' => '-',
        '│' | '┆' | '┃' | '▌' | '▐' | '▕' | '▏' | '┊' => '|',
        '╭' | '╮' | '╯' | '╰' | '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┴' | '┬' | '┼' => '+',
        '●' => 'O',
        '◆' => '+',
        '○' => 'o',
        '▲' => '^',
        '▾' | '▼' => 'v',
        '▸' | '→' | '▶' => '>',
        '←' | '◂' | '◀' => '<',
        '↑' => '^',
        '↓' => 'v',
        '≤' => '<',
        '≥' => '>',
        '≈' => '~',
        '…' => '~',
        '·' => '.',
        '×' => 'x',
        '░' | '▁' | '▂' => '.',
        '▒' | '▃' | '▄' => ':',
        '▓' | '▅' | '▆' => '+',
        '█' | '▇' | '▉' | '▊' | '▋' | '▍' | '▎' => '#',
        'σ' => 's',
        '‖' => '|',
        '−' => '-',
        'Ŵ' => 'w',
        'ℓ' => 'l',
        'α' => 'a',
        'Δ' | 'Σ' => 'D',
        '√' => 'V',
        '∞' => '8',
        '²' => '2',
        '¹' => '1',
        '₀'..='₉' => char::from(b'0' + (c as u32 - '₀' as u32) as u8),
        '⊗' => '*',
        '⇧' => 'S',
        '⇄' => '/',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    fn reduced(glyphs: Glyphs, text: &str) -> String {
        let mut buf = Buffer::empty(Rect::new(0, 0, text.chars().count() as u16, 1));
        buf.set_string(0, 0, text, Style::default());
        glyphs.reduce(&mut buf);
        buf.content.iter().map(ratatui::buffer::Cell::symbol).collect()
    }

    #[test]
    fn braille_becomes_the_quadrants_its_dots_lie_in() {
        assert_eq!(reduced(Glyphs::Blocks, "⠁⠈⡀⢀⣿⠀─"), "▘▝▖▗█ ─");
        assert_eq!(reduced(Glyphs::Braille, "⠁⣿"), "⠁⣿");
    }

    #[test]
    fn ascii_leaves_nothing_else() {
        let text = reduced(Glyphs::Ascii, "╭─╮│⠁⣿≈.31 ━●░ →▾…⊗σ");
        assert!(text.is_ascii() && !text.contains('?'), "{text}");
    }

    #[test]
    fn the_locale_decides() {
        assert_eq!(Glyphs::detect("en_US.UTF-8", "xterm"), Glyphs::Braille);
        assert_eq!(Glyphs::detect("C", "xterm"), Glyphs::Ascii);
        assert_eq!(Glyphs::detect("C.utf8", "linux"), Glyphs::Ascii);
        assert_eq!(Glyphs::detect("", "xterm"), Glyphs::Ascii);
    }
}
