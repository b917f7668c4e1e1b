//! The versions that answer here, as the serving map of Python has them: who is asked for by name, number or label.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::batching::Batches;
use crate::metrics::Series;
use crate::predict::Asked;
use crate::sampling::Rates;
use crate::tensorflow::{Output, Session, Tensor};
use crate::usage::Usage;

pub struct Input {
    pub alias: String,
    pub tensor: Output,
    pub dtype: i32,
    /// Whether its first dimension is the rows of a request.
    pub has_rows: bool,
}

/// One way to call a version.
pub struct Signature {
    pub key: String,
    pub inputs: Vec<Input>,
    /// Alias and tensor, in the order of the aliases.
    pub outputs: Vec<(String, Output)>,
    /// The rows that every request must have; 0 when any number goes.
    pub rows: i64,
    pub series: Arc<Series>,
    subsets: Mutex<HashSet<Vec<usize>>>,
    /// Nanoseconds that a run takes, as far as is known.
    cost: AtomicU64,
}

/// TensorFlow keeps what it has prepared for each choice of outputs; callers must not make it keep any number.
const MAX_SUBSETS: usize = 16;
/// A new signature is taken for slow until its runs have shown otherwise.
const UNKNOWN_COST: u64 = 10_000_000;
const QUICK: u64 = 150_000;

impl Signature {
    pub fn new(
        key: String,
        inputs: Vec<Input>,
        outputs: Vec<(String, Output)>,
        rows: i64,
        series: Arc<Series>,
    ) -> Signature {
        let cost = AtomicU64::new(UNKNOWN_COST);
        Signature {
            key,
            inputs,
            outputs,
            rows,
            series,
            subsets: Mutex::default(),
            cost,
        }
    }

    /// Whether runs are so short that handing them to another thread would cost more.
    pub fn is_quick(&self) -> bool {
        self.cost.load(Relaxed) < QUICK
    }

    /// Take note of how long a run took: a moving average, in which one slow run counts at once.
    pub fn took(&self, time: Duration) {
        let now = u64::try_from(time.as_nanos())
            .unwrap_or(u64::MAX)
            .min(1 << 40);
        let before = self.cost.load(Relaxed);
        let next = if now > 8 * QUICK {
            now
        } else {
            before - before / 8 + now / 8
        };
        self.cost.store(next, Relaxed);
    }

    /// Whether this choice of outputs, in ascending order, may be run.
    pub fn admits(&self, subset: &[usize]) -> bool {
        let mut known = self.subsets.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(subset) {
            return true;
        }
        known.len() < MAX_SUBSETS && known.insert(subset.to_vec())
    }
}

/// A loaded version. One that only Python can run has no session and no signature, and is here all the same: a request
/// for the newest version must not find an older one.
pub struct Version {
    pub model: String,
    pub number: i64,
    pub session: Option<Session>,
    pub signatures: HashMap<Vec<u8>, Signature>,
    /// Where its requests run together; `None` for one that is not batched.
    pub batches: Option<Arc<Batches>>,
    pub usage: Usage,
}

/// One use of a version, until it is dropped.
pub struct InUse(Arc<Version>);

impl InUse {
    /// `None` when the version is being unloaded.
    pub fn begin(version: Arc<Version>) -> Option<InUse> {
        version.usage.enter().then(|| InUse(version))
    }
}

impl std::ops::Deref for InUse {
    type Target = Version;

    fn deref(&self) -> &Version {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.usage.leave();
    }
}

impl Version {
    /// Have TensorFlow prepare every signature, so that no request waits for it.
    ///
    /// Nothing is run: values of a wrong type are refused, which TensorFlow does after it has prepared all.
    pub fn prepare(&self) {
        let Some(session) = &self.session else { return };
        for signature in self.signatures.values() {
            let wrong = |input: &Input| Tensor::new(if input.dtype == 1 { 3 } else { 1 }, &[], 4);
            let values: Option<Vec<Tensor>> = signature
                .inputs
                .iter()
                .map(|input| {
                    wrong(input).and_then(|mut tensor| tensor.fill(&[0; 4]).then_some(tensor))
                })
                .collect();
            let Some(values) = values else { continue };
            let feeds: Vec<Output> = signature.inputs.iter().map(|input| input.tensor).collect();
            let fetches: Vec<Output> = signature.outputs.iter().map(|output| output.1).collect();
            let _ = session.run(&feeds, &values, &fetches);
        }
    }
}

#[derive(Default)]
struct Known {
    versions: BTreeMap<i64, Arc<Version>>,
    labels: HashMap<Vec<u8>, i64>,
}

/// All models; names that are not here are Python's to answer.
#[derive(Default)]
pub struct Models {
    known: RwLock<HashMap<Vec<u8>, Known>>,
    /// Of those with a request log.
    pub rates: Rates,
}

impl Models {
    pub fn add(&self, version: Arc<Version>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let model = known.entry(version.model.clone().into_bytes()).or_default();
        model.versions.insert(version.number, version);
    }

    pub fn remove(&self, version: &Arc<Version>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Some(model) = known.get_mut(version.model.as_bytes()) else {
            return;
        };
        if model
            .versions
            .get(&version.number)
            .is_some_and(|found| Arc::ptr_eq(found, version))
        {
            model.versions.remove(&version.number);
        }
        if model.versions.is_empty() && model.labels.is_empty() {
            known.remove(version.model.as_bytes());
        }
    }

    /// Replace the labels of all models.
    pub fn set_labels(&self, labels: HashMap<String, HashMap<String, i64>>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for model in known.values_mut() {
            model.labels.clear();
        }
        for (model, of) in labels {
            let labels = of
                .into_iter()
                .map(|(label, number)| (label.into_bytes(), number));
            known.entry(model.into_bytes()).or_default().labels = labels.collect();
        }
        known.retain(|_, model| !model.versions.is_empty() || !model.labels.is_empty());
    }

    /// The version that answers; `None` leaves the request to Python.
    pub fn find(&self, model: &[u8], asked: Asked<'_>) -> Option<Arc<Version>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let model = known.get(model)?;
        let found = match asked {
            Asked::Newest => model.versions.last_key_value()?.1,
            Asked::Version(number) => model.versions.get(&number)?,
            Asked::Label(label) => model.versions.get(model.labels.get(label)?)?,
        };
        Some(Arc::clone(found))
    }
}
