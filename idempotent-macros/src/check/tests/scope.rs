//! `scope`.

use quote::quote;

use super::{assert_one, correct, messages, on_pay, used};
use crate::model::Scope;

#[test]
fn a_word_without_its_quotes_is_refused_unless_a_parameter_has_that_name() {
    let found = on_pay(quote!(scope = global, key = optional, fingerprint = none));
    assert_eq!(
        found.err().map(messages).unwrap_or_default(),
        [
            "`scope` cannot be `global`; write `\"global\"`",
            "`key` cannot be `optional`; write `\"optional\"`",
            "`fingerprint` cannot be `none`; write `\"none\"`",
        ]
    );
    let item = quote!(
        async fn pay(Path(global): Path<String>) {}
    );
    let found = correct(used(quote!(scope = global), item));
    assert!(matches!(found.policy.scope, Scope::Expression(_)));
}

#[test]
fn scope_is_a_name_or_an_expression() {
    for expression in [quote!(user.id), quote!(db), quote!((user.id, "a"))] {
        let found = correct(on_pay(quote!(scope = #expression)));
        assert!(matches!(found.policy.scope, Scope::Expression(_)));
    }
    for wrong in [
        quote!(""),
        quote!("user-id"),
        quote!("1st"),
        quote!("a b"),
        quote!(1),
    ] {
        let found = on_pay(quote!(scope = #wrong));
        let messages = found.err().map(messages).unwrap_or_default();
        assert_one(&messages, &format!("`scope` cannot be `{wrong}`; write"));
    }
}

#[test]
fn a_missing_scope_is_said_once() {
    let missing = on_pay(quote!(ttl = "1h")).err().map(messages);
    assert_one(&missing.unwrap_or_default(), "`scope` is missing");
    let misspelled = on_pay(quote!(scop = "global")).err().map(messages);
    assert_one(
        &misspelled.unwrap_or_default(),
        "`scop` is not an argument of `idempotent`; write `scope`",
    );
    let unreadable = on_pay(quote!(scope =)).err().map(messages);
    assert_one(&unreadable.unwrap_or_default(), "`scope` takes a value");
    for half in [quote!(scope = user.), quote!(scope = user., ttl = "1h")] {
        let half = on_pay(half).err().map(messages);
        assert_one(
            &half.unwrap_or_default(),
            "the value of `scope` is no expression; write `scope = \"user\"`",
        );
    }
}
