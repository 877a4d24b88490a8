//! The parameters of an operator's requests.

use super::json::Refusal;
use crate::store::Cursor;

/// How many claims a page has unless the request says otherwise.
const PAGE: usize = 100;

/// The parameters of a query. None of their values needs to be escaped.
pub(super) struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    pub(super) fn read(query: &'a str, known: &[&str]) -> Result<Self, Refusal> {
        let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
        let parameters =
            parameters.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "true")));
        let parameters: Vec<_> = parameters.collect();
        // One that is misspelled must not be taken for one that is not there.
        match parameters.iter().find(|(name, _)| !known.contains(name)) {
            None => Ok(Self(parameters)),
            Some((unknown, _)) if known.is_empty() => {
                let detail = format!("`{unknown}` is not a parameter here, and nothing else is");
                Err(Refusal::query(&detail))
            }
            Some((unknown, _)) => {
                let known = known.join("`, `");
                let detail = format!("`{unknown}` is not a parameter here; there is `{known}`");
                Err(Refusal::query(&detail))
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(its, _)| *its == name);
        found.map(|(_, value)| *value)
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::query("a flag is `true` or `false`")),
        }
    }

    pub(super) fn page(&self) -> Result<(Option<Cursor>, usize), Refusal> {
        let after = self.get("after").map(str::parse).transpose();
        let limit = self.get("limit").map_or(Ok(PAGE), str::parse);
        Ok((
            after.map_err(|error| Refusal::invalid(&error))?,
            limit.map_err(|_| Refusal::query("`limit` is a number from 1 to 1000"))?,
        ))
    }
}
