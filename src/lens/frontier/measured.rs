//! Every plan that was measured, as a point: size against measured loss.

use super::super::quality::value;
use super::super::state::say;
use super::{Look, STEPS, keep};
use crate::evaluate::Metric;
use crate::widgets::Ink;
use crate::widgets::number::{number, percent};
use crate::widgets::plot::{Axis, Mark, Plot};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

pub fn picture(look: &Look, area: Rect, buf: &mut Buffer) {
    let (app, quality) = (look.app, &look.app.quality);
    let Some((offer, first)) = quality.offer.as_ref().zip(quality.visits.first()) else {
        let why = quality.failure.as_deref().unwrap_or(&quality.why_not);
        let text =
            if why.is_empty() { "measured plans … the dense model comes first".to_owned() } else { why.to_owned() };
        say(look, &text, area, buf);
        return;
    };
    let of = app.frontier.ask.of;
    let mille = |keep: f64| keep * STEPS as f64;
    let mut points: Vec<(f64, f64, String, Ink)> =
        quality.visits.iter().map(|v| (mille(v.keep(of)), v.measured.value, "•".to_owned(), Ink::Quiet)).collect();
    for snapshot in &app.frontier.snapshots {
        if let Some(m) = app.measured_of(&snapshot.plan) {
            points.push((mille(snapshot.keep(of)), m.value, snapshot.name.to_string(), Ink::Mark));
        }
    }
    let now = app.measured().map(|(m, _)| (mille(keep(look, &app.outcome.totals)), m.value));
    let values = || points.iter().map(|p| p.1).chain(now.map(|n| n.1));
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let room = ((high - low) * 0.08).max(high.abs() * 0.01);
    let least = points.iter().map(|p| p.0).chain(now.map(|n| n.0)).fold(mille(1.0), f64::min);
    let mark = Mark {
        x: mille(app.frontier.ask.keep),
        before: format!("budget {}", percent(app.frontier.ask.keep)),
        after: String::new(),
        ink: if app.frontier.active { Ink::Accent } else { Ink::Text },
        pointed: true,
        short: false,
    };
    let dense = first.measured.value;
    let plot = Plot {
        x: Axis::new((least - 20.0).max(0.0), mille(1.0), false),
        y: Axis::new(low - room, high + room, false),
        curves: Vec::new(),
        marks: vec![mark],
        level: Some((dense, format!("dense {}", value(offer.metric, dense)))),
        dead_from: None,
        dead_label: "",
        cursor: now,
        points,
        write_y: if offer.metric == Metric::Accuracy { |x| percent(x) } else { |x| number(x) },
        write_x: |mille| percent(mille / STEPS as f64),
    };
    plot.draw(area, buf, look.theme);
}
