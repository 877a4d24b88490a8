//! When to stop, and for how long stopping may take.

use std::{future::Future, io, time::Duration};

use tokio::task::JoinHandle;

/// How long those who are being served are waited for.
const GRACE: Duration = Duration::from_secs(30);

/// Lets the server serve until the process is asked to stop: SIGTERM or SIGINT (Ctrl-C).
///
/// # Errors
///
/// When the server ends before that.
pub async fn until_stop(server: &mut JoinHandle<io::Result<()>>) -> io::Result<()> {
    tokio::select! {
        () = stop() => Ok(()),
        ended = server => Err(match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => io::Error::other("the server ended by itself"),
            Err(panic) => panic.into(),
        }),
    }
}

/// Stops: does `work`, but gives up after 30 seconds, or when the process is asked to stop again.
pub async fn within_grace(work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => tracing::info!("stopped"),
        () = tokio::time::sleep(GRACE) => tracing::warn!("stopped before all was done: too late"),
        () = stop() => tracing::warn!("stopped before all was done: asked to"),
    }
}

async fn stop() {
    match signal().await {
        Ok(name) => tracing::info!(signal = name, "stopping"),
        Err(error) => {
            tracing::error!(%error, "cannot wait for signals, so none will stop this process");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
async fn signal() -> io::Result<&'static str> {
    use tokio::signal::unix;

    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

#[cfg(not(unix))]
async fn signal() -> io::Result<&'static str> {
    tokio::signal::ctrl_c().await?;
    Ok("Ctrl-C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_ends_is_an_error() {
        let mut failed = tokio::spawn(async { Err(io::Error::other("no worker")) });
        let error = until_stop(&mut failed).await.unwrap_err();
        assert_eq!(error.to_string(), "no worker");
        let mut ended = tokio::spawn(async { Ok(()) });
        until_stop(&mut ended).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_given_up() {
        let start = tokio::time::Instant::now();
        within_grace(std::future::pending()).await;
        assert_eq!(start.elapsed(), GRACE);
    }
}
