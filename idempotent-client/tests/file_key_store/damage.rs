//! A file that cannot be read, and a folder that is not there.

use std::fs;

use idempotent_client::{FileKeyStore, IdempotencyKey, KeyStore as _, KeyStoreError};

use crate::{Place, TTL};

#[tokio::test]
async fn damage_is_told_and_nothing_is_replaced() {
    let key = IdempotencyKey::random();
    let unknown = format!(
        r#"{{"version":2,"operations":{{"pay":{{"key":"{}"}}}}}}"#,
        key.as_str()
    );
    for damaged in [
        "",
        "{",
        "[]",
        &unknown,
        r#"{"version":1,"operations":{"a":{"key":"k"}}}"#,
    ] {
        let place = Place::new();
        let store = place.open().await;
        fs::write(place.path(), damaged).unwrap();
        let errors = [
            store.begin("pay", key.clone(), TTL).await.unwrap_err(),
            FileKeyStore::open(place.path()).await.unwrap_err(),
            store.forget("pay").await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, KeyStoreError::Damaged { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("Restore it from a backup"), "{text}");
            assert!(!text.contains(key.as_str()), "{text}");
        }
        assert_eq!(fs::read_to_string(place.path()).unwrap(), damaged);
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let place = Place::new();
    let path = place.folder.path().join("missing/keys.json");
    let error = FileKeyStore::open(&path).await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Io { .. }), "{error}");
    assert!(error.to_string().contains("missing/keys.json"), "{error}");
}
