//! Batches that were run here, counted as Python counts its own (`observability.batching_metrics`), which adds both.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Without `allowed_batch_sizes` every number of rows is a size of its own.
const MAX_EXECUTION_SIZES: usize = 128;

/// Upper limits of the histograms, as Python has them.
#[derive(Clone, Default)]
pub struct Limits {
    pub sizes: Vec<f64>,
    pub seconds: Vec<f64>,
    pub microseconds: Vec<f64>,
}

/// Values in each bucket, one more for those above all limits, and the sum of the values.
pub type Histogram = (Vec<u64>, f64);

/// Batches, padding rows; sizes of batches, sizes of requests, waits in seconds and in microseconds; padding by size.
pub type Counts = (u64, u64, Vec<Histogram>, Vec<(usize, Histogram)>);

/// Model, version, signature.
pub type Key = (String, i64, String);

fn empty(limits: &[f64]) -> Histogram {
    (vec![0; limits.len() + 1], 0.0)
}

fn add(histogram: &mut Histogram, limits: &[f64], value: f64) {
    let bucket = limits.partition_point(|limit| *limit < value);
    if let Some(count) = histogram.0.get_mut(bucket) {
        *count += 1;
    }
    histogram.1 += value;
}

struct Counted {
    runs: u64,
    surplus: u64,
    size: Histogram,
    requests: Histogram,
    seconds: Histogram,
    microseconds: Histogram,
    padding: BTreeMap<usize, Histogram>,
}

/// The batches of one signature of one version.
pub struct Series {
    limits: Arc<Limits>,
    counted: Mutex<Counted>,
}

impl Series {
    fn new(limits: Arc<Limits>) -> Series {
        let counted = Counted {
            runs: 0,
            surplus: 0,
            size: empty(&limits.sizes),
            requests: empty(&limits.sizes),
            seconds: empty(&limits.seconds),
            microseconds: empty(&limits.microseconds),
            padding: BTreeMap::new(),
        };
        Series {
            limits,
            counted: Mutex::new(counted),
        }
    }

    /// Count a batch of `size` rows: the rows of each request, and the seconds that it waited.
    pub fn add(&self, requests: impl Iterator<Item = (usize, f64)>, size: usize) {
        let limits = &*self.limits;
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = 0;
        for (rows, waited) in requests {
            sum += rows;
            add(&mut counted.requests, &limits.sizes, rows as f64);
            add(&mut counted.seconds, &limits.seconds, waited);
            add(
                &mut counted.microseconds,
                &limits.microseconds,
                waited * 1e6,
            );
        }
        let surplus = size.saturating_sub(sum);
        counted.runs += 1;
        counted.surplus += surplus as u64;
        add(&mut counted.size, &limits.sizes, size as f64);
        let padding = &mut counted.padding;
        if padding.len() < MAX_EXECUTION_SIZES || padding.contains_key(&size) {
            let padding = padding.entry(size).or_insert_with(|| empty(&limits.sizes));
            add(padding, &limits.sizes, surplus as f64);
        }
    }

    fn counts(&self) -> Counts {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let histograms = [
            &counted.size,
            &counted.requests,
            &counted.seconds,
            &counted.microseconds,
        ];
        let padding = counted.padding.iter();
        (
            counted.runs,
            counted.surplus,
            histograms.into_iter().cloned().collect(),
            padding.map(|(size, one)| (*size, one.clone())).collect(),
        )
    }
}

/// Every series there ever was: a counter must not fall when its version is unloaded.
pub struct Metrics {
    limits: Arc<Limits>,
    series: Mutex<HashMap<Key, Arc<Series>>>,
}

impl Metrics {
    pub fn new(limits: Limits) -> Metrics {
        Metrics {
            limits: Arc::new(limits),
            series: Mutex::default(),
        }
    }

    pub fn series(&self, key: Key) -> Arc<Series> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Series::new(Arc::clone(&self.limits)));
        Arc::clone(all.entry(key).or_insert_with(new))
    }

    /// What was counted, of the series in which anything was.
    pub fn snapshot(&self) -> Vec<(Key, Counts)> {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = all.iter().map(|(key, one)| (key.clone(), one.counts()));
        counts.filter(|(_, counts)| counts.0 > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_counts_its_requests_and_what_fills_it_up() {
        let metrics = Metrics::new(Limits {
            sizes: vec![1.0, 2.0, 4.0],
            seconds: vec![0.5],
            microseconds: vec![1e5],
        });
        let key: Key = ("m".into(), 1, "s".into());
        let series = metrics.series(key.clone());
        assert!(metrics.snapshot().is_empty());
        series.add([(1, 0.25), (2, 0.75)].into_iter(), 4);
        series.add([(8, 0.0)].into_iter(), 8);
        let found = metrics.snapshot();
        assert_eq!(found[0].0, key);
        let (runs, surplus, histograms, padding) = &found[0].1;
        assert_eq!((*runs, *surplus), (2, 1));
        assert_eq!(histograms[0], (vec![0, 0, 1, 1], 12.0));
        assert_eq!(histograms[1], (vec![1, 1, 0, 1], 11.0));
        assert_eq!(histograms[2], (vec![2, 1], 1.0));
        assert_eq!(histograms[3], (vec![1, 2], 1e6));
        assert_eq!(padding[0], (4, (vec![1, 0, 0, 0], 1.0)));
        assert_eq!(padding[1], (8, (vec![1, 0, 0, 0], 0.0)));
    }
}
