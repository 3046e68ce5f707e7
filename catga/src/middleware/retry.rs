//! How often a handler runs, and how long it waits before it runs again.

use std::time::Duration;

/// The rule by which a failed run is repeated.
///
/// The delay before run n + 1 is `base` x 4^(n - 1), at most [`MAX_DELAY`], and up to half as long again by chance:
/// jitter spreads repeats, it never shortens a delay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RetryPolicy {
    /// All runs, the first included.
    pub(crate) attempts: u32,
    /// The delay before the second run.
    pub(crate) base: Duration,
}

/// The longest delay between two runs, before jitter.
pub const MAX_DELAY: Duration = Duration::from_secs(30);
/// The part of a delay that chance may add.
pub const JITTER: f64 = 0.5;
const FACTOR: u32 = 4;

impl RetryPolicy {
    /// The delay after the run of this number, without jitter.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        let factor = FACTOR.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.checked_mul(factor).unwrap_or(MAX_DELAY).min(MAX_DELAY)
    }

    /// The delay after the run of this number.
    pub(crate) fn jittered(&self, attempt: u32) -> Duration {
        self.delay(attempt).mul_f64(1.0 + JITTER * fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_fourfold_to_a_limit_and_jitter_never_shortens_them() {
        let policy = RetryPolicy { attempts: 4, base: Duration::from_millis(100) };
        let delays: Vec<_> = (1..=6).map(|attempt| policy.delay(attempt).as_millis()).collect();
        assert_eq!(delays, [100, 400, 1_600, 6_400, 25_600, 30_000]);
        assert_eq!(policy.delay(u32::MAX), MAX_DELAY);
        for _ in 0..1_000 {
            let delay = policy.jittered(2).as_secs_f64();
            assert!((0.4..=0.6).contains(&delay), "{delay}");
        }
    }
}
