//! Draws the curves of a soak, one below the other, as an SVG.

use std::fmt::Write;

use crate::sample::Sample;

/// The size of a curve's panel and its margin, in pixels.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 150.0;
const MARGIN: f64 = 30.0;

/// What a curve shows of a sample.
type Value = fn(&Sample) -> u64;

/// The curves over time, each with its largest value.
pub(crate) fn curves(samples: &[Sample]) -> String {
    let panels: [(&str, Value); 4] = [
        ("resident memory, KiB", |it| it.rss_kib),
        ("open descriptors", |it| it.descriptors),
        ("records in the outboxes", |it| it.outbox),
        ("age of the oldest record, ms", |it| it.lag_ms),
    ];
    let height = HEIGHT * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (number, (title, value)) in panels.into_iter().enumerate() {
        panel(&mut svg, HEIGHT * number as f64, title, samples, value);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, top: f64, title: &str, samples: &[Sample], value: Value) {
    let largest = samples.iter().map(value).max().unwrap_or_default();
    let last_ms = samples.last().map_or(1, |it| it.at_ms.max(1)) as f64;
    let (width, height) = (WIDTH - 2.0 * MARGIN, HEIGHT - 2.0 * MARGIN);
    let (bottom, seconds) = (top + HEIGHT - MARGIN, last_ms / 1000.0);
    let mut points = String::new();
    for sample in samples {
        let x = MARGIN + width * sample.at_ms as f64 / last_ms;
        let y = bottom - height * value(sample) as f64 / largest.max(1) as f64;
        // Writing to a string cannot fail.
        let _written = write!(points, "{x:.1},{y:.1} ");
    }
    let (title_y, label_y, right) = (top + MARGIN - 8.0, bottom + 14.0, WIDTH - MARGIN);
    let _written = writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"{title_y}\">{title}: at most {largest}</text>\n\
         <line x1=\"{MARGIN}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\" stroke=\"#999\"/>\n\
         <text x=\"{right}\" y=\"{label_y}\" text-anchor=\"end\">{seconds:.0} s</text>\n\
         <polyline points=\"{points}\" fill=\"none\" stroke=\"#246\" stroke-width=\"1.5\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_has_a_point_for_each_sample() {
        let sample = |at_ms| Sample { at_ms, rss_kib: 100 + at_ms, ..Sample::default() };
        let svg = curves(&[sample(0), sample(1000), sample(2000)]);
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert!(svg.contains("resident memory, KiB: at most 2100"), "{svg}");
        let curve = svg.lines().find(|line| line.starts_with("<polyline")).unwrap();
        assert_eq!(curve.matches(',').count(), 3);
    }
}
