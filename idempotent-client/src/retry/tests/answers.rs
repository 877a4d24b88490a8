//! Which attempts are followed by another one, and what is told of the last.

use super::*;
use crate::RetryPolicy;

#[tokio::test(start_paused = true)]
async fn what_may_be_sent_again_is() {
    for event in [
        Lost,
        Silence,
        Problem(409, "in-flight"),
        Event::Answer(408),
        Event::Answer(429),
        Event::Answer(502),
        Event::Answer(503),
        Event::Answer(504),
    ] {
        let (status, attempts) = once([event, event, Replay(201)]).await.unwrap();
        assert_eq!(status, 201);
        assert_eq!(attempts.count(), 3);
        assert!(attempts.is_replay() && attempts.is_certain() && !attempts.is_key_kept());
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_is_not() {
    for (event, is_certain) in [
        (Event::Answer(201), true),
        (Event::Answer(400), true),
        (Event::Answer(401), true),
        (Event::Answer(422), true),
        (Problem(422, "key-reused"), false),
        (Problem(409, "outcome-unknown"), false),
        (Problem(409, "response-not-kept"), true),
        (Event::Answer(409), false),
        (Event::Answer(500), false),
        (Replay(500), false),
        (Replay(503), false),
        (Replay(429), true),
    ] {
        let (_, attempts) = once([event]).await.unwrap();
        assert_eq!(attempts.count(), 1, "{event:?}");
        assert_eq!(attempts.is_certain(), is_certain, "{event:?}");
        assert_eq!(attempts.is_key_kept(), !is_certain, "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_given_whatever_it_is() {
    let (status, attempts) = once([Event::Answer(503); 8]).await.unwrap();
    assert_eq!((status, attempts.count()), (503, 8));
    assert!(!attempts.is_certain() && attempts.is_key_kept());
}

#[tokio::test(start_paused = true)]
async fn the_last_error_says_what_is_known() {
    let error = once([Lost; 8]).await.unwrap_err();
    assert!(error.is_uncertain());
    let text = error.to_string();
    let hash = error.key().unwrap().short_hash();
    assert!(text.starts_with(&format!("operation #{hash} ")), "{text}");
    assert!(text.contains("after 8 attempts"), "{text}");
    assert!(!text.contains(error.key().unwrap().as_str()));
    assert!(!format!("{error:?}").contains(error.key().unwrap().as_str()));

    let error = once([NotSent]).await.unwrap_err();
    assert!(!error.is_uncertain());
    let error = once([Lost, NotSent]).await.unwrap_err();
    assert!(error.is_uncertain());
    let error = once([Fatal]).await.unwrap_err();
    assert!(error.is_uncertain());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_attempt_is_not_certain() {
    let (status, attempts) = once([Lost, Event::Answer(401)]).await.unwrap();
    assert_eq!(status, 401);
    assert!(!attempts.is_certain() && attempts.is_key_kept());

    // Nor is it in the next run, of the same operation or of another with its key; and of a key of the caller's own nobody knows here whether it was
    // sent before.
    let own = IdempotencyKey::new("invoice-4711").unwrap();
    let [once, other] = [attempts.key().clone(), own].map(Operation::with_key);
    let twice = Operation::new();
    let script = Script::new([Lost; 8]);
    let lost = script.run(&Retry::default(), &twice.clone()).await;
    lost.unwrap_err();
    for operation in [once, other, twice] {
        let script = Script::new([Event::Answer(401)]);
        let (_, again) = script.run(&Retry::default(), &operation).await.unwrap();
        assert!(!again.is_certain() && again.is_key_kept());
        let script = Script::new([NotSent]);
        let error = script.run(&Retry::default(), &operation).await.unwrap_err();
        assert!(error.is_uncertain());
        let script = Script::new([Replay(404)]);
        let (_, replayed) = script.run(&Retry::default(), &operation).await.unwrap();
        assert!(replayed.is_certain());
    }
}

#[tokio::test(start_paused = true)]
async fn the_plain_function_retries_too() {
    let script = Script::new([Lost, Event::Answer(201)]);
    let policy = RetryPolicy::default();
    let (status, attempts) = retry(&policy, &Operation::new(), |attempt| script.play(attempt))
        .await
        .unwrap();
    assert_eq!((status, attempts.count()), (201, 2));
}
