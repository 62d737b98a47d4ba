//! Waits for the signals that interrupt the program: [`interruption`].

/// Returns on Ctrl-C, on SIGTERM, or if the terminal is closed.
pub(crate) async fn interruption() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        if let (Ok(mut terminate), Ok(mut hang_up)) =
            (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
        {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // No handler could be installed, so the system ends the process on Ctrl-C.
        std::future::pending::<()>().await;
    }
}
