//! The goals as a picture (SVG 1.1): a bar for each, to the left of the line what holds its goal, to the right what misses it.
//!
//! The scale is logarithmic: a bar that ends at 2 misses its goal twofold.

use std::fmt::Write as _;

use super::{Row, figure};

const LINE: usize = 22;
const TEXT: f64 = 470.0;
const WIDTH: f64 = 420.0;
/// The ends of the scale, as powers of two.
const ENDS: (f64, f64) = (-5.0, 5.0);

/// The picture of these goals.
pub fn picture(rows: &[Row]) -> String {
    let height = (rows.len() + 3) * LINE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"18\" font-weight=\"bold\">Distance from the goal, median of the rounds (logarithmic; left of 1 is held)</text>\n",
        TEXT + WIDTH + 80.0
    );
    for power in [-4, -2, 0, 2, 4] {
        let power = f64::from(power);
        let (x, bottom) = (place(power), height - LINE);
        let colour = if power == 0.0 { "#000000" } else { "#cccccc" };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"28\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 15,
            power.exp2()
        );
    }
    for (row, line) in rows.iter().zip(2..) {
        let y = line * LINE;
        let end = place(row.distance().log2().clamp(ENDS.0, ENDS.1));
        let (from, to) = (end.min(place(0.0)), end.max(place(0.0)));
        let colour = if row.held() { "#2a7f3f" } else { "#b3261e" };
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{y}\">{} {}</text><rect x=\"{from:.1}\" y=\"{}\" width=\"{:.1}\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{y}\">{}</text>",
            row.goal,
            escaped(&row.what),
            y - 10,
            (to - from).max(1.0),
            TEXT + WIDTH + 10.0,
            figure(row.distance()),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn place(power: f64) -> f64 {
    TEXT + WIDTH * (power - ENDS.0) / (ENDS.1 - ENDS.0)
}

/// What is longer than its room ends with dots.
fn escaped(text: &str) -> String {
    let short: String = text.chars().take(66).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", short.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

#[cfg(test)]
mod tests {
    use super::super::Bound;
    use super::*;

    #[test]
    fn a_picture_is_well_formed_and_has_a_bar_for_each_goal() {
        let row = Row {
            goal: "G1",
            what: "a < b & c".to_owned(),
            bound: Bound::AtMost(1.0),
            floor: String::new(),
            baseline: String::new(),
            ours: String::new(),
            ratios: vec![1000.0],
        };
        let svg = picture(&[row.clone(), row]);
        assert_eq!(svg.matches("#b3261e").count(), 2);
        assert!(svg.contains("a &lt; b &amp; c"));
        assert!(!svg.contains("NaN"));
    }
}
