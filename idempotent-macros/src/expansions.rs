//! What handlers become, as files that a change is reviewed in: `expansions/*.expanded.rs` holds
//! what the attribute makes of `expansions/*.rs`.
//!
//! `UPDATE_EXPANSIONS=1 cargo test -p idempotent-macros` writes them anew.

use std::path::{Path, PathBuf};
use std::{env, fs};

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::{Attribute, ImplItem, Item, ItemImpl};

use crate::apply;

#[test]
fn handlers_become_what_the_files_say() {
    let update = env::var_os("UPDATE_EXPANSIONS").is_some();
    let mut differ = Vec::new();
    for handlers in handlers() {
        let expanded = handlers.with_extension("expanded.rs");
        let now = expand(&read(&handlers));
        if update {
            fs::write(&expanded, now).expect("an expansion can be written");
        } else if read(&expanded) != now {
            differ.push(format!("{}, which is now:\n{now}", expanded.display()));
        }
    }
    assert!(
        differ.is_empty(),
        "set UPDATE_EXPANSIONS=1 to write them anew, and review them:\n{}",
        differ.join("\n")
    );
}

fn handlers() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("expansions");
    let files = fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = files
        .map(|file| file.expect("the folder can be read").path())
        .filter(|file| !file.to_string_lossy().ends_with(".expanded.rs"))
        // Without the feature the document is not told anything.
        .filter(|file| cfg!(feature = "openapi") || !file.ends_with("documented.rs"))
        .collect();
    assert!(!files.is_empty());
    files.sort();
    files
}

fn read(file: &Path) -> String {
    let text = fs::read_to_string(file);
    text.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The file with every use of the attribute expanded, where the compiler finds the attribute.
fn expand(file: &str) -> String {
    let file: syn::File = syn::parse_str(file).expect("handlers can be parsed");
    let items = file.items.into_iter().map(|item| match item {
        Item::Fn(mut handler) => match take_use(&mut handler.attrs) {
            Some(arguments) => apply(&arguments, handler.into_token_stream()),
            None => handler.into_token_stream(),
        },
        Item::Impl(block) => expand_block(block),
        other => other.into_token_stream(),
    });
    let expanded = syn::parse2(items.collect()).expect("an expansion is a list of items");
    prettyplease::unparse(&expanded)
}

fn expand_block(mut block: ItemImpl) -> TokenStream {
    let items = std::mem::take(&mut block.items);
    let items = items.into_iter().map(|item| match item {
        ImplItem::Fn(mut handler) => match take_use(&mut handler.attrs) {
            Some(arguments) => apply(&arguments, handler.into_token_stream()),
            None => handler.into_token_stream(),
        },
        other => other.into_token_stream(),
    });
    block.items = vec![ImplItem::Verbatim(items.collect())];
    block.into_token_stream()
}

/// The arguments of the attribute, which is taken away.
fn take_use(attributes: &mut Vec<Attribute>) -> Option<TokenStream> {
    let place = attributes
        .iter()
        .position(|attribute| attribute.path().is_ident("idempotent"))?;
    let list = attributes.remove(place);
    let list = list.meta.require_list().expect("arguments are a list");
    Some(list.tokens.clone())
}
