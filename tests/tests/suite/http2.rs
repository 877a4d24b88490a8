//! Over HTTP/2, where many requests share a connection, and a client goes away by resetting a
//! stream of it.

use idempotent_tests::{Framework, Http2, Plan, both, eventually, soon};

both! {
    async fn a_version_of_http_is_no_part_of_a_request(framework: Framework) {
        let app = framework.start().await;
        let connection = Http2::to(app.address());
        let request = app.post("/pay").key("k").body("one");
        let first = connection.send(&request).await;
        first.assert_first(201);
        connection.send(&request).await.assert_replay_of(&first);
        request.send().await.assert_replay_of(&first);
        let other = connection.send(&request.clone().body("two")).await;
        other.assert_problem(422, "key-reused");

        let request = app.post("/pay").key("other").body("one");
        let first = request.send().await;
        connection.send(&request).await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 2);
    }

    async fn of_the_streams_of_one_connection_one_runs(framework: Framework) {
        let app = framework.start().await;
        let connection = Http2::to(app.address());
        let request = app.post("/pay").key("k").plan(&Plan::gate("g"));
        let first = tokio::spawn({
            let (connection, request) = (connection.clone(), request.clone());
            async move { connection.send(&request).await }
        });
        app.world.entered(1).await;
        for _ in 0..20 {
            let rival = connection.send(&request).await;
            rival.assert_problem(409, "in-flight");
        }
        app.world.open("g");
        let first = soon("the response", first).await.unwrap();
        first.assert_first(201);
        connection.send(&request).await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
    }

    async fn a_stream_that_is_reset_leaves_its_handler_running(framework: Framework) {
        let app = framework.start().await;
        let connection = Http2::to(app.address());
        let request = app.post("/pay").key("k").plan(&Plan::gate("g"));
        let gone = tokio::spawn({
            let (connection, request) = (connection.clone(), request.clone());
            async move { connection.send(&request).await }
        });
        app.world.entered(1).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        // actix-web itself goes on with what a reset stream has asked for.
        if framework == Framework::Axum {
            eventually("it goes on alone", || app.idempotency.detached() == 1).await;
        }
        let rival = connection.send(&request).await;
        rival.assert_problem(409, "in-flight");
        app.world.open("g");
        soon("it ends", app.idempotency.drain()).await;
        connection.send(&request).await.assert_replay(201);
        assert_eq!((app.world.entries(), app.world.effects()), (1, 1));
    }
}
