//! `RESULTS.md`, the plot, and the short table in the README.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    build_time::BuildTime,
    duplicates::Duplicates,
    growth::Growth,
    http::{Paths, Served},
    plot,
    ratios::{InProcessResults, Ratios},
    system::System,
};

const BEGIN: &str = "<!-- written by benchmarks/run: begin -->\n";
const END: &str = "<!-- written by benchmarks/run: end -->";

pub(crate) struct Results {
    pub(crate) when: String,
    pub(crate) in_process: InProcessResults,
    pub(crate) http: Vec<(System, Paths)>,
    pub(crate) duplicates: Vec<Duplicates>,
    pub(crate) growth: Vec<(System, Growth)>,
    pub(crate) build_time: Vec<BuildTime>,
}

pub(crate) fn write(results: &Results, root: &Path) -> Result<()> {
    let document = document(results)?;
    print!("{document}");
    fs::write(root.join("benchmarks/RESULTS.md"), document)?;
    plot::draw(results, &root.join("docs/speed.svg"))?;
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme)?;
    fs::write(&readme, between_markers(&text, &summary(results)?)?)?;
    Ok(())
}

impl Results {
    pub(crate) fn growth(&self, system: System) -> Option<&Growth> {
        let growth = self.growth.iter().find(|(of, _)| *of == system);
        growth.map(|(_, growth)| growth)
    }

    fn ratios(&self, system: System) -> Option<Ratios> {
        let ratios = self.in_process.ratios.iter().find(|(of, _)| *of == system);
        ratios.map(|(_, ratios)| *ratios)
    }

    fn paths(&self, system: System) -> Paths {
        let paths = self.http.iter().find(|(of, _)| *of == system);
        paths.map_or([None; 3], |(_, paths)| *paths)
    }

    /// Requests a second and processor time of a path over HTTP, ÷ bare.
    pub(crate) fn served(&self, system: System, path: usize) -> Option<Served> {
        let (own, bare) = (self.paths(system)[path]?, self.paths(system.bare())[path]?);
        Some(Served {
            rate: own.rate / bare.rate,
            cpu: own.cpu / bare.cpu,
        })
    }

    /// How often a handler ran for 16 duplicates.
    pub(crate) fn runs(&self, system: System) -> Option<String> {
        let duplicates = self.duplicates.iter().find(|of| of.system == system)?;
        Some(runs(duplicates))
    }

    /// Processor time and crates that a system adds to a build.
    fn build_time(&self, system: System) -> Option<(f64, u64)> {
        let of = |system| self.build_time.iter().find(|of| of.system == system);
        let (own, bare) = (of(system)?, of(system.bare())?);
        Some((own.seconds - bare.seconds, own.crates - bare.crates))
    }
}

fn summary(results: &Results) -> Result<String> {
    let mut text = String::new();
    writeln!(
        text,
        "| | the handler ran, for 16 duplicates at once | first ÷ bare | replay ÷ bare | no key ÷ bare | first, with 100,000 live keys | requests/s ÷ bare, first | replay | bytes a key | build time added |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
    for system in protected() {
        let ratios = results.ratios(system);
        let growth = results.growth(system);
        let rate = |path| ratio(results.served(system, path).map(|served| served.rate));
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            system.name(),
            results.runs(system).as_deref().unwrap_or("–"),
            ratio(ratios.map(|ratios| ratios.first)),
            ratio(ratios.map(|ratios| ratios.replay)),
            ratio(ratios.and_then(|ratios| ratios.no_key)),
            ratio(growth.and_then(|growth| growth.firsts.get(2).copied())),
            rate(0),
            rate(1),
            growth.map_or("–".into(), |growth| format!(
                "{:.0}",
                growth.bytes_per_key
            )),
            results
                .build_time(system)
                .map_or("–".into(), |(seconds, _)| format!("{seconds:.0} s")),
        )?;
    }
    Ok(text)
}

fn document(results: &Results) -> Result<String> {
    let mut text = String::from(include_str!("results.md"));
    text = text.replace("{when}", &results.when);
    text = text.replace("{in process}", &in_process(results)?);
    text = text.replace("{over http}", &over_http(results)?);
    text = text.replace("{duplicates}", &duplicates(results)?);
    text = text.replace("{growth}", &growth(results)?);
    text = text.replace("{build time}", &build_time(results)?);
    Ok(text)
}

