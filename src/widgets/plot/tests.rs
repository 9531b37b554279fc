use super::super::Depth;
use super::*;
use proptest::prelude::*;

fn traced(values: &[f64], x: Axis, y: Axis, columns: usize, rows: usize) -> Dots {
    let mut dots = Dots::new(columns, rows);
    Curve { values, ink: Ink::Text, kept: None }.trace(x, y, &mut dots);
    dots
}

/// The plain way: every value on its own.
fn reference(values: &[f64], x: Axis, y: Axis, dots: &Dots) -> Vec<(usize, usize)> {
    let place = |i: usize, v: f64| {
        let column = (x.place((i + 1) as f64)? * (dots.width() - 1) as f64).round() as usize;
        let row = ((1.0 - y.place(v)?) * (dots.height() - 1) as f64).round() as usize;
        Some((column, row))
    };
    values.iter().enumerate().filter_map(|(i, v)| place(i, *v)).collect()
}

proptest! {
    #[test]
    fn every_value_has_its_dot_and_no_column_goes_beyond_its_values(
        mut values in prop::collection::vec(0.01f64..100.0, 2..400), log_x: bool, log_y: bool, columns in 4usize..60, descending: bool,
    ) {
        if descending {
            values.sort_by(|a, b| b.total_cmp(a));
        }
        let x = Axis::new(1.0, values.len() as f64, log_x);
        let y = Axis::new(0.01, 100.0, log_y);
        let dots = traced(&values, x, y, columns, 10);
        let plain = reference(&values, x, y, &dots);
        for &(c, r) in &plain {
            // Rounding at the edge of a column may put a value into the next one.
            prop_assert!((c.saturating_sub(1)..=c + 1).any(|c| dots.get(c, r)), "({c}, {r}) is not set");
        }
        for c in 0..dots.width() {
            let near: Vec<usize> = {
                // values in this column, the last before it and the first after it
                let before = plain.iter().rposition(|p| p.0 + 1 < c).unwrap_or(0);
                let after = plain.iter().position(|p| p.0 > c + 1).unwrap_or(plain.len() - 1);
                plain[before..=after].iter().map(|p| p.1).collect()
            };
            let (low, high) = (near.iter().min().unwrap(), near.iter().max().unwrap());
            for r in (0..dots.height()).filter(|r| dots.get(c, *r)) {
                prop_assert!((*low..=*high).contains(&r), "({c}, {r}) outside {low}..{high}");
            }
        }
    }

    #[test]
    fn a_curve_has_no_holes(mut values in prop::collection::vec(0.01f64..100.0, 2..300), log: bool) {
        values.sort_by(|a, b| b.total_cmp(a));
        let x = Axis::new(1.0, values.len() as f64, log);
        let dots = traced(&values, x, Axis::new(0.01, 100.0, log), 30, 8);
        let column = |c: usize| (0..dots.height()).filter(|r| dots.get(c, *r)).collect::<Vec<_>>();
        for c in 1..dots.width() {
            let (a, b) = (column(c - 1), column(c));
            prop_assert!(!a.is_empty() && !b.is_empty(), "nothing in column {c}");
            prop_assert!(a.iter().any(|r| b.iter().any(|s| r.abs_diff(*s) <= 1)), "a hole before column {c}");
        }
    }

    #[test]
    fn places_and_values_are_inverse(from in 1e-6f64..10.0, ratio in 1.01f64..1e6, share in 0.0f64..=1.0, log: bool) {
        let axis = Axis::new(from, from * ratio, log);
        let back = axis.place(axis.at(share)).unwrap();
        prop_assert!((back - share).abs() < 1e-6);
    }

    #[test]
    fn ticks_are_few_and_in_range(from in 1e-9f64..10.0, ratio in 1.0001f64..1e12, most in 2usize..9, log: bool) {
        let axis = Axis::new(from, from * ratio, log);
        let ticks = axis.ticks(most);
        prop_assert!(ticks.len() <= most + 2, "{ticks:?}");
        prop_assert!(ticks.windows(2).all(|w| w[0] < w[1]));
        prop_assert!(ticks.iter().all(|t| axis.place(*t).is_some()));
    }
}

#[test]
fn what_an_axis_cannot_place_leaves_a_gap() {
    let y = Axis::new(0.1, 10.0, true);
    let x = Axis::new(1.0, 9.0, false);
    for hole in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        let dots = traced(&[1.0, 1.0, 1.0, 1.0, hole, 1.0, 1.0, 1.0, 1.0], x, y, 9, 3);
        let lit: String = (0..18).map(|c| if (0..12).any(|r| dots.get(c, r)) { '#' } else { '.' }).collect();
        assert!(lit.contains(".."), "{hole}: {lit}");
        assert!(lit.starts_with("###") && lit.ends_with("###"), "{hole}: {lit}");
    }
}

#[test]
fn degenerate_ranges_still_show_something() {
    for axis in [
        Axis::new(0.0, 0.0, false),
        Axis::new(0.0, 0.0, true),
        Axis::new(3.0, 3.0, true),
        Axis::new(f64::NAN, 1.0, false),
        Axis::new(-5.0, -5.0, false),
        Axis::new(1.0, 1.0, false),
    ] {
        assert!(axis.from < axis.to, "{axis:?}");
        assert!(axis.place(f64::midpoint(axis.from, axis.to)).is_some());
    }
}

#[test]
fn a_plot_shows_axes_marks_and_the_dead_zone() {
    let values: Vec<f64> = (1..=100).map(|i| 4.0 / f64::from(i).sqrt()).collect();
    let plot = Plot {
        x: Axis::new(1.0, 100.0, true),
        y: Axis::new(0.4, 4.0, true),
        curves: vec![Curve { values: &values, ink: Ink::Accent, kept: Some(20) }],
        marks: vec![Mark {
            x: 20.0,
            before: "kept 20".into(),
            after: "cut 80".into(),
            ink: Ink::Accent,
            pointed: true,
            short: false,
        }],
        level: Some((0.8, "noise edge .80".into())),
        dead_from: Some(50.0),
        dead_label: "no gain",
        cursor: Some((20.0, values[19])),
        points: Vec::new(),
        write_y: super::super::number::tick,
        write_x: crate::widgets::number::tick,
    };
    let area = Rect::new(0, 0, 60, 12);
    let mut buf = Buffer::empty(area);
    plot.draw(area, &mut buf, Theme { depth: Depth::None });
    insta::assert_snapshot!(super::super::transcript::text(&buf));
    for (w, h) in [(0, 0), (1, 1), (8, 3), (12, 4)] {
        let small = Rect::new(3, 2, w, h);
        let mut buf = Buffer::filled(Rect::new(0, 0, 30, 10), ratatui::buffer::Cell::new("x"));
        plot.draw(small, &mut buf, Theme { depth: Depth::None });
        for y in 0..10 {
            for x in 0..30 {
                assert!(
                    small.contains((x, y).into()) || buf[(x, y)].symbol() == "x",
                    "painted ({x}, {y}) outside {small:?}"
                );
            }
        }
    }
}
