//! Which requests go to the request log. Each has one number, whoever compares it with the rate of its model: this
//! process's hot path, which leaves what is to be logged to Python, or Python's sampler, which is asked once more.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

/// Numbers that look random, from any thread (splitmix64).
pub struct Chances(AtomicU64);

impl Default for Chances {
    fn default() -> Chances {
        Chances(AtomicU64::new(RandomState::new().build_hasher().finish()))
    }
}

impl Chances {
    /// A number from 0 to below 1.
    pub fn next(&self) -> f64 {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        let mut mixed = self.0.fetch_add(step, Relaxed).wrapping_add(step);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The rates of the models that have a request log.
#[derive(Default)]
pub struct Rates(RwLock<HashMap<Vec<u8>, f64>>);

impl Rates {
    /// Replace all of them.
    pub fn set(&self, rates: HashMap<String, f64>) {
        let rates = rates
            .into_iter()
            .map(|(model, rate)| (model.into_bytes(), rate));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rates.collect();
    }

    /// Whether a request with this number is logged.
    pub fn keep(&self, model: &[u8], chance: f64) -> bool {
        let rates = self.0.read().unwrap_or_else(PoisonError::into_inner);
        rates.get(model).is_some_and(|rate| chance < *rate)
    }
}

thread_local! {
    static CHANCE: Cell<Option<f64>> = const { Cell::new(None) };
}

/// While this lives, Python's sampler finds the number of the request that this thread answers.
pub struct Drawn(());

impl Drawn {
    pub fn here(chance: Option<f64>) -> Drawn {
        CHANCE.set(chance);
        Drawn(())
    }

    /// The number of this thread's request; `None` for one that the hot path has not seen.
    pub fn chance() -> Option<f64> {
        CHANCE.get()
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        CHANCE.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_kept_as_the_rate_says_and_none_of_other_models() {
        let (chances, rates) = (Chances(AtomicU64::new(1)), Rates::default());
        rates.set(HashMap::from([
            ("some".to_owned(), 0.25),
            ("all".to_owned(), 1.0),
            ("none".to_owned(), 0.0),
        ]));
        let drawn: Vec<f64> = (0..10_000).map(|_| chances.next()).collect();
        assert!(drawn.iter().all(|one| (0.0..1.0).contains(one)));
        let kept = |model: &[u8]| drawn.iter().filter(|one| rates.keep(model, **one)).count();
        assert!((2300..2700).contains(&kept(b"some")));
        assert_eq!(
            [kept(b"all"), kept(b"none"), kept(b"other")],
            [10_000, 0, 0]
        );
        rates.set(HashMap::new());
        assert_eq!(kept(b"all"), 0);
    }

    #[test]
    fn a_number_is_there_as_long_as_its_request_and_for_every_question() {
        let drawn = Drawn::here(Some(0.5));
        assert_eq!([Drawn::chance(), Drawn::chance()], [Some(0.5); 2]);
        drop(drawn);
        assert_eq!(Drawn::chance(), None);
    }
}
