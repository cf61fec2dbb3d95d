//! A log-linear histogram of nanoseconds, in the manner of HdrHistogram: every value is kept to better than
//! one part in 64, whatever its size, in a few kilobytes; histograms of several runs can be added up.

#![forbid(unsafe_code)]

/// Bits of a value that are kept below its leading one.
const PRECISION: u32 = 6;
const SUB: usize = 1 << PRECISION;
/// Values up to 2^42 ns (73 minutes) have a bucket; greater ones fall into the last.
const OCTAVES: usize = 42 - PRECISION as usize;

#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            counts: vec![0; SUB * (OCTAVES + 1)],
            total: 0,
            max: 0,
        }
    }

    pub fn record(&mut self, nanoseconds: u64) {
        let last = self.counts.len() - 1;
        self.counts[bucket(nanoseconds).min(last)] += 1;
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// Add what another one has counted.
    #[cfg(test)]
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The value that `share` (0 to 1) of all values do not exceed, in nanoseconds; 0 when there are none.
    #[cfg(test)]
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest(index).min(self.max);
            }
        }
        self.max
    }

    /// As JSON: the greatest value, and for each bucket that counted something its greatest value in
    /// nanoseconds and its count, so that a reader can take quantiles and add histograms up.
    pub fn json(&self) -> String {
        let buckets: Vec<String> = self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(index, count)| format!("[{},{count}]", highest(index)))
            .collect();
        format!(
            r#"{{"max":{},"buckets":[{}]}}"#,
            self.max,
            buckets.join(",")
        )
    }
}

/// Values below SUB have a bucket each; above, each octave has SUB buckets.
fn bucket(value: u64) -> usize {
    if value < SUB as u64 {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - PRECISION;
    (shift as usize) * SUB + (value >> shift) as usize
}

/// The greatest value of a bucket.
fn highest(index: usize) -> u64 {
    if index < 2 * SUB {
        return index as u64;
    }
    let shift = index / SUB - 1;
    let leading = (index - shift * SUB) as u64;
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_falls_into_a_bucket_that_is_close_to_it() {
        let mut value = 0_u64;
        while value < 1 << 41 {
            let top = highest(bucket(value));
            assert!(
                top >= value && top - value <= value / SUB as u64,
                "{value} -> {top}"
            );
            value = value * 9 / 8 + 1;
        }
    }

    #[test]
    fn buckets_follow_one_another() {
        for index in 1..SUB * OCTAVES {
            assert_eq!(bucket(highest(index - 1) + 1), index);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        for value in 1..=1_000 {
            histogram.record(value * 1_000);
        }
        for (share, wanted) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let got = histogram.quantile(share) as f64;
            assert!((got / wanted - 1.0).abs() < 0.016, "{share}: {got}");
        }
    }

    #[test]
    fn two_added_up_are_as_one() {
        let (mut first, mut second, mut both) =
            (Histogram::new(), Histogram::new(), Histogram::new());
        for value in [3, 70, 5_000, 5_001, 1 << 50] {
            first.record(value);
            both.record(value);
        }
        second.record(80);
        both.record(80);
        first.merge(&second);
        assert_eq!(first.json(), both.json());
    }
}
