//! When calls come: a Poisson process, as of many callers who know nothing of one another. A rate of a
//! thousand a second is then not a call each millisecond, but bursts and gaps around that mean.

#![forbid(unsafe_code)]

/// xorshift64*: good enough for gaps and coins, and the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Between 0 and 1, 1 left out.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The nanoseconds to the next of `rate` arrivals a second.
    pub fn gap(&mut self, rate: f64) -> u64 {
        (-(1.0 - self.share()).ln() / rate * 1e9) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_have_the_mean_and_the_spread_of_a_poisson_process() {
        let mut random = Random::new(7);
        let gaps: Vec<f64> = (0..100_000).map(|_| random.gap(1_000.0) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "{mean}");
        assert!((spread.sqrt() / mean - 1.0).abs() < 0.02, "{spread}");
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut first, mut second, mut other) = (Random::new(1), Random::new(1), Random::new(2));
        assert_eq!(first.gap(10.0), second.gap(10.0));
        assert_ne!(first.gap(10.0), other.gap(10.0));
    }
}
