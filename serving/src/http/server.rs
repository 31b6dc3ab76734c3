//! A router on a port.

use std::future::Future;
use std::net::SocketAddr;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::error::{Result, ServingError};

/// A port that is open; connections wait until [`serve`](Self::serve) takes them.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Opens a port: `127.0.0.1:8080`, or port 0 for any free one.
///
/// **Errors**: [`ServingError::Listen`] names the address: kind `AlreadyExists` when the port is in use,
/// `Denied` when it needs more rights, `Invalid` when it is not an address of this machine.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), boathouse_serving::ServingError> {
/// let first = boathouse_serving::http::bind("127.0.0.1:0").await?;
/// let second = boathouse_serving::http::bind(&first.address().to_string()).await;
/// assert!(second.unwrap_err().to_string().starts_with(&format!("listen on {}", first.address())));
/// # Ok(()) }
/// ```
pub async fn bind(address: &str) -> Result<Listening> {
    let failed = |source| ServingError::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok(Listening { listener, address: bound })
}

impl Listening {
    /// The address, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until `shutdown` resolves, then takes no new connections and waits for the requests that run.
    ///
    /// Dropping the future drops the connections.
    ///
    /// **Errors**: [`ServingError::Serve`].
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let address = self.address;
        // A reply is one small write: waiting to fill a packet would only delay it.
        let listener = self.listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "serving.accept: replies may be delayed");
            }
        });
        axum::serve(listener, router)
            .with_graceful_shutdown(shutdown)
            .await
            .map_err(|source| ServingError::Serve { address: address.to_string(), source })
    }
}

/// Opens a port and serves on it until `shutdown` resolves: [`bind`] and [`Listening::serve`] in one.
///
/// **Errors**: [`ServingError::Listen`], [`ServingError::Serve`].
pub async fn serve(router: Router, address: &str, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    bind(address).await?.serve(router, shutdown).await
}
