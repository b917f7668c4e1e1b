//! Requests that were answered here, counted as Python counts its own; the metrics page adds both.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper limits of the histograms, as Python has them.
#[derive(Clone, Default)]
pub struct Buckets {
    pub seconds: Vec<f64>,
    pub classic_microseconds: Vec<f64>,
}

struct Histogram {
    counts: Vec<AtomicU64>,
}

impl Histogram {
    /// One bucket more than limits, for what is above them all.
    fn new(limits: usize) -> Histogram {
        Histogram {
            counts: (0..=limits).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn add(&self, limits: &[f64], value: f64) {
        if let Some(count) = self
            .counts
            .get(limits.partition_point(|limit| *limit < value))
        {
            count.fetch_add(1, Relaxed);
        }
    }

    fn snapshot(&self) -> Vec<u64> {
        self.counts
            .iter()
            .map(|count| count.load(Relaxed))
            .collect()
    }
}

/// All requests of one signature of one version that were answered OK.
pub struct Series {
    buckets: Arc<Buckets>,
    seconds: Histogram,
    classic: Histogram,
    nanoseconds: AtomicU64,
    runs: Histogram,
    run_nanoseconds: AtomicU64,
}

/// What a series has counted: the fields of `Series`, totals in seconds.
pub type Counts = (Vec<u64>, Vec<u64>, f64, Vec<u64>, f64);

impl Series {
    fn new(buckets: Arc<Buckets>) -> Series {
        let (seconds, classic) = (buckets.seconds.len(), buckets.classic_microseconds.len());
        Series {
            buckets,
            seconds: Histogram::new(seconds),
            classic: Histogram::new(classic),
            nanoseconds: AtomicU64::new(0),
            runs: Histogram::new(classic),
            run_nanoseconds: AtomicU64::new(0),
        }
    }

    /// Count a request that took so long in all, and whose run took so long.
    pub fn add(&self, whole: Duration, run: Duration) {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        self.seconds.add(&self.buckets.seconds, whole.as_secs_f64());
        self.classic
            .add(&self.buckets.classic_microseconds, micros(whole));
        self.nanoseconds.fetch_add(nanoseconds(whole), Relaxed);
        self.runs
            .add(&self.buckets.classic_microseconds, micros(run));
        self.run_nanoseconds.fetch_add(nanoseconds(run), Relaxed);
    }

    fn counts(&self) -> Counts {
        let seconds = |total: &AtomicU64| total.load(Relaxed) as f64 / 1e9;
        (
            self.seconds.snapshot(),
            self.classic.snapshot(),
            seconds(&self.nanoseconds),
            self.runs.snapshot(),
            seconds(&self.run_nanoseconds),
        )
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Model, version, signature. Version 0 stands for all those for which there was no room.
pub type Key = (String, i64, String);

const MAX_SERIES: usize = 10_000;

/// Every series there ever was: a counter must not fall when its version is unloaded.
#[derive(Default)]
pub struct Metrics {
    buckets: Arc<Buckets>,
    series: Mutex<HashMap<Key, Arc<Series>>>,
}

impl Metrics {
    pub fn new(buckets: Buckets) -> Metrics {
        Metrics {
            buckets: Arc::new(buckets),
            series: Mutex::default(),
        }
    }

    pub fn series(&self, model: &str, version: i64, signature: &str) -> Arc<Series> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (model.to_owned(), version, signature.to_owned());
        if all.len() >= MAX_SERIES && !all.contains_key(&key) {
            key = (model.to_owned(), 0, String::new());
        }
        let new = || Arc::new(Series::new(Arc::clone(&self.buckets)));
        Arc::clone(all.entry(key).or_insert_with(new))
    }

    pub fn snapshot(&self) -> Vec<(Key, Counts)> {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(key, series)| (key.clone(), series.counts()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_a_limit_falls_below_it_and_what_is_above_all_into_the_last_bucket() {
        let metrics = Metrics::new(Buckets {
            seconds: vec![0.5, 1.0],
            classic_microseconds: vec![1e6],
        });
        let series = metrics.series("m", 1, "s");
        for millis in [500, 501, 2000] {
            series.add(Duration::from_millis(millis), Duration::from_millis(1));
        }
        let found = metrics.snapshot();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.0, [1, 1, 1]);
        assert_eq!(found[0].1.1, [2, 1]);
        assert_eq!(found[0].1.3, [3, 0]);
        assert!((found[0].1.2 - 3.001).abs() < 1e-9);
    }

    #[test]
    fn a_version_that_comes_back_goes_on_counting_and_there_is_a_bound() {
        let metrics = Metrics::new(Buckets::default());
        metrics
            .series("m", 1, "s")
            .add(Duration::ZERO, Duration::ZERO);
        metrics
            .series("m", 1, "s")
            .add(Duration::ZERO, Duration::ZERO);
        assert_eq!(metrics.snapshot()[0].1.0, [2]);
        for version in 0..MAX_SERIES as i64 + 10 {
            metrics.series("m", version, "s");
        }
        assert_eq!(metrics.snapshot().len(), MAX_SERIES + 1);
    }
}
