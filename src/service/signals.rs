//! Waits for the operating system to ask for a shutdown.

/// The signals that ask for a shutdown, caught from `listen` on.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::SignalKind;
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Self { terminate: caught(terminate), interrupt: caught(interrupt) }
    }

    /// Completes when the process is asked to end: SIGTERM or Ctrl-C.
    pub(super) async fn requested(mut self) {
        tokio::select! {
            () = received(&mut self.terminate) => {}
            () = received(&mut self.interrupt) => {}
        }
    }
}

/// A signal that cannot be caught ends the process at once. Nothing is lost: it is as a crash.
#[cfg(unix)]
fn caught(kind: tokio::signal::unix::SignalKind) -> Option<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(kind)
        .inspect_err(|error| tracing::warn!(%error, ?kind, "a signal cannot be caught"))
        .ok()
}

#[cfg(unix)]
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> Self {
        Self {}
    }

    /// Completes when the process is asked to end by Ctrl-C.
    pub(super) async fn requested(self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "Ctrl-C cannot be caught");
            std::future::pending::<()>().await;
        }
    }
}
