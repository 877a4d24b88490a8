//! Headers that are many, huge or without end, and keys that are none.

use super::{Scale, Told, bodies::each};
use crate::{
    Failure,
    http::{head, post},
    process::Server,
    server::FLOODS,
};

/// By turns: many headers, a huge one, headers without end, and many keys.
pub(super) async fn headers(server: &Server, scale: Scale) -> Result<Told, Failure> {
    each(server, scale, |mut connection, number| async move {
        let headers = match number % 4 {
            0 => "X-Flood: 1\r\n".repeat(5_000),
            1 => format!("X-Flood: {}\r\n", "1".repeat(1 << 20)),
            2 => {
                let start = head("/pay", "headers", "Idempotency-Key: k");
                connection
                    .send(start.strip_suffix(b"\r\n").unwrap_or(&start))
                    .await?;
                let many = "X-Flood: 1\r\n".repeat(1_000);
                for _ in 0..200 {
                    if connection.send(many.as_bytes()).await.is_err() {
                        break;
                    }
                }
                return connection.answer().await;
            }
            _ => "Idempotency-Key: k\r\n".repeat(90),
        };
        let headers = format!("{headers}Content-Length: 0\r\n");
        // What is refused half-way may be answered all the same.
        let _ = connection.send(&head("/pay", "headers", &headers)).await;
        connection.answer().await
    })
    .await
}

/// Of 255 characters, of one more, and of many more, by turns; the first kind is sent twice.
pub(super) async fn long_keys(server: &Server, scale: Scale) -> Result<Told, Failure> {
    each(server, scale, |mut connection, number| async move {
        let length = [255, 255, 256, 1_000, 8_000][number % 5];
        // The second of two with the same key.
        let operation = FLOODS + number - usize::from(number % 5 == 1);
        let key = format!("{operation:0length$}");
        connection.ask(&post("/pay", "long", &key, operation)).await
    })
    .await
}
