//! Curves as a picture (SVG 1.1): a panel for each kind of size, both axes logarithmic; each cost beside what it is at the
//! smallest size, so that a level line is a cost that does not grow.

use std::fmt::Write as _;

use super::{Curve, Curves};
use crate::goals::{count, figure};

const PANEL: f64 = 260.0;
const WIDTH: f64 = 420.0;
const LEFT: f64 = 60.0;
const HEAD: f64 = 46.0;
const KEY: f64 = 330.0;
const COLOURS: [&str; 6] = ["#1b5e9b", "#b3261e", "#2a7f3f", "#8a5a00", "#6a3d9a", "#444444"];
/// The ends of the upright axis, as powers of two.
const ENDS: (f64, f64) = (-2.0, 8.0);

/// The picture of these curves.
pub fn picture(all: &[Curves]) -> String {
    let height = count(u64::try_from(all.len()).unwrap_or(0)) * (PANEL + HEAD + 30.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        LEFT + WIDTH + KEY
    );
    let mut top = HEAD;
    for curves in all {
        panel(&mut svg, curves, top);
        top += PANEL + HEAD + 30.0;
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, curves: &Curves, top: f64) {
    let bottom = top + PANEL;
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.0}\" font-weight=\"bold\">Cost beside that at the smallest size, by {}</text>",
        top - 14.0,
        curves.of
    );
    for power in [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0_f64] {
        let y = upright(power, top);
        let colour = if power == 0.0 { "#000000" } else { "#dddddd" };
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT + WIDTH,
            LEFT - 6.0,
            y + 4.0,
            power.exp2()
        );
    }
    let places = places(&curves.sizes);
    for (size, x) in curves.sizes.iter().zip(&places) {
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{size}</text>",
            bottom + 16.0
        );
    }
    for ((curve, colour), line) in curves.curves.iter().zip(COLOURS.iter().cycle()).zip(0_u64..) {
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{} ({})</text>",
            points(curve, &places, top),
            LEFT + WIDTH + 12.0,
            top + 14.0 + 18.0 * count(line),
            curve.what,
            curve.costs.first().copied().map(figure).unwrap_or_default(),
        );
    }
}

/// From the left to the right by how many times larger a size is.
fn places(sizes: &[u64]) -> Vec<f64> {
    let logs: Vec<f64> = sizes.iter().map(|size| count(*size).max(1.0).log2()).collect();
    let (first, last) = (logs.first().copied().unwrap_or_default(), logs.last().copied().unwrap_or_default());
    let span = (last - first).max(1.0);
    logs.iter().map(|log| LEFT + WIDTH * (log - first) / span).collect()
}

fn points(curve: &Curve, places: &[f64], top: f64) -> String {
    let first = curve.costs.first().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
    let mut text = String::new();
    for (cost, x) in curve.costs.iter().zip(places) {
        let power = (cost / first).max(f64::MIN_POSITIVE).log2().clamp(ENDS.0, ENDS.1);
        let _ = write!(text, "{x:.1},{:.1} ", upright(power, top));
    }
    text
}

fn upright(power: f64, top: f64) -> f64 {
    top + PANEL * (ENDS.1 - power) / (ENDS.1 - ENDS.0)
}
