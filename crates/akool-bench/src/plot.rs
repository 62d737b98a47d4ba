//! Draws the plot of a row as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::{
    paths::results,
    row::{Chart, Figure, Plot, Row},
};

const SIZE: (u32, u32) = (900, 480);
/// Pixels at the right of a chart for the names of its series.
const LEGEND_WIDTH: u32 = 220;
/// Draws the plot of a row, if it has one, to `results/NAME.svg`.
pub(crate) fn draw(row: &Row) -> Result<()> {
    match &row.plot {
        None => Ok(()),
        Some(Plot::Lines(chart)) => draw_chart(&row.name, chart, true),
        Some(Plot::Points(chart)) => draw_chart(&row.name, chart, false),
        Some(Plot::Ratios(baseline)) => draw_ratios(row, baseline),
    }
}

fn draw_chart(name: &str, chart: &Chart, joined: bool) -> Result<()> {
    let Chart { title, x, y, series } = chart;
    let path = results()?.join(format!("{name}.svg"));
    let root = SVGBackend::new(&path, SIZE).into_drawing_area();
    let range = |axis: fn(&(f64, f64)) -> f64| {
        let values = series.iter().flat_map(|(_, points)| points).map(axis).filter(|value| *value > 0.0);
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        low / 1.3..high * 1.3
    };
    let (xs, ys) = (range(|point| point.0), range(|point| point.1));
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", path.display());
    (|| {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .margin_right(LEGEND_WIDTH)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(xs.log_scale(), ys.log_scale())?;
        chart.configure_mesh().x_desc(x).y_desc(y).light_line_style(WHITE).draw()?;
        for (index, (label, points)) in series.iter().enumerate() {
            let points: Vec<_> = points.iter().copied().filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
            if joined {
                chart.draw_series(LineSeries::new(points.clone(), Palette99::pick(index).stroke_width(2)))?;
            }
            chart.draw_series(
                points.iter().map(|point| Circle::new(*point, 4, Palette99::pick(index).filled())),
            )?;
            let (x, y) = ((SIZE.0 - LEGEND_WIDTH) as i32 + 12, 50 + 20 * index as i32);
            root.draw(&Circle::new((x, y), 4, Palette99::pick(index).filled()))?;
            root.draw(&Text::new(label.as_str(), (x + 10, y - 6), ("sans-serif", 13)))?;
        }
        root.present()
    })()
    .map_err(|error| failed(&error))
}

fn draw_ratios(row: &Row, baseline: &str) -> Result<()> {
    let mut bars = Vec::new();
    for figure in &row.figures {
        let same = |other: &&Figure| {
            other.variant == baseline && other.case == figure.case && other.quantity == figure.quantity
        };
        if let Some(base) = row.figures.iter().find(same)
            && figure.variant != baseline
            && base.median > 0.0
        {
            let label = format!("{} {} {}", figure.variant, figure.case, figure.quantity);
            bars.push((
                label,
                figure.low / base.median,
                figure.median / base.median,
                figure.high / base.median,
            ));
        }
    }
    let path = results()?.join(format!("{}.svg", row.name));
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", path.display());
    let height = 90 + 28 * bars.len().max(1) as u32;
    let root = SVGBackend::new(&path, (SIZE.0, height)).into_drawing_area();
    let most = bars.iter().map(|bar| bar.2).fold(1.2_f64, f64::max) * 1.15;
    (|| {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("{}: ratio to {baseline}", row.name), ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(24)
            .y_label_area_size(10)
            .build_cartesian_2d(0.0..most, 0.0..bars.len().max(1) as f64)?;
        chart.configure_mesh().disable_y_mesh().disable_y_axis().draw()?;
        for (index, (label, low, median, high)) in bars.iter().enumerate() {
            let y = (bars.len() - index) as f64;
            let bar =
                Rectangle::new([(0.0, y - 0.85), (*median, y - 0.15)], Palette99::pick(0).mix(0.45).filled());
            let spread = PathElement::new([(*low, y - 0.5), (high.min(most), y - 0.5)], BLACK);
            let text = format!("{label}: {median:.2}");
            chart.draw_series([bar])?;
            chart.draw_series([spread])?;
            chart.draw_series([Text::new(text, (most * 0.01, y - 0.35), ("sans-serif", 13))])?;
        }
        chart.draw_series([PathElement::new([(1.0, 0.0), (1.0, bars.len().max(1) as f64)], RED)])?;
        root.present()
    })()
    .map_err(|error| failed(&error))
}
