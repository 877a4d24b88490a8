//! §9: records that were changed where they lie.

use idempotent_tests::{App, Plan, durable, logs};

/// Every byte changed in a few ways, every length that it was cut off at, and a few more bytes.
fn damages(sound: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut damages = Vec::new();
    for at in 0..sound.len() {
        let flipped = [sound[at] ^ 1 << (at % 8), sound[at] ^ 0x80, 0, 0xff];
        for byte in flipped.into_iter().filter(|byte| *byte != sound[at]) {
            let mut bytes = sound.to_vec();
            bytes[at] = byte;
            damages.push((at, bytes));
        }
        damages.push((at, sound[..at].to_vec()));
    }
    for more in [1, 8, 100] {
        damages.push((sound.len(), [sound, &vec![0; more]].concat()));
    }
    damages
}

/// Whether what is asked depends on that byte. Who had recorded it does not matter any more, and
/// how long it was to live is known to Redis itself.
fn matters(part: &str, at: usize, damaged: &[u8], sound: &[u8]) -> bool {
    let is_whole = damaged.len() == sound.len();
    match part {
        "owner" => false,
        "value" if is_whole => !(2..18).contains(&at) && !(50..58).contains(&at),
        _ => true,
    }
}

durable! {
    /// Neither a body that nobody has answered, nor a handler that runs again.
    async fn sec9_no_byte_of_a_record_is_changed_unnoticed(setting: Setting) {
        let app = setting.start().await;
        let plan = Plan::body("hush-paid").header("location", "/payments/1");
        // With `store_down = "run"`: not even there.
        let request = |app: &App| app.post("/down/run").key("k").plan(&plan);
        let first = request(&app).send().await;
        first.assert_first(201);
        // Another process, which has never read the record.
        let reader = app.sibling().await;
        let mut record = app.at_rest().await;
        let (mut refused, mut replayed) = (0, 0);
        for part in record.parts() {
            let sound = record.read(part).await;
            for (at, damaged) in damages(&sound) {
                if !record.write(part, &damaged).await {
                    continue;
                }
                let answer = request(&reader).send().await;
                if answer.status == 503 || matters(part, at, &damaged, &sound) {
                    let document = answer.assert_problem(503, "store-unavailable");
                    assert_eq!(document["retryable"], true, "{part} {at}");
                    refused += 1;
                } else {
                    answer.assert_replay_of(&first);
                    replayed += 1;
                }
                assert_eq!(app.world.entries(), 1, "{part} {at}: {damaged:?}");
            }
            assert!(record.write(part, &sound).await);
        }
        println!("{setting:?}: {refused} damaged records refused, {replayed} replayed unharmed");
        assert!(refused > 300 && replayed > 0);
        request(&reader).send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
        assert_eq!(reader.idempotency.unprotected(), 0);
        // The operator is told, and not what was in it.
        let log = logs::all();
        assert!(log.contains("a record in the store cannot be read"), "{log}");
        assert!(!log.contains("hush-paid"));
    }

    /// Whose claim it is can be damaged, too; as long as the handler runs, it runs alone.
    async fn sec9_no_byte_of_a_claim_that_is_changed_lets_another_run(setting: Setting) {
        let app = setting.start().await;
        let request = |app: &App| app.post("/down/run").key("k").plan(&Plan::gate("g"));
        let mut connection = request(&app).open().await;
        app.world.entered(1).await;
        let reader = app.sibling().await;
        let mut claim = app.at_rest().await;
        let mut refused = 0;
        for part in claim.parts().iter().filter(|part| **part != "response") {
            let sound = claim.read(part).await;
            for (at, damaged) in damages(&sound) {
                if !claim.write(part, &damaged).await {
                    continue;
                }
                let answer = request(&reader).send().await;
                let document = answer.json();
                let code = document["code"].as_str().unwrap();
                let known = ["in-flight", "outcome-unknown", "key-reused", "store-unavailable"];
                assert!(known.contains(&code), "{part} {at}: {code}");
                assert_eq!(app.world.entries(), 1, "{part} {at}: {damaged:?}");
                refused += 1;
            }
            assert!(claim.write(part, &sound).await);
        }
        println!("{setting:?}: {refused} requests refused over damaged claims");
        assert!(refused > 150);
        app.world.open("g");
        let first = connection.response().await;
        first.assert_first(201);
        request(&reader).send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
        assert_eq!(reader.idempotency.unprotected(), 0);
    }

    /// A record that says of itself that it is something else is not taken for absent.
    async fn sec9_a_record_in_another_state_runs_nothing(setting: Setting) {
        let app = setting.start().await;
        let first = app.post("/down/run").key("k").send().await;
        first.assert_first(201);
        let reader = app.sibling().await;
        let mut record = app.at_rest().await;
        if let Some(sound) = record.state().await {
            for state in [-1, 0, 1, 2, 4, 7, 255] {
                if record.set_state(state).await {
                    let answer = reader.post("/down/run").key("k").send().await;
                    answer.assert_problem(503, "store-unavailable");
                    assert_eq!(app.world.entries(), 1, "{state}");
                }
            }
            assert!(record.set_state(sound).await);
        }
        // In PostgreSQL this is what makes a record a claim: one that was lost, or has a lease.
        if record.parts().contains(&"response") {
            let sound = record.read("response").await;
            assert!(record.forget_response().await);
            let answer = reader.post("/down/run").key("k").send().await;
            let document = answer.json();
            let code = document["code"].as_str().unwrap();
            let known = ["in-flight", "outcome-unknown", "store-unavailable"];
            assert!(known.contains(&code), "{code}");
            assert_eq!(app.world.entries(), 1);
            assert!(record.write("response", &sound).await);
        }
        reader.post("/down/run").key("k").send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
    }

    /// One that is damaged does not stand in the way of others, nor for longer than it would have.
    async fn sec9_a_damaged_record_harms_no_other(setting: Setting) {
        let app = setting.start().await;
        app.post("/down/run").key("k").send().await.assert_first(201);
        let mut record = app.at_rest().await;
        let part = record.parts()[0];
        assert!(record.write(part, b"\xff").await);
        let reader = app.sibling().await;
        for number in 0..10 {
            let damaged = reader.post("/down/run").key("k").send().await;
            damaged.assert_problem(503, "store-unavailable");
            let other = reader.post("/down/run").key(format!("other-{number}"));
            let first = other.send().await;
            first.assert_first(201);
            other.send().await.assert_replay_of(&first);
        }
        assert_eq!(app.world.effects(), 11);
    }
}
