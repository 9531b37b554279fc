//! Meanings to colours, reduced once to what the terminal can show.

use ratatui::style::{Color, Modifier, Style};

/// How many colours the terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// None: bold, dim and reverse only.
    None,
    /// The sixteen of the terminal's own palette.
    Ansi16,
    /// The 256 of xterm.
    Ansi256,
    /// 24 bits.
    True,
}

/// What a piece of the screen means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ink {
    /// Numbers and names.
    Text,
    /// Captions, borders, axes: there, and quiet.
    Quiet,
    /// The one thing to look at: the knob under the hand, the kept part of a curve, the current tab.
    Accent,
    /// What the plan removes.
    Cut,
    /// The row under the cursor.
    Selected,
    /// A title.
    Title,
    /// Something that deserves a look: larger than dense, a stale figure.
    Warn,
    /// A failure.
    Bad,
    /// A reference line: noise edge, marks.
    Mark,
    /// Shade of a heat map, 0 to 1.
    Heat(f64),
}

/// Colours for every meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// What the terminal can show.
    pub depth: Depth,
}

impl Theme {
    /// The style of a meaning.
    pub fn style(self, ink: Ink) -> Style {
        let plain = Style::default();
        match ink {
            Ink::Text => plain,
            Ink::Quiet => self.colour(plain, QUIET).add_modifier(self.without(Modifier::DIM)),
            Ink::Accent => self.colour(plain, ACCENT).add_modifier(Modifier::BOLD),
            Ink::Cut => self.colour(plain, CUT).add_modifier(self.without(Modifier::DIM)),
            Ink::Selected => match self.depth {
                Depth::None | Depth::Ansi16 => plain.add_modifier(Modifier::REVERSED),
                _ => plain.bg(self.reduce(SELECTED)).add_modifier(Modifier::BOLD),
            },
            Ink::Title => plain.add_modifier(Modifier::BOLD),
            Ink::Warn => self.colour(plain, WARN),
            Ink::Bad => self.colour(plain, BAD).add_modifier(Modifier::BOLD),
            Ink::Mark => self.colour(plain, MARK),
            Ink::Heat(share) => self.colour(plain, heat(share)),
        }
    }

    /// A modifier that stands in for colour where there is none.
    fn without(self, modifier: Modifier) -> Modifier {
        if self.depth == Depth::None { modifier } else { Modifier::empty() }
    }

    fn colour(self, style: Style, rgb: Rgb) -> Style {
        if self.depth == Depth::None { style } else { style.fg(self.reduce(rgb)) }
    }

    fn reduce(self, rgb: Rgb) -> Color {
        match self.depth {
            Depth::True => Color::Rgb(rgb.0, rgb.1, rgb.2),
            Depth::Ansi256 => Color::Indexed(nearest_256(rgb)),
            Depth::Ansi16 | Depth::None => nearest_16(rgb),
        }
    }
}

type Rgb = (u8, u8, u8);
// Middle tones that can be read on black and on white alike.
const QUIET: Rgb = (128, 128, 128);
const ACCENT: Rgb = (0, 160, 190);
const CUT: Rgb = (150, 120, 150);
const SELECTED: Rgb = (48, 62, 72);
const WARN: Rgb = (205, 140, 0);
const BAD: Rgb = (215, 75, 75);
const MARK: Rgb = (95, 155, 95);

/// From a quiet blue-grey to a warm red: order is also carried by the glyphs `░▒▓█`.
fn heat(share: f64) -> Rgb {
    const STOPS: [Rgb; 5] = [(95, 115, 135), (75, 145, 160), (120, 160, 95), (210, 150, 50), (215, 80, 70)];
    let at = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 } * 4.0;
    let (i, t) = ((at as usize).min(3), at - at.floor().min(3.0));
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t).round() as u8;
    let (a, b) = (STOPS[i], STOPS[i + 1]);
    (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

fn distance(a: Rgb, b: Rgb) -> i32 {
    let d = |x: u8, y: u8| (i32::from(x) - i32::from(y)).pow(2);
    d(a.0, b.0) + d(a.1, b.1) + d(a.2, b.2)
}

/// The nearest of xterm's 6×6×6 cube (16–231) and grey ramp (232–255).
fn nearest_256(rgb: Rgb) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let cube = (0..216u8)
        .map(|i| (16 + i, (LEVELS[(i / 36) as usize], LEVELS[(i / 6 % 6) as usize], LEVELS[(i % 6) as usize])));
    let grey = (0..24u8).map(|i| (232 + i, (8 + 10 * i, 8 + 10 * i, 8 + 10 * i)));
    cube.chain(grey).min_by_key(|(_, c)| distance(*c, rgb)).map_or(7, |(i, _)| i)
}

