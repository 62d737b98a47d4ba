//! `akool fleet limits`: the rate limit and the pause of a credential.

use std::time::{Duration, SystemTime};

use akool_restate::{Fleet, FleetError};
use serde_json::json;

use super::Failure;
use crate::{
    args::FleetLimits,
    report::Report,
    text::{short, with_causes},
};

pub(super) async fn run(options: &FleetLimits, report: &Report) -> Result<(), Failure> {
    let fleet = Fleet::new(options.fleet.clone()).map_err(failed)?;
    let name = &options.credential;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if let Some(rate) = options.rate {
        fleet.set_rate(name, rate.0).await.map_err(failed)?;
    }
    if let Some(pause) = options.pause {
        fleet.set_pause(name, at(now.saturating_add(pause))).await.map_err(failed)?;
    }
    if options.resume {
        fleet.set_pause(name, 0).await.map_err(failed)?;
    }
    let limit = fleet.limits(name).await.map_err(failed)?;
    let pause = Duration::from_millis(limit.paused_until_ms).saturating_sub(now);
    if report.is_json() {
        report.object(&json!({
            "event": "limits", "credential": name, "calls_per_second": limit.per_second,
            "paused_seconds": pause.as_secs_f64(),
        }));
        return Ok(());
    }
    report.line(format_args!("credential  {name}"));
    match limit.per_second {
        Some(rate) => report.line(format_args!("rate        {rate} calls per second")),
        None => report.line("rate        no limit"),
    }
    match pause {
        Duration::ZERO => report.line("pause       none"),
        pause => report.line(format_args!("pause       for another {}", short(pause))),
    }
    Ok(())
}

fn failed(error: FleetError) -> Failure {
    match error {
        FleetError::Config(message) => Failure::Usage(message),
        error => Failure::Unreachable(with_causes(&error), error.help()),
    }
}
