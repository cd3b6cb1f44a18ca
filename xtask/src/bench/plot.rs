//! Plots as SVG.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use super::measured::Point;

struct Plot {
    /// As the points have it, and the name of the file.
    name: &'static str,
    title: &'static str,
    scale: Scale,
    x: Axis,
    y: Axis,
}

#[derive(Clone, Copy)]
enum Scale {
    Linear,
    /// On both axes: a cost in proportion to the size is a line that rises by 45 degrees.
    Logarithmic,
}

struct Axis {
    title: &'static str,
    unit: fn(f64) -> String,
}

const PLOTS: [Plot; 2] = [
    Plot {
        name: "size",
        title: "Time for a configuration file, by its size",
        scale: Scale::Logarithmic,
        x: Axis {
            title: "size",
            unit: bytes,
        },
        y: Axis {
            title: "time",
            unit: seconds,
        },
    },
    Plot {
        name: "count",
        title: "Clusters in a row: time until the last is gone",
        scale: Scale::Linear,
        x: Axis {
            title: "clusters",
            unit: |number| format!("{number}"),
        },
        y: Axis {
            title: "time in all",
            unit: seconds,
        },
    },
];

/// Writes those plots of which there are points.
pub(super) fn draw(points: &[Point], directory: &Utf8Path) -> Result<()> {
    for plot in PLOTS {
        let lines = lines(points, plot.name);
        if !lines.is_empty() {
            let path = directory.join(format!("{}.svg", plot.name));
            fs::write(&path, plot.svg(&lines))
                .with_context(|| format!("failed to write {path}"))?;
        }
    }
    Ok(())
}

struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

fn lines(points: &[Point], plot: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for point in points.iter().filter(|point| point.plot == plot) {
        let Some(y) = point.y() else { continue };
        match lines.iter_mut().find(|line| line.name == point.line) {
            Some(line) => line.points.push((point.x, y)),
            None => lines.push(Line {
                name: point.line.clone(),
                points: vec![(point.x, y)],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
/// Room for the lines' names.
const RIGHT: f64 = 130.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const COLORS: [&str; 5] = ["#1f6fb4", "#c0392b", "#2e8b57", "#8e6bb0", "#777777"];
/// Between the names of two lines.
const LINE_HEIGHT: f64 = 15.0;

impl Plot {
    fn svg(&self, lines: &[Line]) -> String {
        let all = || lines.iter().flat_map(|line| &line.points);
        let x = Range::of(self.scale, all().map(|(x, _)| *x));
        let y = Range::of(self.scale, all().map(|(_, y)| *y));
        let across = |value: f64| LEFT + x.part(value) * (WIDTH - LEFT - RIGHT);
        let down = |value: f64| HEIGHT - BOTTOM - y.part(value) * (HEIGHT - TOP - BOTTOM);
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}</text>\n",
            self.title
        );
        let mut add = |part: std::fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = svg.write_fmt(part);
            svg.push('\n');
        };
        for tick in x.ticks() {
            let (at, label) = (across(tick), (self.x.unit)(tick));
            add(format_args!(
                "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#dddddd\"/>"
            ));
            add(format_args!(
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                bottom + 18.0
            ));
        }
        for tick in y.ticks() {
            let (at, label) = (down(tick), (self.y.unit)(tick));
            add(format_args!(
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dddddd\"/>"
            ));
            add(format_args!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 6.0,
                at + 4.0
            ));
        }
        add(format_args!(
            "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            HEIGHT - 12.0,
            self.x.title
        ));
        add(format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            TOP - 8.0,
            self.y.title
        ));

        let ends: Vec<f64> = lines
            .iter()
            .map(|line| line.points.last().map_or(0.0, |last| down(last.1)))
            .collect();
        let names = spread(&ends);
        for ((line, color), name_at) in lines.iter().zip(COLORS.iter().cycle()).zip(names) {
            let path: Vec<_> = line
                .points
                .iter()
                .map(|(x, y)| format!("{:.1} {:.1}", across(*x), down(*y)))
                .collect();
            add(format_args!(
                "<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
                path.join("L")
            ));
            let end = line.points.last().map_or(right, |last| across(last.0));
            add(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{color}\">{}</text>",
                end + 8.0,
                name_at + 4.0,
                line.name
            ));
        }
        svg + "</svg>\n"
    }
}

