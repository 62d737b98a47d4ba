//! The workloads of the row `economy`: distributions of a job's duration, and the optimal polls for each.

use std::f64::consts::{PI, SQRT_2};

use fastrand::Rng;

/// A distribution of the time from a job's creation to its end, in seconds: log-normal, plus stuck jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// The median of the log-normal part.
    median: f64,
    sigma: f64,
    /// The share of jobs that take as long as [`STUCK`] says.
    stuck: f64,
}

/// The range of the durations of stuck jobs, which are evenly distributed.
const STUCK: (f64, f64) = (1800.0, 7200.0);

pub(crate) const WORKLOADS: [Workload; 7] = [
    Workload { median: 60.0, sigma: 0.25, stuck: 0.0 },
    Workload { median: 60.0, sigma: 0.8, stuck: 0.0 },
    Workload { median: 180.0, sigma: 0.25, stuck: 0.0 },
    Workload { median: 180.0, sigma: 0.8, stuck: 0.0 },
    Workload { median: 900.0, sigma: 0.25, stuck: 0.0 },
    Workload { median: 900.0, sigma: 0.8, stuck: 0.0 },
    Workload { median: 180.0, sigma: 0.5, stuck: 0.05 },
];

impl Workload {
    pub(crate) fn name(&self) -> String {
        let stuck = if self.stuck > 0.0 { ", 5 % stuck" } else { "" };
        format!("{} s, sigma {}{stuck}", self.median, self.sigma)
    }

    pub(crate) fn draw(&self, random: &mut Rng) -> f64 {
        if random.f64() < self.stuck {
            return STUCK.0 + random.f64() * (STUCK.1 - STUCK.0);
        }
        // The Box-Muller transform.
        let normal = (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (2.0 * PI * random.f64()).cos();
        self.median * (self.sigma * normal).exp()
    }

    /// The share of all jobs that end per second at this age.
    fn density(&self, age: f64) -> f64 {
        let z = (age / self.median).ln() / self.sigma;
        let regular = (-z * z / 2.0).exp() / (age * self.sigma * SQRT_2 * PI.sqrt());
        let stuck = if (STUCK.0..STUCK.1).contains(&age) { self.stuck / (STUCK.1 - STUCK.0) } else { 0.0 };
        (1.0 - self.stuck) * regular + stuck
    }
}

/// The optimal polls for a known distribution: their density is the square root of the hazard
/// divided by twice the cost of a poll (J. B. Keller, Optimum checking schedules for systems
/// subject to random failure, 1974).
pub(crate) struct Optimum {
    /// The integral of the square root of half the hazard, up to the end of each step.
    integral: Vec<f64>,
}

/// The step of the integration, in seconds.
const STEP: f64 = 0.25;
/// The end of the integration, in seconds. Only one job in many millions takes longer.
const LONGEST: f64 = 60_000.0;

impl Optimum {
    pub(crate) fn of(workload: &Workload) -> Self {
        let steps = (LONGEST / STEP) as usize;
        let density = |step: usize| workload.density((step as f64 + 0.5) * STEP);
        let mut running = vec![0.0; steps + 1];
        for step in (0..steps).rev() {
            running[step] = running[step + 1] + density(step) * STEP;
        }
        let mut sum = 0.0;
        let integral = (0..steps)
            .map(|step| {
                let alive = f64::midpoint(running[step], running[step + 1]);
                // Beyond the precision of the numbers, this is one poll in ten minutes.
                let hazard = if alive > 1e-12 { density(step) / alive } else { 1e-6 };
                sum += (hazard / 2.0).sqrt() * STEP;
                sum
            })
            .collect();
        Self { integral }
    }

    /// The ages at which to poll after the first poll at the start, if a poll costs as much as so many
    /// seconds of delay.
    pub(crate) fn schedule(&self, cost: f64) -> Vec<f64> {
        let factor = cost.sqrt().recip();
        let most = self.integral.last().map_or(0.0, |sum| sum * factor) as usize;
        let mut step = 0;
        (1..=most)
            .map(|poll| {
                while self.integral[step] * factor < poll as f64 {
                    step += 1;
                }
                (step as f64 + 1.0) * STEP
            })
            .collect()
    }
}
