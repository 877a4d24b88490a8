//! How many instructions each path took when somebody last looked, in a file that is checked in.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::{Context as _, Result};

use crate::{Path, Role};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ceilings.txt");
const HEAD: &str = "# Instructions of one time through each path. To write it anew:\n\
    # cargo run --release -p idempotent-instructions -- --update\n";
/// What a path may take more: the seeds of hash maps move counts by less than a hundredth.
const TOLERANCE: f64 = 1.03;

pub(crate) struct Ceilings(BTreeMap<String, u64>);

impl Ceilings {
    pub(crate) fn read() -> Result<Self> {
        Self::parse(&fs::read_to_string(FILE).context(FILE)?)
    }

    pub(crate) fn write(counts: &[(&Path, u64)]) -> Result<()> {
        let mut text = HEAD.to_owned();
        for (path, count) in counts {
            writeln!(text, "{count:>7} {}", path.name)?;
        }
        fs::write(FILE, text).context(FILE)
    }

    /// A table of all paths, and whether they keep to their ceilings.
    pub(crate) fn compare(&self, counts: &[(&Path, u64)]) -> (String, bool) {
        let mut table = String::from(
            "| path | instructions | ceiling | ÷ ceiling | ÷ bare | its ceiling | |\n\
             |---|---|---|---|---|---|---|\n",
        );
        let mut kept = true;
        for (path, count) in counts {
            let row = self.row(path, *count, counts);
            kept &= !row.fails();
            table.push_str(&row.show());
        }
        (table, kept)
    }

    fn row<'a>(&self, path: &'a Path, count: u64, counts: &[(&Path, u64)]) -> Row<'a> {
        let ceiling = self.0.get(path.name).copied();
        let beside_bare = match path.role {
            Role::Beside(bare) => counts
                .iter()
                .find(|(path, _)| path.name == bare)
                .zip(ceiling.zip(self.0.get(bare)))
                .map(|(now, (ceiling, then))| [ratio(count, now.1), ratio(ceiling, *then)]),
            Role::Bare | Role::Part => None,
        };
        Row {
            path,
            count,
            ceiling,
            beside_bare,
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let ceilings = lines.map(|line| {
            let (count, name) = line
                .trim_start()
                .split_once(' ')
                .with_context(|| format!("{FILE}: a line is no count and name: {line:?}"))?;
            Ok((name.to_owned(), count.parse()?))
        });
        ceilings.collect::<Result<_>>().map(Self)
    }
}

struct Row<'a> {
    path: &'a Path,
    count: u64,
    ceiling: Option<u64>,
    /// ÷ bare, now and by the ceilings.
    beside_bare: Option<[f64; 2]>,
}

impl Row<'_> {
    fn growth(&self) -> Option<f64> {
        self.ceiling.map(|ceiling| ratio(self.count, ceiling))
    }

    /// A protected path has to grow beside the bare one, too: where both take more, the machine,
    /// the compiler or the framework is another one.
    fn fails(&self) -> bool {
        let Some(growth) = self.growth() else {
            return true;
        };
        let beside_bare = self
            .beside_bare
            .is_none_or(|[now, then]| now > then * TOLERANCE);
        growth > TOLERANCE && beside_bare && !matches!(self.path.role, Role::Bare)
    }

    fn verdict(&self) -> &'static str {
        match self.growth() {
            None => "**has no ceiling: `--update`**",
            Some(_) if self.fails() => "**grew**",
            Some(growth) if growth > TOLERANCE => "the framework's own",
            Some(growth) if growth * TOLERANCE < 1.0 => "shrank: `--update`",
            Some(_) => "",
        }
    }

    fn show(&self) -> String {
        let number = |number: Option<f64>| number.map_or(String::new(), |it| format!("{it:.3}"));
        format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            self.path.name,
            self.count,
            self.ceiling
                .map_or(String::new(), |ceiling| ceiling.to_string()),
            number(self.growth()),
            number(self.beside_bare.map(|[now, _]| now)),
            number(self.beside_bare.map(|[_, then]| then)),
            self.verdict(),
        )
    }
}

#[allow(clippy::cast_precision_loss)] // Far below what a float counts.
fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn path(name: &'static str, role: Role) -> Path {
        Path {
            name,
            role,
            run: |_| {},
        }
    }

    const BARE: Path = path("axum: bare", Role::Bare);
    const FIRST: Path = path("axum: first", Role::Beside("axum: bare"));
    const PART: Path = path("record id", Role::Part);

    fn kept(bare: u64, first: u64, part: u64) -> bool {
        let ceilings =
            Ceilings::parse("# counts\n 1000 axum: bare\n 2000 axum: first\n 300 record id\n");
        let counts = [(&BARE, bare), (&FIRST, first), (&PART, part)];
        ceilings.expect("ceilings").compare(&counts).1
    }

    #[test]
    fn what_grows_by_itself_fails() {
        assert!(kept(1_000, 2_000, 300));
        assert!(kept(1_000, 2_059, 308));
        assert!(!kept(1_000, 2_061, 300), "first");
        assert!(!kept(1_000, 2_000, 310), "a part");
    }

    #[test]
    fn another_framework_or_machine_does_not_fail() {
        assert!(kept(1_100, 2_200, 300), "both take more");
        assert!(kept(900, 2_000, 300), "the bare one takes less");
        assert!(
            !kept(1_100, 2_400, 300),
            "the protected one takes more still"
        );
    }

    #[test]
    fn a_path_without_a_ceiling_fails() {
        let ceilings = Ceilings::parse("# counts\n").expect("no ceilings");
        let (table, kept) = ceilings.compare(&[(&PART, 300)]);
        assert!(!kept);
        assert!(table.contains("has no ceiling"), "{table}");
    }
}
