//! CPU time of this thread instead of wall time: machines are busy.

use std::{env, fs};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// What criterion measures.
pub(super) struct CpuTime;

impl CpuTime {
    /// Nanoseconds (Linux, `Documentation/scheduler/sched-stats.rst`: the first figure of `schedstat`).
    fn now() -> u64 {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        text.split(' ').next().and_then(|it| it.parse().ok()).expect("Linux tells the CPU time")
    }
}

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        Self::now()
    }

    fn end(&self, start: u64) -> u64 {
        Self::now() - start
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    #[expect(clippy::cast_precision_loss, reason = "a measurement has no 15 digits")]
    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// The median of a measurement (nanoseconds), as criterion has written it.
pub(super) fn median(name: &str) -> Option<f64> {
    let target = env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let text = fs::read_to_string(format!("{target}/criterion/{name}/new/estimates.json")).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    value.pointer("/median/point_estimate")?.as_f64()
}
