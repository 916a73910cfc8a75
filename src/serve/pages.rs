//! The pages of the daemon: their address, their token, their thread.

use anyhow::{Context, Result, bail};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use web_ui::{Site, Token};

pub(super) fn read_token(path: &Path) -> Result<Token> {
    Token::read(path).with_context(|| format!("cannot use the token in `{}`", path.display()))
}

/// Takes the address.
pub(super) fn bind(listen: &str, has_token: bool) -> Result<TcpListener> {
    let found: Vec<SocketAddr> = (listen.to_socket_addrs())
        .with_context(|| {
            format!("`{listen}` is not an address with a port, such as 127.0.0.1:5000")
        })?
        .collect();
    let is_open = found.iter().any(|address| !address.ip().is_loopback());
    if is_open && !has_token {
        bail!(
            "others can reach {listen}: make a token and name its file, as in `openssl rand -hex 32 \
             > token; tidemill serve --listen {listen} --token-file token`"
        );
    }
    let port = found.first().map_or(5000, SocketAddr::port);
    TcpListener::bind(found.as_slice()).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "{listen} is in use, by another daemon or another program; choose another port, such \
             as --listen 127.0.0.1:{}",
            port.wrapping_add(1)
        ),
        _ => anyhow::Error::new(error).context(format!("cannot listen at {listen}")),
    })
}

/// The thread that answers.
pub(super) struct Pages {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Pages {
    pub(super) fn open(site: Arc<Site>, listener: TcpListener) -> Result<Pages> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(8)
            .thread_name("pages")
            .build()?;
        let serve = move || {
            let stopped = async {
                // Dropped, it stops too.
                let _ = stopped.await;
            };
            if let Err(error) = runtime.block_on(web_ui::serve(site, listener, stopped)) {
                tracing::error!("the pages are gone: {error}");
            }
            // Nobody waits for the answers that are still being made.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("pages".into()).spawn(serve)?;
        Ok(Pages { stop, thread })
    }

    pub(super) fn close(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}
