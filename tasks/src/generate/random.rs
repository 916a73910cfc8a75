//! Random numbers as a pure function of what they are for.
//!
//! Every row has a stream of its own, seeded by the run of the generator and the row's number, so
//! any row can be made by any thread at any time, and again. Everything is integer or elementary
//! floating-point arithmetic (no `ln`, `exp` or `sin` of the platform), so that the numbers are the
//! same on every machine.

/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number that `key` and `n` determine and that looks unrelated to those of their neighbours.
pub(super) fn hash(key: u64, n: u64) -> u64 {
    mix(mix(key.wrapping_add(GOLDEN)) ^ n.wrapping_mul(GOLDEN))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number `bits` mapped to `0..n`, evenly.
pub(super) fn scale(bits: u64, n: u64) -> u64 {
    ((u128::from(bits) * u128::from(n)) >> 64) as u64
}

/// The number `bits` mapped to `[0, 1)`.
pub(super) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

impl Random {
    pub(super) fn new(key: u64, n: u64) -> Self {
        Random(hash(key, n))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// One of `0..n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        scale(self.next(), n)
    }

    /// One of `from..=to`.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub(super) fn unit(&mut self) -> f64 {
        unit(self.next())
    }
}

/// A normally distributed number (mean 0, deviation 1) from the sum of twelve even ones: no tail
/// beyond six deviations, which nobody misses in prices.
pub(super) fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
}

/// `e^x` to about six digits for |x| < 5, by arithmetic that is the same everywhere.
pub(super) fn exp(x: f64) -> f64 {
    let step = x / 1024.0;
    let mut power = 1.0 + step + step * step / 2.0 + step * step * step / 6.0;
    for _ in 0..10 {
        power *= power;
    }
    power
}

/// Draws indices by their weights in constant time (Walker's alias method as Vose builds it).
#[derive(Clone, Debug)]
pub(super) struct Alias(Vec<Cell>);

#[derive(Clone, Copy, Debug)]
struct Cell {
    /// Below it the draw gives the cell's own index.
    threshold: u32,
    other: u32,
}

impl Alias {
    /// Weights need not sum up to anything; those of zero are never drawn, unless all are.
    pub(super) fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let scaled = |weight: f64| {
            if total > 0.0 { weight * weights.len() as f64 / total } else { 1.0 }
        };
        let mut rest: Vec<f64> = weights.iter().map(|&weight| scaled(weight)).collect();
        let mut cells: Vec<Cell> =
            (0..weights.len()).map(|i| Cell { threshold: u32::MAX, other: i as u32 }).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..rest.len()).partition(|&i| rest[i] < 1.0);
        while let (Some(&less), Some(&more)) = (small.last(), large.last()) {
            small.pop();
            cells[less] =
                Cell { threshold: (rest[less] * f64::from(u32::MAX)) as u32, other: more as u32 };
            rest[more] -= 1.0 - rest[less];
            if rest[more] < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        Alias(cells)
    }

    /// The index that `bits`, evenly random, fall on.
    pub(super) fn draw(&self, bits: u64) -> usize {
        let index = ((bits >> 32) * self.0.len() as u64) >> 32;
        let cell = self.0[index as usize];
        if (bits as u32) < cell.threshold { index as usize } else { cell.other as usize }
    }
}

/// Draws ranks `0..n` by the law of Zipf and Mandelbrot: rank `k` with weight `1 / (k + offset)`.
///
/// The first ranks are drawn one by one, the later ones in groups that grow with the rank and are
/// even inside, so the size hardly depends on `n`.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    groups: Vec<Group>,
    alias: Alias,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first: u32,
    count: u32,
}

impl Zipf {
    /// `n` is at least 1, `offset` more than 0: the greater, the flatter the top.
    pub(super) fn new(n: u32, offset: f64) -> Self {
        let mut groups = Vec::new();
        let mut first = 0;
        while first < n {
            let count = (1 + first / 64).min(n - first);
            groups.push(Group { first, count });
            first += count;
        }
        let weight = |group: &Group| {
            let middle = f64::from(group.first) + f64::from(group.count - 1) / 2.0;
            f64::from(group.count) / (middle + offset)
        };
        let alias = Alias::new(&groups.iter().map(weight).collect::<Vec<_>>());
        Zipf { groups, alias }
    }

    pub(super) fn draw(&self, random: &mut Random) -> u32 {
        let group = self.groups[self.alias.draw(random.next())];
        if group.count == 1 {
            group.first
        } else {
            group.first + random.below(u64::from(group.count)) as u32
        }
    }
}

/// A fixed permutation of `0..n`, so that identifiers tell nothing of ranks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shuffle {
    n: u64,
    factor: u64,
    shift: u64,
}

impl Shuffle {
    pub(super) fn new(n: u32, key: u64) -> Self {
        let n = u64::from(n.max(1));
        let mut random = Random::new(key, n);
        let mut factor = n * 5 / 8 + random.below(n / 8 + 1);
        while gcd(factor, n) != 1 {
            factor += 1;
        }
        Shuffle { n, factor, shift: random.below(n) }
    }

    pub(super) fn of(&self, rank: u32) -> u32 {
        ((u64::from(rank) * self.factor + self.shift) % self.n) as u32
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_draws_by_weight() {
        let alias = Alias::new(&[1.0, 0.0, 7.0, 2.0]);
        let mut random = Random::new(1, 1);
        let mut counts = [0u32; 4];
        for _ in 0..100_000 {
            counts[alias.draw(random.next())] += 1;
        }
        assert_eq!(counts[1], 0);
        for (count, expect) in [(counts[0], 10_000), (counts[2], 70_000), (counts[3], 20_000)] {
            assert!(count.abs_diff(expect) < 600, "{counts:?}");
        }
    }

    #[test]
    fn zipf_falls_as_it_should() {
        let zipf = Zipf::new(100_000, 2.0);
        assert!(zipf.groups.len() < 1_000, "{}", zipf.groups.len());
        let mut random = Random::new(1, 1);
        let mut counts = vec![0u32; 100_000];
        for _ in 0..1_000_000 {
            counts[zipf.draw(&mut random) as usize] += 1;
        }
        let harmonic: f64 = (0..100_000).map(|k| 1.0 / (f64::from(k) + 2.0)).sum();
        for rank in [0usize, 1, 9, 99] {
            let expect = 1_000_000.0 / (rank as f64 + 2.0) / harmonic;
            let got = f64::from(counts[rank]);
            assert!((got - expect).abs() < 5.0 * expect.sqrt() + expect * 0.01, "{rank}: {got}");
        }
        let tail: u32 = counts[50_000..].iter().sum();
        let expect = (50_000..100_000).map(|k| 1.0 / (f64::from(k) + 2.0)).sum::<f64>() / harmonic;
        assert!((f64::from(tail) / 1e6 - expect).abs() < 0.003, "{tail}");
    }

    #[test]
    fn zipf_of_one_is_that_one() {
        let zipf = Zipf::new(1, 5.0);
        assert_eq!(zipf.draw(&mut Random::new(3, 4)), 0);
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        for n in [1u32, 2, 3, 10, 64, 1000, 4096] {
            let shuffle = Shuffle::new(n, 9);
            let mut seen: Vec<u32> = (0..n).map(|rank| shuffle.of(rank)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn exp_is_close() {
        for x in [-3.0f64, -0.5, 0.0, 0.7, 2.5] {
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-5, "{x}");
        }
    }

    #[test]
    fn neighbouring_streams_look_unrelated() {
        let mean = (0..10_000).map(|row| Random::new(42, row).unit()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert_ne!(hash(1, 2), hash(2, 1));
    }
}
