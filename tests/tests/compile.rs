//! What the attribute accepts, and what it says when it does not.

/// What must compile is compiled here, as a part of this test: trybuild would build all
/// dependencies once more, and link each file by itself.
#[allow(
    dead_code,
    unreachable_pub,
    clippy::pedantic,
    clippy::too_many_arguments
)]
#[path = "../ui/pass"]
mod pass {
    #[path = "actix.rs"]
    mod actix;
    #[path = "arguments.rs"]
    mod arguments;
    #[path = "associated-functions.rs"]
    mod associated_functions;
    #[path = "attributes.rs"]
    mod attributes;
    #[path = "axum.rs"]
    mod axum;
    #[path = "both-frameworks.rs"]
    mod both_frameworks;
    #[path = "crate-renamed.rs"]
    mod crate_renamed;
    #[path = "functions.rs"]
    mod functions;
    #[path = "places-and-names.rs"]
    mod places_and_names;
    #[path = "shadowed-names.rs"]
    mod shadowed_names;
}

#[test]
fn all_that_must_compile_is_compiled() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/pass");
    for file in folder.read_dir().expect("the folder is there") {
        let file = file.expect("the folder can be read").file_name();
        let path = format!("#[path = {file:?}]");
        assert!(include_str!("compile.rs").contains(&path), "{path}");
    }
}

/// `TRYBUILD=overwrite cargo test --test compile` writes the messages anew; read each one before
/// it is kept.
#[test]
fn mistakes_have_their_messages() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}
