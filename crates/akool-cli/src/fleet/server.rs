//! A Restate server for trying out a fleet: [`Server`].

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use etcetera::BaseStrategy;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::Failure;
use crate::args::fleet::Up;

const NAME: &str = "restate-server";
/// How long it may take to start and to stop.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(20);

pub(super) struct Server {
    child: Child,
    /// Where its data and its log are.
    pub(super) folder: PathBuf,
}

impl Server {
    /// Starts it, on this machine's loopback only, and waits until it answers.
    pub(super) async fn start(options: &Up) -> Result<Self, Failure> {
        for address in [options.ingress, options.admin] {
            if !address.ip().is_loopback() {
                return Err(Failure::Usage(format!(
                    "{address} is not an address of this machine only: ingress and admin API have no authentication; \
                     run a server of your own behind a proxy"
                )));
            }
        }
        let program = program(options.restate_server.as_deref())?;
        let folder = folder()?;
        let problem = |error: std::io::Error| {
            Failure::Usage(format!("the folder {} cannot be used: {error}", folder.display()))
        };
        std::fs::create_dir_all(&folder).map_err(problem)?;
        let log = std::fs::File::create(folder.join("server.log")).map_err(problem)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new(&program);
        command
            .args(["--listen-mode", "tcp", "--no-logo"])
            // The data belongs to a node and a cluster of these names.
            .envs([("RESTATE_CLUSTER_NAME", "akool"), ("RESTATE_NODE_NAME", "akool")])
            .env("RESTATE_BASE_DIR", &folder)
            .envs([("RESTATE_BIND_IP", "127.0.0.1"), ("RESTATE_USE_RANDOM_PORTS", "true")])
            .env("RESTATE_INGRESS__BIND_ADDRESS", options.ingress.to_string())
            .env("RESTATE_ADMIN__BIND_ADDRESS", options.admin.to_string())
            .env("RESTATE_DISABLE_TELEMETRY", "true")
            // Each partition writes batches of its own: with the 24 of the default, a poll costs half as much CPU again.
            // The number stays what it was at the first start.
            .env("RESTATE_DEFAULT_NUM_PARTITIONS", (cores / 2).max(1).to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(problem)?)
            .stderr(log)
            .kill_on_drop(true);
        // Ctrl-C ends the worker first, which then ends the server.
        #[cfg(unix)]
        command.process_group(0);
        let child = command
            .spawn()
            .map_err(|error| Failure::Usage(format!("cannot start {}: {error}", program.display())))?;
        let mut server = Self { child, folder };
        server.wait_until_ready(options.ingress, options.admin).await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self, ingress: SocketAddr, admin: SocketAddr) -> Result<(), Failure> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build();
        let http = http.map_err(|error| Failure::Usage(error.to_string()))?;
        let urls = [format!("http://{ingress}/restate/health"), format!("http://{admin}/health")];
        let began = Instant::now();
        for url in urls {
            while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                let log = self.folder.join("server.log");
                let log = log.display();
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Err(Failure::Usage(format!("{NAME} ended at its start ({status}); see {log}")));
                }
                if began.elapsed() > START {
                    return Err(Failure::Usage(format!("{NAME} did not become ready; see {log}")));
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Returns when it ends by itself.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it, so that it writes everything to disk first.
    pub(super) async fn stop(mut self) {
        #[cfg(unix)]
        if let Some(id) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            if timeout(STOP, self.child.wait()).await.is_ok() {
                return;
            }
        }
        let _ = self.child.kill().await;
    }
}

/// The program that was given, or the one on the PATH.
fn program(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let install = install();
    if let Some(given) = given {
        if given.is_file() {
            return Ok(given.to_owned());
        }
        return Err(Failure::Usage(format!("there is no program {}; {install}", given.display())));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(NAME)).find(|file| file.is_file());
    found.ok_or_else(|| Failure::Usage(format!("there is no {NAME} on the PATH; {install}")))
}

/// What to do if there is none. The package for one platform has nothing but the server.
fn install() -> String {
    let system = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let package = format!("@restatedev/{NAME}-{system}-{processor}");
    format!(
        "install it with `npm install --prefix restate --ignore-scripts {package}`, and use `--restate-server \
         restate/node_modules/{package}/bin/{NAME}`"
    )
}

/// The folder of its data: `fleet` beside the ledger.
fn folder() -> Result<PathBuf, Failure> {
    let strategy = etcetera::choose_base_strategy();
    let strategy = strategy.map_err(|_| {
        Failure::Usage("there is no folder for the server's data: set XDG_STATE_HOME or HOME".to_owned())
    })?;
    let folder = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
    Ok(folder.join("akool").join(OsStr::new("fleet")))
}
