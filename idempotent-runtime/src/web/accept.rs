//! In which form a client reads problems.

use mediatype::{MediaType, MediaTypeList, ReadParams};

use crate::core::problem::RenderedProblem;

/// The forms of a problem, the better ones first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// `application/problem+json`
    #[default]
    Problem,
    /// The same document as `application/json`.
    Json,
    /// Title and detail as `text/plain`.
    Text,
}

const FORMS: [(Form, [&str; 2]); 3] = [
    (Form::Problem, ["application", "problem+json"]),
    (Form::Json, ["application", "json"]),
    (Form::Text, ["text", "plain"]),
];

/// What a client accepts, as it has written it: read only when it is refused something.
#[derive(Debug, Default)]
pub(crate) struct Accept(Option<Box<[u8]>>);

impl Accept {
    /// Several lines are one list (RFC 9110 §5.3).
    pub(crate) fn new<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Self {
        match (lines.next(), lines.next()) {
            (None | Some(b"*/*"), None) => Self(None),
            (Some(line), None) => Self(Some(line.into())),
            (first, second) => {
                let lines: Vec<_> = first.into_iter().chain(second).chain(lines).collect();
                Self(Some(lines.join(&b", "[..]).into()))
            }
        }
    }

    pub(crate) fn form(&self) -> Form {
        self.0.as_deref().map_or(Form::Problem, Form::accepted)
    }
}

impl Form {
    /// The form that is accepted with the highest quality (RFC 9110 §12.5.1), the better one of
    /// two with the same. A problem is never refused for its form: who accepts none of them, or
    /// writes what is no list of media types, gets the first.
    fn accepted(accept: &[u8]) -> Self {
        let Ok(accept) = std::str::from_utf8(accept) else {
            return Self::Problem;
        };
        let mut best = (0, Self::Problem);
        for (form, media_type) in FORMS {
            let quality = quality(accept, media_type);
            if quality > best.0 {
                best = (quality, form);
            }
        }
        best.1
    }
}

/// The quality of a media type in thousandths: what the most specific range says that has it.
fn quality(accept: &str, [ty, subty]: [&str; 2]) -> u16 {
    let mut most_specific = (0, 0);
    for range in MediaTypeList::new(accept).flatten() {
        let specificity = match (range.ty.as_str(), name(&range)) {
            ("*", _) => 1,
            (its, "*") if its.eq_ignore_ascii_case(ty) => 2,
            (its, sub) if its.eq_ignore_ascii_case(ty) && sub.eq_ignore_ascii_case(subty) => 3,
            _ => continue,
        };
        if specificity >= most_specific.0 {
            most_specific = (specificity, weight(&range));
        }
    }
    most_specific.1
}

/// The subtype with its suffix, as one text.
fn name<'a>(range: &MediaType<'a>) -> &'a str {
    let subty = range.subty.as_str();
    match range.suffix {
        Some(suffix)
            if suffix.as_str().eq_ignore_ascii_case("json")
                && subty.eq_ignore_ascii_case("problem") =>
        {
            "problem+json"
        }
        // No other suffix matters, and none may be taken for the type without.
        Some(_) => "",
        None => subty,
    }
}

fn weight(range: &MediaType<'_>) -> u16 {
    let weight = range
        .params()
        .find(|(name, _)| name.as_str().eq_ignore_ascii_case("q"));
    let Some((_, weight)) = weight else {
        return 1000;
    };
    // What is no weight is none.
    let weight: f32 = weight.as_str().parse().unwrap_or(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is clamped, and what is no number is 0"
    )]
    let thousandths = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
    thousandths
}

impl RenderedProblem {
    /// The same problem in another form. Its status and its other headers stay.
    pub(crate) fn in_form(mut self, form: Form) -> Self {
        let content_type: &'static str = match form {
            Form::Problem => return self,
            Form::Json => "application/json",
            Form::Text => {
                self.body = self.text().into_bytes();
                "text/plain; charset=utf-8"
            }
        };
        for (name, value) in &mut self.headers {
            if *name == "content-type" {
                *value = content_type.into();
            }
        }
        self
    }

    fn text(&self) -> String {
        // It was written a moment ago, as an object with these texts.
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| document[name].as_str().unwrap_or_default();
        format!(
            "{} ({})\n\n{}\n",
            text("title"),
            text("code"),
            text("detail")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::problem::{Problem, ProblemSettings};

    #[test]
    fn the_form_is_the_one_that_is_accepted_most() {
        for (accept, form) in [
            ("*/*", Form::Problem),
            ("application/*", Form::Problem),
            ("application/problem+json", Form::Problem),
            ("APPLICATION/JSON", Form::Json),
            ("application/json", Form::Json),
            ("application/json, text/plain, */*", Form::Problem),
            ("application/json, */*;q=0.5", Form::Json),
            ("application/json, application/problem+json", Form::Problem),
            (
                "application/json;q=0.9, application/problem+json;q=0.8",
                Form::Json,
            ),
            ("text/plain", Form::Text),
            ("text/*", Form::Text),
            ("text/plain;q=0.2, application/json;q=0.3", Form::Json),
            ("text/html, application/xhtml+xml, */*;q=0.8", Form::Problem),
            (
                "*/*;q=0.1, application/problem+json;q=0, text/plain;q=0.05",
                Form::Json,
            ),
            ("*/*, application/*;q=0", Form::Text),
            // Neither is accepted, or it is no list: never 406.
            ("image/png", Form::Problem),
            ("application/json;q=0", Form::Problem),
            ("application/json;q=much", Form::Problem),
            ("application/json;q=NaN", Form::Problem),
            ("application/vnd.api+json", Form::Problem),
            ("application/problem+xml", Form::Problem),
            ("", Form::Problem),
            (",;=\"", Form::Problem),
        ] {
            assert_eq!(accepted(&[accept.as_bytes()]), form, "{accept}");
        }
        assert_eq!(accepted(&[]), Form::Problem);
        assert_eq!(accepted(&[b"\xff"]), Form::Problem);
    }

    fn accepted(lines: &[&[u8]]) -> Form {
        Accept::new(lines.iter().copied()).form()
    }

    #[test]
    fn several_lines_are_one_list() {
        assert_eq!(accepted(&[b"text/html", b"application/json"]), Form::Json);
        let three: [&[u8]; 3] = [b"*/*;q=0.1", b"application/*;q=0", b"text/plain"];
        assert_eq!(accepted(&three), Form::Text);
    }

    #[test]
    fn a_form_changes_type_and_body_alone() {
        let problem = Problem::InFlight { retry_after: 7 };
        let render = || problem.render(&ProblemSettings::default());
        let json = render().in_form(Form::Json);
        assert_eq!(json.body, render().body);
        assert!(
            json.headers
                .contains(&("content-type", "application/json".into()))
        );
        let text = render().in_form(Form::Text);
        assert!(text.headers.contains(&("retry-after", "7".into())));
        let body = String::from_utf8(text.body).unwrap();
        assert!(body.starts_with("The same operation is still running (in-flight)\n\nA request"));
    }
}
