//! Waits for the signals that interrupt the program: [`interruption`].

/// Completes on Ctrl-C, on SIGTERM, or if the terminal is closed. The signals are handled from this call on, not from the
/// first poll. A program that was started by `nohup` goes on without its terminal.
#[cfg(unix)]
pub(crate) fn interruption() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};

    let ignored = ignores_hang_up();
    let handlers = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
        .map(|kind| signal(kind).ok());
    async move {
        let [interrupt, terminate, hang_up] = handlers.map(|handler| async {
            match handler {
                Some(mut handler) => handler.recv().await.unwrap_or_default(),
                // No handler could be installed, so the system ends the process.
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            () = interrupt => {}
            () = terminate => {}
            () = hang_up, if !ignored => {}
        }
    }
}

/// Completes on Ctrl-C.
#[cfg(not(unix))]
pub(crate) async fn interruption() {
    if tokio::signal::ctrl_c().await.is_err() {
        // No handler could be installed, so the system ends the process on Ctrl-C.
        std::future::pending::<()>().await;
    }
}

/// Whether the program was started with SIGHUP ignored. It is read once, before the first handler replaces that.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    static IGNORES: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *IGNORES.get_or_init(|| {
        // Only Linux tells this in a file.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // SIGHUP is signal 1, and so bit 0.
        mask.is_some_and(|mask| mask & 1 == 1)
    })
}
