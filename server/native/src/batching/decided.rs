//! Failures that are known before Python is asked: it reads such a request again, finds here that it need not run it,
//! and words and counts the error as its own.

use std::cell::RefCell;

use super::rules::Failure;

thread_local! {
    static DECIDED: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// While this lives, the run that Python asks for on this thread fails with what was decided.
pub struct Decided(());

impl Decided {
    pub fn here(failure: Option<Failure>) -> Decided {
        DECIDED.with_borrow_mut(|decided| *decided = failure);
        Decided(())
    }

    /// What was decided of the request that this thread answers.
    #[cfg_attr(not(feature = "python"), allow(dead_code))]
    pub fn take() -> Option<Failure> {
        DECIDED.with_borrow_mut(Option::take)
    }
}

impl Drop for Decided {
    fn drop(&mut self) {
        DECIDED.with_borrow_mut(|decided| *decided = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_given_once_and_forgotten_with_its_request() {
        let given = Decided::here(Some(Failure::late()));
        assert_eq!(Decided::take(), Some(Failure::late()));
        assert_eq!(Decided::take(), None);
        drop(given);
        drop(Decided::here(Some(Failure::late())));
        assert_eq!(Decided::take(), None);
    }
}