fn in_process(results: &Results) -> Result<String> {
    let mut text =
        String::from("| | first ÷ bare | replay ÷ bare | no key ÷ bare |\n|---|---|---|---|\n");
    for (system, ratios) in &results.in_process.ratios {
        let bare = results
            .in_process
            .bare
            .iter()
            .find(|(bare, _)| bare == system);
        let time = bare.map_or(String::new(), |(_, time)| {
            format!(" ({:.1} µs)", time * 1e6)
        });
        writeln!(
            text,
            "| {}{time} | {} | {} | {} |",
            system.name(),
            ratio(Some(ratios.first)),
            ratio(Some(ratios.replay)),
            ratio(ratios.no_key)
        )?;
    }
    Ok(text)
}

fn over_http(results: &Results) -> Result<String> {
    let mut text = String::from(
        "| | requests/s ÷ bare: first | replay | no key | server CPU ÷ bare: first | replay | no key |\n|---|---|---|---|---|---|---|\n",
    );
    for system in System::ALL {
        let bare = results.paths(system)[0].filter(|_| system.is_bare());
        let figures = bare.map_or(String::new(), |bare| {
            format!(" ({:.0}/s, {:.1} µs)", bare.rate, bare.cpu * 1e6)
        });
        write!(text, "| {}{figures} |", system.name())?;
        for path in 0..3 {
            write!(
                text,
                " {} |",
                ratio(results.served(system, path).map(|of| of.rate))
            )?;
        }
        for path in 0..3 {
            write!(
                text,
                " {} |",
                ratio(results.served(system, path).map(|of| of.cpu))
            )?;
        }
        writeln!(text)?;
    }
    Ok(text)
}

fn duplicates(results: &Results) -> Result<String> {
    let mut text = String::from(
        "| | the handler ran | all were answered after | answers |\n|---|---|---|---|\n",
    );
    for duplicates in &results.duplicates {
        let waiting = if duplicates.waiting {
            ", `wait = \"5s\"`"
        } else {
            ""
        };
        let statuses = duplicates.statuses.iter();
        let answers: Vec<_> = statuses
            .map(|(status, count)| format!("{count} × {status}"))
            .collect();
        writeln!(
            text,
            "| {}{waiting} | {} | {:.1} ms | {} |",
            duplicates.system.name(),
            runs(duplicates),
            duplicates.time * 1e3,
            answers.join(", "),
        )?;
    }
    Ok(text)
}

fn growth(results: &Results) -> Result<String> {
    let mut text = String::from(
        "| | 0 live keys | 10,000 | 100,000 | 1,000,000 | bytes a live key |\n|---|---|---|---|---|---|\n",
    );
    for (system, growth) in &results.growth {
        write!(text, "| {} |", system.name())?;
        for level in 0..4 {
            write!(text, " {} |", ratio(growth.firsts.get(level).copied()))?;
        }
        writeln!(text, " {:.0} |", growth.bytes_per_key)?;
    }
    Ok(text)
}

fn build_time(results: &Results) -> Result<String> {
    let mut text =
        String::from("| | processor time | added | crates | added |\n|---|---|---|---|---|\n");
    for own in &results.build_time {
        let added = results
            .build_time(own.system)
            .filter(|_| !own.system.is_bare());
        let (seconds, crates) = added.map_or_else(Default::default, |(seconds, crates)| {
            (format!("{seconds:.1} s"), crates.to_string())
        });
        writeln!(
            text,
            "| {} | {:.1} s | {seconds} | {} | {crates} |",
            own.system.name(),
            own.seconds,
            own.crates,
        )?;
    }
    Ok(text)
}

fn protected() -> impl Iterator<Item = System> {
    System::ALL.into_iter().filter(|system| !system.is_bare())
}

fn runs(duplicates: &Duplicates) -> String {
    let times = |runs| {
        if runs == 1 {
            "once".into()
        } else {
            format!("{runs} times")
        }
    };
    match duplicates.runs {
        (least, most) if least == most => times(most),
        (least, most) => format!("{least} to {most} times"),
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or("–".into(), |ratio| match ratio {
        ..10.0 => format!("{ratio:.2}"),
        ..100.0 => format!("{ratio:.1}"),
        _ => format!("{ratio:.0}"),
    })
}

fn between_markers(text: &str, table: &str) -> Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .context("README.md has no place for the table")?;
    let (_, after) = rest
        .split_once(END)
        .context("README.md has no end of the table")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let text = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let new = between_markers(&text, "new\n").expect("markers");
        assert_eq!(new, format!("before\n{BEGIN}new\n{END}\nafter\n"));
        assert!(between_markers("no markers", "new\n").is_err());
    }
}
