//! How many instructions each path took when somebody last looked, in a file that is checked in.

use std::{collections::BTreeMap, fmt::Write as _, fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{Path, Role};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ceilings.txt");
const HEAD: &str = "# Instructions of one time through each path. To write it anew:\n\
    # cargo run --release -p idempotent-instructions -- --update\n";
const COUNTED_WITH: &str = "# Counted with ";
/// What a path may take more: the seeds of hash maps move counts by less than a hundredth.
const TOLERANCE: f64 = 1.03;

pub(crate) struct Ceilings {
    counts: BTreeMap<String, u64>,
    /// What they were counted with.
    compiler: Compiler,
}

/// A compiler, and what it compiles for. Another one makes other code of the same paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler(String);

impl Ceilings {
    pub(crate) fn read() -> Result<Self> {
        Self::parse(&fs::read_to_string(FILE).context(FILE)?)
    }

    pub(crate) fn write(counts: &[(&Path, u64)], compiler: &Compiler) -> Result<()> {
        let mut text = format!("{HEAD}{COUNTED_WITH}{}\n", compiler.0);
        for (path, count) in counts {
            writeln!(text, "{count:>7} {}", path.name)?;
        }
        fs::write(FILE, text).context(FILE)
    }

    /// A table of all paths, and whether they keep to their ceilings.
    ///
    /// With another compiler than they were counted with, only what stands beside a bare path is
    /// judged: what the compiler does to both of them is no growth.
    pub(crate) fn compare(&self, counts: &[(&Path, u64)], compiler: &Compiler) -> (String, bool) {
        let mut table = String::from(
            "| path | instructions | ceiling | ÷ ceiling | ÷ bare | its ceiling | |\n\
             |---|---|---|---|---|---|---|\n",
        );
        let mut kept = true;
        for (path, count) in counts {
            let row = self.row(path, *count, counts, compiler);
            kept &= !row.fails();
            table.push_str(&row.show());
        }
        if *compiler != self.compiler {
            let (then, now) = (&self.compiler.0, &compiler.0);
            writeln!(
                table,
                "\nThe ceilings were counted with {then}, and this with {now}: only paths beside a \
                 bare one are judged."
            )
            .expect("a string has room");
        }
        (table, kept)
    }

    fn row<'a>(
        &self,
        path: &'a Path,
        count: u64,
        counts: &[(&Path, u64)],
        compiler: &Compiler,
    ) -> Row<'a> {
        let ceiling = self.counts.get(path.name).copied();
        let beside_bare = match path.role {
            Role::Beside(bare) => counts
                .iter()
                .find(|(path, _)| path.name == bare)
                .zip(ceiling.zip(self.counts.get(bare)))
                .map(|(now, (ceiling, then))| [ratio(count, now.1), ratio(ceiling, *then)]),
            Role::Bare | Role::Part => None,
        };
        Row {
            path,
            count,
            ceiling,
            beside_bare,
            is_judged: match path.role {
                Role::Bare => false,
                Role::Beside(_) => true,
                Role::Part => *compiler == self.compiler,
            },
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let compiler = text
            .lines()
            .find_map(|line| line.strip_prefix(COUNTED_WITH))
            .with_context(|| format!("{FILE}: no line begins with {COUNTED_WITH:?}"))?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let counts = lines.map(|line| {
            let (count, name) = line
                .trim_start()
                .split_once(' ')
                .with_context(|| format!("{FILE}: a line is no count and name: {line:?}"))?;
            Ok((name.to_owned(), count.parse()?))
        });
        Ok(Self {
            counts: counts.collect::<Result<_>>()?,
            compiler: Compiler(compiler.to_owned()),
        })
    }
}

impl Compiler {
    /// The one that is in use here.
    pub(crate) fn in_use() -> Result<Self> {
        let output = Command::new("rustc").arg("-vV").output();
        let output = output.context("rustc does not start")?;
        let told = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "rustc -vV: {}", output.status);
        let of = |name: &str| {
            let value = told.lines().find_map(|line| line.strip_prefix(name));
            value.with_context(|| format!("rustc -vV does not say {name:?}: {told}"))
        };
        let (release, host) = (of("release: ")?, of("host: ")?);
        Ok(Self(format!("rustc {release} for {host}")))
    }
}

struct Row<'a> {
    path: &'a Path,
    count: u64,
    ceiling: Option<u64>,
    /// ÷ bare, now and by the ceilings.
    beside_bare: Option<[f64; 2]>,
    /// Whether it fails where it grows.
    is_judged: bool,
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
        self.is_judged && growth > TOLERANCE && beside_bare
    }

    fn verdict(&self) -> &'static str {
        match self.growth() {
            None => "**has no ceiling: `--update`**",
            Some(_) if self.fails() => "**grew**",
            Some(growth) if growth > TOLERANCE => match self.path.role {
                Role::Part => "the compiler's own",
                Role::Bare | Role::Beside(_) => "the framework's own",
            },
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

    const COUNTS: &str = "# Counted with rustc 1.2.3 for here\n\
        \x20 1000 axum: bare\n 2000 axum: first\n 300 record id\n";

    fn kept(bare: u64, first: u64, part: u64) -> bool {
        compare("rustc 1.2.3 for here", [bare, first, part]).1
    }

    fn compare(compiler: &str, [bare, first, part]: [u64; 3]) -> (String, bool) {
        let counts = [(&BARE, bare), (&FIRST, first), (&PART, part)];
        let compiler = Compiler(compiler.to_owned());
        let ceilings = Ceilings::parse(COUNTS).expect("ceilings");
        ceilings.compare(&counts, &compiler)
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
    fn with_another_compiler_only_what_is_beside_a_bare_path_is_judged() {
        for other in ["rustc 1.2.4 for here", "rustc 1.2.3 for there"] {
            let (table, kept) = compare(other, [1_000, 2_000, 400]);
            assert!(kept, "{table}");
            assert!(table.contains("counted with rustc 1.2.3 for here"));
            assert!(table.contains(other), "{table}");
            let (table, kept) = compare(other, [1_000, 2_100, 300]);
            assert!(!kept, "{table}");
        }
        let (table, _) = compare("rustc 1.2.3 for here", [1_000, 2_000, 400]);
        assert!(!table.contains("counted with"), "{table}");
    }

    #[test]
    fn the_compiler_in_use_says_its_release_and_host() {
        let Compiler(said) = Compiler::in_use().expect("rustc");
        assert!(said.starts_with("rustc 1."), "{said}");
        assert!(said.contains(" for ") && said.contains(std::env::consts::ARCH));
    }

    #[test]
    fn a_path_without_a_ceiling_fails() {
        let ceilings = Ceilings::parse("# Counted with rustc 1.2.3 for here\n");
        let ceilings = ceilings.expect("no ceilings");
        let (table, kept) = ceilings.compare(&[(&PART, 300)], &ceilings.compiler);
        assert!(!kept);
        assert!(table.contains("has no ceiling"), "{table}");
    }
}
