//! A system behind a socket of its own, on one core.

use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use actix_web::{HttpServer, cookie::Key};
use anyhow::Result;

use crate::{
    apps::{self, actix::Sessions},
    system::System,
};

/// Prints the port that it listens on, and serves until the process ends.
pub(crate) fn serve(system: System) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    if system.is_actix() {
        actix(system, listener)
    } else {
        axum(system, listener)
    }
}

fn axum(system: System, listener: TcpListener) -> Result<()> {
    listener.set_nonblocking(true)?;
    crate::runtime().block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            // As actix-web does.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, apps::axum::router(system)).await?;
        Ok(())
    })
}

fn actix(system: System, listener: TcpListener) -> Result<()> {
    macro_rules! serve {
        ($app:expr) => {
            HttpServer::new($app)
                .workers(1)
                // Connections are idle while the other systems have their turn.
                .keep_alive(Duration::from_mins(10))
                .client_request_timeout(Duration::ZERO)
                .disable_signals()
                .listen(listener)?
                .run()
                .await
        };
    }
    actix_web::rt::System::new().block_on(async {
        match system {
            System::Actix => {
                let idempotency = apps::actix::idempotency();
                serve!(move || apps::actix::this_one(idempotency.clone()))
            }
            System::ActixIdempotent => {
                let (sessions, key) = (Sessions::default(), Key::generate());
                serve!(move || apps::actix::actix_idempotent(sessions.clone(), key.clone()))
            }
            _ => serve!(apps::actix::bare),
        }
    })?;
    Ok(())
}
