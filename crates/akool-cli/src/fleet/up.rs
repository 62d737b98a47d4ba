//! `akool fleet up`: a Restate server and a worker, for trying out a fleet.

use akool_restate::Worker;
use serde_json::json;
use url::Url;

use super::{
    Failure,
    server::Server,
    worker::{bind, connect, failed},
};
use crate::{
    args::{Global, fleet::Up},
    interrupt::interruption,
    report::Report,
};

pub(super) async fn run(options: &Up, global: &Global, report: &Report) -> Result<(), Failure> {
    let stop = interruption();
    let connection = connect(global, report).await?;
    let url = |address| {
        Url::parse(&format!("http://{address}/")).map_err(|error| Failure::Usage(error.to_string()))
    };
    let (ingress, admin) = (url(options.ingress)?, url(options.admin)?);
    let builder =
        Worker::builder().ingress([ingress.clone()]).admin(admin.clone()).listen(options.listen.listen);
    let worker = bind(builder, &connection, &options.account)?;
    let mut server = Server::start(options).await?;
    let shown = ingress.as_str().trim_end_matches('/');
    if report.is_json() {
        report.object(&json!({ "event": "listening", "url": shown }));
    }
    report.line(format_args!(
        "The fleet listens on {shown}, its UI and admin API on {admin}; its data is in {}. Stop it with Ctrl-C.",
        server.folder.display()
    ));
    let mut died = None;
    let served = {
        let stop = async {
            tokio::select! {
                () = stop => {}
                ended = server.ended() => died = Some(ended),
            }
        };
        worker.serve(stop).await
    };
    let log = server.folder.join("server.log");
    server.stop().await;
    if let Some(ended) = died {
        let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        return Err(Failure::Unreachable(
            format!("the Restate server ended ({status}); see {}", log.display()),
            "start the fleet again",
        ));
    }
    served.map_err(failed)
}
