//! The README's picture: requests a second beside the bare application's, and what live keys take.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{report::Results, system::System};

const SIZE: (u32, u32) = (1080, 440);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(crate) fn draw(results: &Results, path: &Path) -> Result<()> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let drawn = || {
        area.fill(&WHITE)?;
        let (left, right) = area.split_horizontally(540);
        rates(results, &left)?;
        growth(results, &right)?;
        area.present()
    };
    drawn().map_err(|error| anyhow!("{}: {error}", path.display()))
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn systems() -> impl DoubleEndedIterator<Item = System> {
    System::ALL.into_iter().filter(|system| !system.is_bare())
}

fn color(system: System) -> RGBColor {
    match system {
        System::Axum => RGBColor(0, 114, 178),
        System::Actix => RGBColor(86, 180, 233),
        System::Idempotent2 => RGBColor(0, 158, 115),
        System::AxumIdempotent => RGBColor(230, 159, 0),
        _ => RGBColor(213, 94, 0),
    }
}

fn name(system: System) -> String {
    system.name().replace(['*', '`'], "")
}

/// A bar for each system's first execution, and one for its replay.
fn rates(results: &Results, area: &Area<'_>) -> Drawn {
    let (left, top, width, height) = (175, 70, 300.0, 58);
    let small = (FONT, 14).into_font().color(&INK);
    area.draw_text(
        "Requests/s ÷ bare, over HTTP",
        &(FONT, 18).into_font().color(&INK),
        (20, 16),
    )?;
    area.draw_text("dark: first execution, light: replay", &small, (20, 42))?;
    let x = |ratio: f64| {
        #[allow(clippy::cast_possible_truncation)] // A pixel of this picture.
        let pixels = (ratio * width) as i32;
        left + pixels
    };
    for (row, system) in (0..).zip(systems()) {
        let y = top + row * height;
        let at_right = Pos::new(HPos::Right, VPos::Center);
        let right = small.pos(at_right);
        area.draw_text(&name(system), &right, (left - 8, y + 12))?;
        if let Some(runs) = results.runs(system) {
            let once = runs == "once";
            let color = if once { INK } else { RGBColor(192, 0, 0) };
            let style = (FONT, 12).into_font().color(&color).pos(at_right);
            area.draw_text(
                &format!("16 duplicates ran {runs}"),
                &style,
                (left - 8, y + 31),
            )?;
        }
        for (path, shade) in [(0, 1.0), (1, 0.45)] {
            let Some(served) = results.served(system, path) else {
                continue;
            };
            let y = y + if path == 0 { 2 } else { 23 };
            let style = color(system).mix(shade).filled();
            area.draw(&Rectangle::new(
                [(left, y), (x(served.rate), y + 18)],
                style,
            ))?;
            let label = small.pos(Pos::new(HPos::Left, VPos::Center));
            let at = (x(served.rate) + 5, y + 9);
            area.draw_text(&format!("{:.2}", served.rate), &label, at)?;
        }
    }
    let bottom = top + 5 * height;
    area.draw(&PathElement::new(
        [(x(1.0), top - 6), (x(1.0), bottom)],
        INK.mix(0.6),
    ))?;
    let center = small.pos(Pos::new(HPos::Center, VPos::Top));
    area.draw_text("bare", &center, (x(1.0), bottom + 4))?;
    area.draw(&PathElement::new([(left, top - 6), (left, bottom)], INK))
}

/// First execution ÷ bare, for so many live keys of one caller.
fn growth(results: &Results, area: &Area<'_>) -> Drawn {
    let title = (FONT, 18).into_font().color(&INK);
    area.draw_text(
        "First execution ÷ bare, in process, by live keys of one caller",
        &title,
        (20, 16),
    )?;
    let highest = results
        .growth
        .iter()
        .flat_map(|(_, growth)| growth.firsts.iter().copied())
        .fold(10.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin_top(50)
        .margin_right(44)
        .margin_bottom(12)
        .x_label_area_size(34)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..3.05_f64, (1.0..highest * 10.0).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(4)
        .x_label_formatter(&|level| {
            let labels = ["0", "10,000", "100,000", "1,000,000"];
            let at = (0..)
                .zip(labels)
                .find(|(at, _)| (f64::from(*at) - level).abs() < 0.01);
            at.map_or(String::new(), |(_, label)| label.to_owned())
        })
        .y_label_formatter(&|ratio| match ratio {
            1_000.0.. => format!("{:.0},000", ratio / 1_000.0),
            _ => format!("{ratio}"),
        })
        .label_style((FONT, 14).into_font().color(&INK))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for system in systems().rev() {
        let Some(growth) = results.growth(system) else {
            continue;
        };
        let points: Vec<(f64, f64)> = (0..)
            .zip(&growth.firsts)
            .map(|(at, first)| (f64::from(at), *first))
            .collect();
        let color = color(system);
        chart
            .draw_series(LineSeries::new(points.clone(), color.stroke_width(3)))?
            .label(name(system))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
        chart.draw_series(
            points
                .into_iter()
                .map(|point| Circle::new(point, 4, color.filled())),
        )?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, 14).into_font().color(&INK))
        .background_style(WHITE.mix(0.85))
        .draw()
}
