use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Settings, StartError> {
    Settings::read("127.0.0.1:3000", |wanted| {
        let mut set = variables.iter().filter(|(name, _)| *name == wanted);
        set.next().map(|(_, value)| value.into())
    })
}

fn refused(variables: &[(&str, &str)]) -> String {
    read(variables).unwrap_err().to_string()
}

#[test]
fn nothing_need_be_set() {
    let settings = Settings {
        listen: "127.0.0.1:3000".to_owned(),
        place: Place::Memory,
        near_cache: None,
        lease: None,
        ttl: None,
        on_lost: None,
        admin_token: None,
    };
    assert_eq!(read(&[]).unwrap(), settings);
    let names = [
        "LISTEN",
        "STORE",
        "LEDGER",
        "NEAR_CACHE_BYTES",
        "LEASE",
        "TTL",
        "ON_LOST",
        "ADMIN_TOKEN",
    ];
    assert_eq!(read(&names.map(|name| (name, ""))).unwrap(), settings);
}

#[test]
fn what_is_set_is_taken() {
    let settings = read(&[
        ("LISTEN", "[::1]:80"),
        ("STORE", "memory"),
        ("NEAR_CACHE_BYTES", "16MiB"),
        ("LEASE", "5s"),
        ("TTL", "1h 30m"),
        ("ON_LOST", "refuse"),
        ("ADMIN_TOKEN", "hush"),
    ]);
    let settings = settings.unwrap();
    assert_eq!(settings.listen, "[::1]:80");
    assert_eq!(settings.place, Place::Memory);
    assert_eq!(settings.near_cache, Some(16 * 1024 * 1024));
    assert_eq!(settings.lease, Some(Duration::from_secs(5)));
    assert_eq!(settings.ttl, Some(Duration::from_mins(90)));
    assert_eq!(settings.on_lost, Some(OnLost::Refuse));
    let token = settings.admin_token.as_ref().map(AdminToken::as_str);
    assert_eq!(token, Some("hush"));
    assert!(!format!("{settings:?}").contains("hush"));
    assert_eq!(read(&[("NEAR_CACHE_BYTES", "0")]).unwrap().near_cache, None);
}

#[test]
fn a_sqlite_file_is_named_as_elsewhere() {
    for (store, path) in [
        ("sqlite:payments.db", "payments.db"),
        ("sqlite://payments.db", "payments.db"),
        ("sqlite:/var/lib/payments.db", "/var/lib/payments.db"),
        ("sqlite:///var/lib/payments.db", "/var/lib/payments.db"),
    ] {
        let place = read(&[("STORE", store)]).unwrap().place;
        assert_eq!(place, Place::Sqlite(path.into()), "{store}");
        assert_eq!(place.name(), "sqlite");
    }
    for store in [
        "sqlite:",
        "sqlite://",
        "sqlite::memory:",
        "sqlite:a.db?mode=ro",
    ] {
        let error = refused(&[("STORE", store)]);
        assert!(error.starts_with("STORE names no file") || error.starts_with("STORE has"));
        assert!(error.contains("`sqlite:payments.db`"), "{error}");
    }
}

#[test]
fn an_address_is_taken_as_it_is() {
    for store in [
        "postgres://alice:secret@db/pay",
        "postgresql:///pay?host=/run",
    ] {
        let place = read(&[("STORE", store)]).unwrap().place;
        assert_eq!(place.name(), "postgres");
        assert!(
            matches!(&place, Place::Postgres { address, ledger: None } if address.as_str() == store)
        );
        assert!(!format!("{place:?}").contains("pay"), "{place:?}");
    }
}

#[test]
fn redis_needs_a_file_for_the_ledger() {
    let store = ("STORE", "redis://:secret@cache:6379");
    for ledger in ["payments.db", "sqlite:payments.db"] {
        let place = read(&[store, ("LEDGER", ledger)]).unwrap().place;
        assert_eq!(place.name(), "redis");
        assert!(!format!("{place:?}").contains("secret"), "{place:?}");
        let Place::Redis { address, ledger } = place else {
            unreachable!("it is named so");
        };
        assert_eq!(address.as_str(), store.1);
        assert_eq!(ledger.as_os_str(), "payments.db");
    }
    for variables in [&[store][..], &[store, ("LEDGER", "sqlite:")]] {
        let error = refused(variables);
        assert!(error.starts_with("LEDGER "), "{error}");
        assert!(error.contains("`LEDGER=payments.db`"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn beside_postgres_the_ledger_may_have_a_file() {
    let store = ("STORE", "postgres://db/pay");
    let place = read(&[store, ("LEDGER", "payments.db")]).unwrap().place;
    let file = Some("payments.db".into());
    assert!(matches!(place, Place::Postgres { ledger, .. } if ledger == file));
    let error = refused(&[store, ("LEDGER", ":memory:")]);
    assert!(error.starts_with("LEDGER names no file"), "{error}");
}

#[test]
fn a_ledger_that_would_not_be_used_is_refused() {
    for store in ["memory", "sqlite:a.db"] {
        let error = refused(&[("STORE", store), ("LEDGER", "b.db")]);
        assert!(error.starts_with("LEDGER is set, but"), "{error}");
    }
}

#[test]
fn a_store_that_is_not_supported_is_named() {
    for (store, shown) in [
        ("redis", "`redis`"),
        ("SQLite", "`SQLite`"),
        ("mysql://root:secret@db/pay", "`mysql://…`"),
        ("postgres:secret", "a form that is not known"),
        ("alice:secret@db", "a form that is not known"),
        ("alice:secret@db://", "a form that is not known"),
    ] {
        let error = refused(&[("STORE", store)]);
        assert!(error.contains(shown), "{error}");
        assert!(
            error.contains("`memory`") && error.contains("`redis://"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_size_is_a_number_of_bytes() {
    for size in ["many", "16 bananas", "-1", "1..2MiB"] {
        let error = refused(&[("NEAR_CACHE_BYTES", size)]);
        let text = format!("NEAR_CACHE_BYTES is `{size}`, which is no size");
        assert!(error.starts_with(&text), "{error}");
        assert!(error.contains("`16MiB`"), "{error}");
    }
}

#[test]
fn a_duration_has_a_unit_and_limits() {
    for (name, value, text) in [
        ("LEASE", "5", "LEASE is `5`, which is no duration; give"),
        ("LEASE", "99ms", "LEASE is `99ms`, which is too short; give"),
        ("LEASE", "61m", "LEASE is `61m`, which is too long; give"),
        ("TTL", "-1s", "TTL is `-1s`, which is no duration; give"),
        ("TTL", "0s", "TTL is `0s`, which is too short; give"),
        ("TTL", "367d", "TTL is `367d`, which is too long; give"),
    ] {
        let error = refused(&[(name, value)]);
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn of_a_lost_run_there_are_two_ends() {
    let error = refused(&[("ON_LOST", "retry")]);
    assert_eq!(error, "ON_LOST is `retry`; give `rerun` or `refuse`");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;

    let error = Settings::read("127.0.0.1:3000", |name| {
        (name == "STORE").then(|| OsString::from_vec(b"sqlite:\xff".to_vec()))
    });
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "STORE is not UTF-8; write it in UTF-8");
}