fn nearest_16(rgb: Rgb) -> Color {
    const TABLE: [(Color, Rgb); 9] = [
        (Color::DarkGray, (128, 128, 128)),
        (Color::Gray, (190, 190, 190)),
        (Color::Red, (200, 60, 60)),
        (Color::Green, (80, 160, 80)),
        (Color::Yellow, (205, 150, 20)),
        (Color::Blue, (70, 100, 170)),
        (Color::Magenta, (160, 90, 160)),
        (Color::Cyan, (0, 160, 180)),
        (Color::Black, (0, 0, 0)),
    ];
    TABLE.iter().min_by_key(|(_, c)| distance(*c, rgb)).map_or(Color::Reset, |(c, _)| *c)
}

/// What the user and the environment say about colour.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `TERM`.
    pub term: String,
    /// `COLORTERM`.
    pub colorterm: String,
    /// `SSH_CONNECTION` or `SSH_TTY` is set.
    pub ssh: bool,
}

impl Depth {
    /// The depth to use. Unknown terminals get 256 colours; 24 bits only where promised and not over SSH, where a
    /// frame in 24 bits costs four times the bytes.
    pub fn detect(s: &Surroundings) -> Self {
        if s.no_color || s.term == "dumb" {
            return Self::None;
        }
        let promised = s.colorterm.contains("truecolor") || s.colorterm.contains("24bit");
        match s.term.as_str() {
            "linux" | "ansi" | "vt100" | "vt220" | "xterm-16color" => Self::Ansi16,
            _ if promised && !s.ssh => Self::True,
            _ => Self::Ansi256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_means_no_colour_anywhere() {
        let theme = Theme { depth: Depth::None };
        for ink in [Ink::Text, Ink::Quiet, Ink::Accent, Ink::Cut, Ink::Selected, Ink::Warn, Ink::Bad, Ink::Heat(0.7)] {
            let style = theme.style(ink);
            assert!(style.fg.is_none() && style.bg.is_none(), "{ink:?}");
        }
        assert_ne!(theme.style(Ink::Selected), theme.style(Ink::Text));
        assert_ne!(theme.style(Ink::Cut), theme.style(Ink::Accent));
    }

    #[test]
    fn the_environment_decides_the_depth() {
        let with = |f: fn(&mut Surroundings)| {
            let mut s = Surroundings { term: "xterm-256color".into(), ..Surroundings::default() };
            f(&mut s);
            Depth::detect(&s)
        };
        assert_eq!(with(|_| ()), Depth::Ansi256);
        assert_eq!(with(|s| s.no_color = true), Depth::None);
        assert_eq!(with(|s| s.term = "dumb".into()), Depth::None);
        assert_eq!(with(|s| s.term = "linux".into()), Depth::Ansi16);
        assert_eq!(with(|s| s.colorterm = "truecolor".into()), Depth::True);
        assert_eq!(
            with(|s| {
                s.colorterm = "truecolor".into();
                s.ssh = true;
            }),
            Depth::Ansi256
        );
    }

    #[test]
    fn reduction_hits_the_cube_and_the_ramp() {
        assert_eq!(nearest_256((255, 0, 0)), 196);
        assert_eq!(nearest_256((128, 128, 128)), 244);
        assert_eq!(heat(f64::NAN), heat(0.0));
        assert_eq!(heat(2.0), heat(1.0));
    }
}
