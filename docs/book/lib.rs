//! The book's chapters as documentation, so that their code blocks are compiled and run.

// Headings are prose, and arguments that are headings have their addresses from their names.
#![allow(clippy::doc_markdown)]

macro_rules! chapters {
    ($($chapter:literal $name:ident),* $(,)?) => {
        $(
            #[doc = include_str!(concat!("src/", $chapter, ".md"))]
            mod $name {}
        )*

        #[cfg(test)]
        const CHAPTERS: &[&str] = &[$(concat!($chapter, ".md")),*];
    };
}

chapters! {
    "introduction" introduction,
    "quick-start-axum" quick_start_axum,
    "quick-start-actix" quick_start_actix,
    "how-it-works" how_it_works,
    "attribute" attribute,
    "stores/index" stores,
    "stores/memory" memory,
    "stores/sqlite" sqlite,
    "stores/postgres" postgres,
    "stores/redis" redis,
    "stores/wrappers" wrappers,
    "exactly-once" exactly_once,
    "functions" functions,
    "api-users" api_users,
    "clients" clients,
    "operating" operating,
    "acting" acting,
    "security" security,
    "testing" testing,
    "moving" moving,
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::CHAPTERS;

    fn source() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
    }

    /// The targets of a chapter's links.
    fn links(text: &str) -> impl Iterator<Item = &str> {
        text.split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
    }

    #[test]
    fn the_summary_names_every_chapter_that_is_compiled_and_no_other() {
        let summary = fs::read_to_string(source().join("SUMMARY.md")).unwrap();
        let named: BTreeSet<&str> = links(&summary).collect();
        assert_eq!(named, CHAPTERS.iter().copied().collect());
    }

    #[test]
    fn links_lead_somewhere() {
        for chapter in CHAPTERS {
            let path = source().join(chapter);
            let text = fs::read_to_string(&path).unwrap();
            for link in links(&text).filter(|link| !link.contains("://")) {
                let (file, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = match file {
                    "" => path.clone(),
                    file => path.parent().unwrap().join(file),
                };
                let target = fs::read_to_string(&target)
                    .unwrap_or_else(|error| panic!("{chapter} links to {link}: {error}"));
                let is_there = heading.is_empty()
                    || target
                        .lines()
                        .filter(|line| line.starts_with('#'))
                        .any(|line| {
                            let words = line.trim_start_matches('#').trim().to_lowercase();
                            words.replace(' ', "-") == heading
                        });
                assert!(
                    is_there,
                    "{chapter} links to {link}, and there is no such heading"
                );
            }
        }
    }
}
