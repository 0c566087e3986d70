//! What a client needs of a service config if its library reads none: how a call is repeated.

use std::error::Error;
use std::time::Duration;

use serde_json::Value;

/// How often a call is tried, and how long to wait in between.
#[derive(Clone, Copy)]
pub(crate) struct RetryPolicy {
    pub(crate) attempts_max: i32,
    backoff: Duration,
    backoff_max: Duration,
    backoff_factor: f64,
}

impl RetryPolicy {
    /// Reads a file that has one method, as docs/clients/service-config.json does.
    pub(crate) fn read(file: &str) -> Result<Self, Box<dyn Error>> {
        let config: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        let retry = &config["methodConfig"][0]["retryPolicy"];
        if retry["retryableStatusCodes"] != serde_json::json!(["UNAVAILABLE"]) {
            return Err("this client repeats calls on UNAVAILABLE only".into());
        }
        let number = |value: &Value| {
            value
                .as_f64()
                .ok_or("a number of the retryPolicy is missing")
        };
        Ok(Self {
            attempts_max: serde_json::from_value(retry["maxAttempts"].clone())?,
            backoff: duration(&retry["initialBackoff"])?,
            backoff_max: duration(&retry["maxBackoff"])?,
            backoff_factor: number(&retry["backoffMultiplier"])?,
        })
    }

    /// How long to wait after so many attempts. `chance` is 0 to 1, so that clients that failed together do not come
    /// back together: as gRPC does, a fifth more or less.
    pub(crate) fn pause(&self, attempts_before: i32, chance: f64) -> Duration {
        let factor = self.backoff_factor.powi(attempts_before - 1);
        let backoff = self.backoff.mul_f64(factor).min(self.backoff_max);
        backoff.mul_f64(0.8 + 0.4 * chance)
    }
}

/// Durations are seconds with an `s` behind them.
fn duration(value: &Value) -> Result<Duration, Box<dyn Error>> {
    let seconds = value.as_str().and_then(|text| text.strip_suffix('s'));
    let seconds: f64 = seconds.ok_or("a duration is missing")?.parse()?;
    Ok(Duration::try_from_secs_f64(seconds)?)
}
