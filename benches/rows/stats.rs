//! What several runs say: medians, spread, percentiles, and whether two sides differ at all.

use serde::Serialize;

/// Several values: the one in the middle, the least and the most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the values are not above it.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// None for no value.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, least, most })
    }

    /// How far the ends lie apart, as a part of the median.
    pub fn width(&self) -> f64 {
        (self.most - self.least) / self.median
    }
}

/// How one side compares with the other, run by run: what slows the machine down slows neighbours in time alike.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
    let ratios: Vec<_> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    Spread::of(&ratios)
}

/// What is said of a ratio: one that was above 1 as well as below it shows no difference.
pub fn verdict(ratio: &Spread) -> String {
    match ratio {
        Spread { least, most, median } if *least <= 1.0 && *most >= 1.0 => format!("{median:.2}x, indistinguishable"),
        // Two digits would say next to nothing.
        Spread { median, .. } if *median < 0.05 => format!("1/{:.0}", 1.0 / median),
        Spread { median, .. } => format!("{median:.2}x"),
    }
}

/// The value that so many per cent are not above; none for no value.
pub fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle_whatever_the_order() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0, 1.0, 9.0]), Some(Spread { median: 3.0, least: 1.0, most: 9.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, least: 1.0, most: 9.0 }));
    }

    #[test]
    fn sides_are_compared_run_by_run() {
        // The machine became half as fast: the ratio did not change.
        let slower = ratio(&[20.0, 10.0, 20.0], &[10.0, 5.0, 10.0]);
        assert_eq!(slower, Some(Spread { median: 2.0, least: 2.0, most: 2.0 }));
        assert_eq!(ratio(&[], &[]), None);
    }

    #[test]
    fn a_ratio_around_one_is_no_difference() {
        let verdict = |least, median, most| verdict(&Spread { median, least, most });
        assert_eq!(verdict(1.4, 1.5, 1.7), "1.50x");
        assert_eq!(verdict(0.7, 0.8, 0.9), "0.80x");
        assert_eq!(verdict(0.003, 0.004, 0.005), "1/250");
        assert_eq!(verdict(0.9, 1.05, 1.2), "1.05x, indistinguishable");
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&values, 50), Some(100));
        assert_eq!(percentile(&values, 99), Some(198));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }
}