/// Moves heights apart, so that a name at each can be read.
fn spread(heights: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[a].total_cmp(&heights[b]));
    let mut spread = heights.to_vec();
    for pair in order.windows(2) {
        spread[pair[1]] = spread[pair[1]].max(spread[pair[0]] + LINE_HEIGHT);
    }
    spread
}

/// What an axis shows.
struct Range {
    scale: Scale,
    from: f64,
    to: f64,
}

impl Range {
    fn of(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let most = values.clone().fold(f64::MIN, f64::max);
        let (from, to) = match scale {
            Scale::Linear => (0.0, most),
            Scale::Logarithmic => {
                let least = values.fold(f64::MAX, f64::min);
                (
                    10f64.powf(least.log10().floor()),
                    10f64.powf((most * 0.99).log10().ceil()),
                )
            }
        };
        Self { scale, from, to }
    }

    /// How far on the way from one end of the axis to the other a value is.
    fn part(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value / self.to,
            Scale::Logarithmic => (value / self.from).log10() / (self.to / self.from).log10(),
        }
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let rough = self.to / 5.0;
                let magnitude = 10f64.powf(rough.log10().floor());
                let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
                let step = steps
                    .into_iter()
                    .find(|step| *step >= rough)
                    .unwrap_or(rough);
                (0..=(self.to / step) as u32)
                    .map(|n| f64::from(n) * step)
                    .collect()
            }
            Scale::Logarithmic => {
                let (from, to) = (
                    self.from.log10().round() as i32,
                    self.to.log10().round() as i32,
                );
                (from..=to).map(|power| 10f64.powi(power)).collect()
            }
        }
    }
}

fn bytes(value: f64) -> String {
    match value {
        1e6.. => format!("{} MB", value / 1e6),
        _ => format!("{} KB", value / 1e3),
    }
}

fn seconds(value: f64) -> String {
    // The rounding hides that powers of ten are not exact.
    match value {
        0.0 => "0".to_owned(),
        0.99.. => format!("{} s", (value * 10.0).round() / 10.0),
        0.000_99.. => format!("{} ms", (value * 1e4).round() / 10.0),
        _ => format!("{} µs", (value * 1e7).round() / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_in_proportion_is_straight_and_names_stand_apart() {
        let line = |name: &str, factor: f64| Line {
            name: name.to_owned(),
            points: [1e4, 1e5, 1e6, 1e7].map(|x| (x, x * factor)).into(),
        };
        let svg = PLOTS[0].svg(&[line("a", 1e-9), line("b", 1.1e-9)]);
        let path = svg
            .lines()
            .find(|line| line.contains("stroke-width"))
            .unwrap();
        let numbers: Vec<f64> = path
            .split(['M', 'L', ' ', '"'])
            .filter_map(|word| word.parse().ok())
            .collect();
        let steps: Vec<_> = numbers[..8].chunks(2).map(|at| (at[0], at[1])).collect();
        let step = |n: usize| (steps[n].1 - steps[n - 1].1) / (steps[n].0 - steps[n - 1].0);
        assert!(
            (step(1) - step(2)).abs() < 0.01 && (step(2) - step(3)).abs() < 0.01,
            "{svg}"
        );
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.ends_with(">a</text>") || line.ends_with(">b</text>"))
            .map(|line| {
                line.split("y=\"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        assert!(
            (heights[0] - heights[1]).abs() >= LINE_HEIGHT - 0.2,
            "{heights:?}"
        );
        let labels = ["10 KB", "100 KB", "1 MB", "10 MB", "10 µs", "10 ms"];
        assert!(
            labels
                .iter()
                .all(|label| svg.contains(&format!(">{label}<"))),
            "{svg}"
        );
    }

    #[test]
    fn an_axis_from_nothing_has_round_steps() {
        let ticks = |most| Range::of(Scale::Linear, [most].into_iter()).ticks();
        assert_eq!(ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(6.5), [0.0, 2.0, 4.0, 6.0]);
    }
}
