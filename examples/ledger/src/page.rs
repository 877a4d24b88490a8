//! The page at `/`, on which payments are broken on purpose. **Demonstration only**: an
//! application has none of this.
//!
//! Its files are in `page/`, and those of the client that it uses are the ones of the npm package
//! in `idempotent-client-js/`, as they are.

use std::hash::{DefaultHasher, Hash, Hasher};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Only what this server serves, and nothing inline. The page may frame itself: that is its second
/// tab where the browser blocks pop-ups.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                                       img-src 'self'; connect-src 'self'; frame-src 'self'; \
                                       frame-ancestors 'self'; base-uri 'none'; form-action 'none'";

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Where it is served.
    pub path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

/// The response to a `GET` of an [`Asset`], for the framework to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetResponse {
    /// 200, or 304 if the client has it.
    pub status: u16,
    /// Names and values.
    pub headers: [(&'static str, String); 6],
    /// Nothing with 304.
    pub body: &'static str,
}

/// Serves `page/<file>` of this package, or a file of the client's package, under a path.
macro_rules! asset {
    ($path:literal, $content_type:ident, page $file:literal) => {
        asset!($path, $content_type, concat!("../page/", $file))
    };
    ($path:literal, $content_type:ident, client $file:literal) => {
        asset!(
            $path,
            $content_type,
            concat!("../../../idempotent-client-js/src/", $file)
        )
    };
    ($path:literal, $content_type:ident, $file:expr) => {
        Asset {
            path: $path,
            content_type: $content_type,
            content: include_str!($file),
        }
    };
}

/// All files of the page.
pub const PAGE: &[Asset] = &[
    asset!("/", HTML, page "index.html"),
    asset!("/page/style.css", CSS, page "style.css"),
    asset!("/page/icon.svg", SVG, page "icon.svg"),
    asset!("/page/main.js", JAVASCRIPT, page "main.js"),
    asset!("/page/breakages.js", JAVASCRIPT, page "breakages.js"),
    asset!("/page/checkout.js", JAVASCRIPT, page "checkout.js"),
    asset!("/page/network.js", JAVASCRIPT, page "network.js"),
    asset!("/page/second-tab.js", JAVASCRIPT, page "second-tab.js"),
    asset!("/page/server.js", JAVASCRIPT, page "server.js"),
    asset!("/page/storage.js", JAVASCRIPT, page "storage.js"),
    asset!("/page/view.js", JAVASCRIPT, page "view.js"),
    asset!("/page/visit.js", JAVASCRIPT, page "visit.js"),
    asset!("/page/words.js", JAVASCRIPT, page "words.js"),
    asset!("/idempotent-client/index.js", JAVASCRIPT, client "index.js"),
    asset!("/idempotent-client/entry.js", JAVASCRIPT, client "entry.js"),
    asset!("/idempotent-client/errors.js", JAVASCRIPT, client "errors.js"),
    asset!("/idempotent-client/fetch.js", JAVASCRIPT, client "fetch.js"),
    asset!("/idempotent-client/flight.js", JAVASCRIPT, client "flight.js"),
    asset!("/idempotent-client/keeping.js", JAVASCRIPT, client "keeping.js"),
    asset!("/idempotent-client/keys.js", JAVASCRIPT, client "keys.js"),
    asset!("/idempotent-client/locks.js", JAVASCRIPT, client "locks.js"),
    asset!("/idempotent-client/options.js", JAVASCRIPT, client "options.js"),
    asset!("/idempotent-client/outcome.js", JAVASCRIPT, client "outcome.js"),
    asset!("/idempotent-client/problem.js", JAVASCRIPT, client "problem.js"),
    asset!("/idempotent-client/request.js", JAVASCRIPT, client "request.js"),
    asset!("/idempotent-client/retry.js", JAVASCRIPT, client "retry.js"),
    asset!("/idempotent-client/run.js", JAVASCRIPT, client "run.js"),
    asset!("/idempotent-client/start.js", JAVASCRIPT, client "start.js"),
    asset!("/idempotent-client/storage.js", JAVASCRIPT, client "storage.js"),
    asset!("/idempotent-client/sweep.js", JAVASCRIPT, client "sweep.js"),
    asset!("/idempotent-client/time.js", JAVASCRIPT, client "time.js"),
];

impl Asset {
    /// What to answer to a client that says in `If-None-Match` what it has already.
    ///
    /// A browser keeps the files and asks each time whether they are still the same, so a new
    /// build is never mixed with files of an old one.
    #[must_use]
    pub fn response(&self, if_none_match: Option<&str>) -> AssetResponse {
        let tag = self.entity_tag();
        let known = if_none_match.is_some_and(|tags| {
            let mut tags = tags.split(',').map(str::trim);
            tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
        });
        AssetResponse {
            status: if known { 304 } else { 200 },
            headers: [
                ("content-type", self.content_type),
                ("cache-control", "no-cache"),
                ("etag", &tag),
                ("content-security-policy", CONTENT_SECURITY_POLICY),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
            ]
            .map(|(name, value)| (name, value.to_owned())),
            body: if known { "" } else { self.content },
        }
    }

    fn entity_tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.content.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn header<'a>(response: &'a AssetResponse, wanted: &str) -> &'a str {
        let mut found = response.headers.iter().filter(|(name, _)| *name == wanted);
        &found.next().unwrap().1
    }

    fn served(path: &str) -> Option<&'static Asset> {
        PAGE.iter().find(|asset| asset.path == path)
    }

    /// What stands in double or single quotes after each occurrence of `before`.
    fn quoted_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
        text.match_indices(before)
            .filter_map(|(at, _)| {
                let rest = &text[at + before.len()..];
                let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
                rest[1..].split(quote).next()
            })
            .collect()
    }

    /// Where a module's import leads, from the module's own path.
    fn resolved(from: &str, import: &str) -> String {
        if import.starts_with('/') {
            return import.to_owned();
        }
        let mut folders: Vec<&str> = from.split('/').collect();
        folders.pop();
        for part in import.split('/') {
            match part {
                "." => {}
                ".." => drop(folders.pop()),
                part => folders.push(part),
            }
        }
        folders.join("/")
    }

    #[test]
    fn what_the_page_refers_to_is_served_with_its_type() {
        let html = served("/").unwrap().content;
        let mut references = quoted_after(html, " src=");
        references.extend(
            quoted_after(html, " href=")
                .into_iter()
                .filter(|reference| !reference.starts_with('#')),
        );
        assert!(references.len() >= 3, "{references:?}");
        for reference in references {
            let asset = served(reference).unwrap_or_else(|| panic!("{reference} is not served"));
            let wanted = match Path::new(reference).extension().unwrap().to_str().unwrap() {
                "css" => CSS,
                "js" => JAVASCRIPT,
                "svg" => SVG,
                other => panic!("what type is {other}?"),
            };
            assert_eq!(header(&asset.response(None), "content-type"), wanted);
        }
    }

    #[test]
    fn what_a_module_imports_is_served_as_a_module() {
        let mut imports = 0;
        for module in PAGE.iter().filter(|asset| asset.content_type == JAVASCRIPT) {
            for before in ["from ", "import ", "import("] {
                for import in quoted_after(module.content, before) {
                    // Words of a comment that are quoted as well name no file.
                    if Path::new(import)
                        .extension()
                        .is_none_or(|kind| kind != "js")
                    {
                        continue;
                    }
                    let path = resolved(module.path, import);
                    let imported = served(&path);
                    let imported = imported
                        .unwrap_or_else(|| panic!("{} imports {path}, not served", module.path));
                    assert_eq!(imported.content_type, JAVASCRIPT, "{path}");
                    imports += 1;
                }
            }
        }
        assert!(imports >= 2, "{imports}");
    }

    #[test]
    fn every_file_in_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        for file in fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let path = match name.as_str() {
                "index.html" => "/".to_owned(),
                name => format!("/page/{name}"),
            };
            assert!(served(&path).is_some(), "{path} is not served");
        }
    }

    #[test]
    fn nothing_inline_that_the_policy_would_block() {
        let html = served("/").unwrap().content;
        for inline in ["<style", " style=", "<script>", " onclick=", "javascript:"] {
            assert!(!html.contains(inline), "{inline}");
        }
        for asset in PAGE {
            let response = asset.response(None);
            assert!(header(&response, "content-security-policy").contains("default-src 'none'"));
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        }
    }

    #[test]
    fn a_file_that_the_client_has_is_not_sent_again() {
        for asset in PAGE {
            let first = asset.response(None);
            assert_eq!((first.status, first.body), (200, asset.content));
            let tag = header(&first, "etag");
            for known in [tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
                let again = asset.response(Some(known));
                assert_eq!((again.status, again.body), (304, ""), "{known}");
                assert_eq!(again.headers, first.headers);
            }
            let other = asset.response(Some("\"other\""));
            assert_eq!(other, first);
        }
    }
}
