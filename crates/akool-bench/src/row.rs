//! One row of the results: its figures, its targets and its plot. Each measurement fills one; `report.rs` writes it.

use std::fs;

use serde::{Deserialize, Serialize};

/// One row of the results.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// What is measured, and what it is compared with.
    pub(crate) description: String,
    /// The cores and the processor that it ran on.
    pub(crate) machine: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) verdicts: Vec<Verdict>,
    /// What a reader has to know to judge the figures.
    pub(crate) notes: Vec<String>,
    pub(crate) plot: Option<Plot>,
}

/// One quantity of one of the compared variants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The case, such as one of several sizes; empty if there is only one.
    pub(crate) case: String,
    pub(crate) variant: String,
    pub(crate) quantity: String,
    pub(crate) unit: String,
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) samples: usize,
}

/// A target, and whether it was met.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) target: String,
    pub(crate) reached: String,
    pub(crate) met: bool,
}

/// The plot of a row.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Plot {
    /// Points joined by lines.
    Lines(Chart),
    /// Points alone.
    Points(Chart),
    /// The ratios of the row's figures to those of this baseline variant, as bars.
    Ratios(String),
}

/// Points on two logarithmic axes.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) series: Vec<Series>,
}

/// A named sequence of points.
pub(crate) type Series = (String, Vec<(f64, f64)>);

impl Row {
    pub(crate) fn new(name: &str, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            machine: machine(),
            figures: Vec::new(),
            verdicts: Vec::new(),
            notes: Vec::new(),
            plot: None,
        }
    }

    /// Adds a figure from its samples, and returns their median.
    pub(crate) fn add(
        &mut self,
        case: &str,
        variant: &str,
        quantity: &str,
        unit: &str,
        samples: &[f64],
    ) -> f64 {
        let low = samples.iter().copied().reduce(f64::min).unwrap_or(f64::NAN);
        let high = samples.iter().copied().reduce(f64::max).unwrap_or(f64::NAN);
        let median = median(samples.to_vec());
        let figure = Figure {
            case: case.to_owned(),
            variant: variant.to_owned(),
            quantity: quantity.to_owned(),
            unit: unit.to_owned(),
            median,
            low,
            high,
            samples: samples.len(),
        };
        println!("{}", figure.line());
        self.figures.push(figure);
        median
    }

    /// Adds a target that a number must not exceed.
    pub(crate) fn at_most(&mut self, target: &str, reached: f64, limit: f64) {
        self.judge(format!("{target} ≤ {}", number(limit)), number(reached), reached <= limit);
    }

    /// Adds a target that a number must reach.
    pub(crate) fn at_least(&mut self, target: &str, reached: f64, limit: f64) {
        self.judge(format!("{target} ≥ {}", number(limit)), number(reached), reached >= limit);
    }

    fn judge(&mut self, target: String, reached: String, met: bool) {
        println!("  target: {target}; reached: {reached}; {}", if met { "met" } else { "NOT met" });
        self.verdicts.push(Verdict { target, reached, met });
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Figure {
    fn line(&self) -> String {
        let case = if self.case.is_empty() { String::new() } else { format!("{}: ", self.case) };
        let spread = if self.samples > 1 {
            format!(" ({} to {}, {} samples)", number(self.low), number(self.high), self.samples)
        } else {
            String::new()
        };
        format!("  {case}{}: {} {} {}{spread}", self.variant, self.quantity, number(self.median), self.unit)
    }
}

/// The median of samples; not a number if there are none.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let at = |index: usize| samples.get(index).copied().unwrap_or(f64::NAN);
    let last = samples.len().saturating_sub(1);
    f64::midpoint(at(last / 2), at(last.div_ceil(2)))
}

/// Formats a number for people, with three or four significant digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "?".to_owned(),
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 && digit.is_ascii_digit() {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": an unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, {}", model.trim_start_matches([' ', '\t', ':']))
}
