//! A drawn buffer as text: for people, for tests, for pictures.

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write;

/// The characters, rows without trailing blanks.
pub fn text(buf: &Buffer) -> String {
    let mut out = String::new();
    for row in rows(buf) {
        let line: String = symbols(row).map(|(_, cell)| cell.symbol()).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn rows(buf: &Buffer) -> impl Iterator<Item = &[Cell]> {
    buf.content.chunks((buf.area.width as usize).max(1))
}

/// The cells of a row that hold a character, without those a wide one covers.
fn symbols(row: &[Cell]) -> impl Iterator<Item = (usize, &Cell)> {
    let mut next = 0;
    row.iter().enumerate().filter(move |(i, cell)| {
        let shown = *i >= next;
        if shown {
            next = i + super::width(cell.symbol()).max(1);
        }
        shown
    })
}

type Look = (Color, Color, Modifier);

fn look(cell: &Cell) -> Look {
    (cell.fg, cell.bg, cell.modifier)
}

/// Which style each cell wears: a map of letters, then what each letter means.
pub fn styles(buf: &Buffer) -> String {
    const LETTERS: &[u8] = b".abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut legend: Vec<Look> = vec![(Color::Reset, Color::Reset, Modifier::empty())];
    let mut out = String::new();
    let letter = |i: usize| LETTERS[i.min(LETTERS.len() - 1)] as char;
    for row in rows(buf) {
        let mut line = String::new();
        for cell in row {
            // A blank looks the same in any foreground colour.
            let mut style = look(cell);
            if cell.symbol() == " " && !style.2.contains(Modifier::REVERSED) {
                style = (Color::Reset, style.1, Modifier::empty());
            }
            let i = legend.iter().position(|s| *s == style).unwrap_or_else(|| {
                legend.push(style);
                legend.len() - 1
            });
            line.push(letter(i));
        }
        out.push_str(line.trim_end_matches('.'));
        out.push('\n');
    }
    for (i, (fg, bg, modifier)) in legend.iter().enumerate().skip(1) {
        let _ = writeln!(out, "{} fg={fg:?} bg={bg:?} {modifier:?}", letter(i));
    }
    out
}

/// With the escape sequences of a terminal.
pub fn ansi(buf: &Buffer) -> String {
    let mut out = String::new();
    for row in rows(buf) {
        let mut current = (Color::Reset, Color::Reset, Modifier::empty());
        for (_, cell) in symbols(row) {
            if look(cell) != current {
                current = look(cell);
                out.push_str("\x1b[0");
                for code in sgr(current) {
                    out.push(';');
                    out.push_str(&code);
                }
                out.push('m');
            }
            out.push_str(cell.symbol());
        }
        out.push_str("\x1b[0m\n");
    }
    out
}

fn sgr((fg, bg, modifier): Look) -> Vec<String> {
    let mut codes = Vec::new();
    for (flag, code) in
        [(Modifier::BOLD, "1"), (Modifier::DIM, "2"), (Modifier::UNDERLINED, "4"), (Modifier::REVERSED, "7")]
    {
        if modifier.contains(flag) {
            codes.push(code.to_owned());
        }
    }
    codes.extend(colour_code(fg, 38, 30));
    codes.extend(colour_code(bg, 48, 40));
    codes
}

fn colour_code(colour: Color, long: u8, base: u8) -> Option<String> {
    Some(match colour {
        Color::Rgb(r, g, b) => format!("{long};2;{r};{g};{b}"),
        Color::Indexed(i) => format!("{long};5;{i}"),
        Color::Reset => return None,
        named => {
            let i = named_index(named)?;
            (if i < 8 { base + i } else { base + 52 + i }).to_string()
        }
    })
}

fn named_index(colour: Color) -> Option<u8> {
    Some(match colour {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
        _ => return None,
    })
}

/// A picture on a dark ground.
pub fn svg(buf: &Buffer) -> String {
    const CELL_W: f64 = 8.4;
    const CELL_H: f64 = 18.0;
    const BASE: f64 = 13.5;
    let (w, h) = (f64::from(buf.area.width) * CELL_W + 16.0, f64::from(buf.area.height) * CELL_H + 16.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\">\n\
         <style>text{{font:14px 'DejaVu Sans Mono','JetBrains Mono',Menlo,Consolas,monospace;white-space:pre}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#14181c\"/>\n"
    );
    for (r, row) in rows(buf).enumerate() {
        let y = 8.0 + r as f64 * CELL_H;
        for (x, columns, cell) in backgrounds(row) {
            let (_, back) = colours(cell);
            let (x, w) = (8.0 + x as f64 * CELL_W, columns as f64 * CELL_W);
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{CELL_H:.1}\" fill=\"{}\"/>",
                back.unwrap_or_default()
            );
        }
        for (x, columns, style, text) in runs(row) {
            let weight = if style.2.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
            let faint = if style.2.contains(Modifier::DIM) { " opacity=\"0.6\"" } else { "" };
            let (fore, _) = colours_of(style);
            let (x, length) = (8.0 + x as f64 * CELL_W, columns as f64 * CELL_W);
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{length:.1}\" fill=\"{fore}\"{weight}{faint}>{text}</text>",
                y + BASE
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Stretches of cells with a ground of their own: first column, columns, one of the cells.
fn backgrounds(row: &[Cell]) -> Vec<(usize, usize, &Cell)> {
    let mut out: Vec<(usize, usize, &Cell)> = Vec::new();
    for (x, cell) in row.iter().enumerate().filter(|(_, c)| colours(c).1.is_some()) {
        match out.last_mut() {
            Some((from, n, first)) if *from + *n == x && colours(first).1 == colours(cell).1 => *n += 1,
            _ => out.push((x, 1, cell)),
        }
    }
    out
}

/// Stretches of characters in one style, blanks at their ends left out: first column, columns, style, text.
fn runs(row: &[Cell]) -> Vec<(usize, usize, Look, String)> {
    let mut out: Vec<(usize, usize, Look, String)> = Vec::new();
    for (x, cell) in symbols(row) {
        let columns = super::width(cell.symbol()).max(1);
        if cell.symbol() == " " {
            continue;
        }
        match out.last_mut() {
            Some((from, n, style, text)) if *from + *n == x && *style == look(cell) => {
                *n += columns;
                text.push_str(cell.symbol());
            }
            _ => out.push((x, columns, look(cell), cell.symbol().to_owned())),
        }
    }
    out
}

fn colours(cell: &Cell) -> (String, Option<String>) {
    colours_of(look(cell))
}

fn colours_of((fg, bg, modifier): Look) -> (String, Option<String>) {
    let fore = hex(fg).unwrap_or_else(|| "#d8dee4".to_owned());
    let back = hex(bg);
    if modifier.contains(Modifier::REVERSED) {
        return (back.unwrap_or_else(|| "#14181c".to_owned()), Some(fore));
    }
    (fore, back)
}

fn hex(colour: Color) -> Option<String> {
    const NAMED: [&str; 16] = [
        "#000000", "#c85050", "#50a050", "#c89628", "#4664aa", "#a05aa0", "#00a0b4", "#c0c0c0", "#808080", "#e07070",
        "#70c070", "#e0b050", "#7090d0", "#c080c0", "#50c8d8", "#ffffff",
    ];
    Some(match colour {
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Indexed(i @ 16..=231) => {
            let level = |v: u8| if v == 0 { 0 } else { 55 + 40 * v };
            let i = i - 16;
            format!("#{:02x}{:02x}{:02x}", level(i / 36), level(i / 6 % 6), level(i % 6))
        }
        Color::Indexed(i @ 232..) => {
            let v = 8 + 10 * (i - 232);
            format!("#{v:02x}{v:02x}{v:02x}")
        }
        Color::Indexed(i) => NAMED[i as usize].to_owned(),
        Color::Reset => return None,
        named => NAMED[named_index(named)? as usize].to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    fn sample() -> Buffer {
        let mut buf = Buffer::empty(Rect::new(0, 0, 8, 2));
        buf.set_string(0, 0, "ab", Style::default().fg(Color::Indexed(37)).add_modifier(Modifier::BOLD));
        buf.set_string(3, 0, "<維>", Style::default());
        buf.set_string(0, 1, "row", Style::default().bg(Color::Rgb(1, 2, 3)));
        buf
    }

    #[test]
    fn text_has_no_trailing_blanks_and_wide_characters_once() {
        assert_eq!(text(&sample()), "ab <維>\nrow\n");
    }

    #[test]
    fn styles_are_letters_with_a_legend() {
        let styles = styles(&sample());
        assert!(styles.starts_with("aa\nbbb\n"), "{styles}");
        assert!(styles.contains("a fg=Indexed(37) bg=Reset BOLD"), "{styles}");
    }

    #[test]
    fn escapes_say_what_the_styles_are_and_end_each_row() {
        let ansi = ansi(&sample());
        assert!(ansi.starts_with("\x1b[0;1;38;5;37mab\x1b[0m <維>"), "{ansi:?}");
        assert!(ansi.contains("\x1b[0;48;2;1;2;3mrow"), "{ansi:?}");
        assert!(ansi.lines().all(|l| l.ends_with("\x1b[0m")));
    }

    #[test]
    fn the_picture_is_escaped() {
        let svg = svg(&sample());
        assert!(svg.contains("&lt;維>") && svg.contains("#00afaf") && svg.contains("#010203"), "{svg}");
    }
}
