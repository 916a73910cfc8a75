//! What is sold: products with their categories, prices and quality.

use super::calendar::{Day, Sale};
use super::random::{Alias, Random, Shuffle, Zipf, exp, hash, normal, scale};

/// A category of products.
#[derive(Clone, Copy, Debug)]
pub(super) struct Category {
    pub(super) name: &'static str,
    /// How many orders, relative to the other categories.
    popularity: f64,
    /// How many products, relative to the other categories.
    range: f64,
    /// Half of its products cost less, in cents.
    median_price: f64,
    /// The deviation of the prices' logarithm.
    spread: f64,
    /// Orders of more than one piece, in a hundred.
    several_percent: u64,
    /// Returns, in a thousand orders.
    pub(super) returned_permille: u64,
    /// What the months (January first) and the week of Black Friday do to its popularity.
    season: [f64; 13],
}

const EVEN: [f64; 13] = [1.0; 13];

pub(super) const CATEGORIES: [Category; 10] = [
    Category {
        name: "Electronics",
        popularity: 18.0,
        range: 14.0,
        median_price: 8_900.0,
        spread: 1.0,
        several_percent: 8,
        returned_permille: 55,
        season: [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 1.0, 1.0, 1.0, 1.0, 1.3, 1.4, 2.1],
    },
    Category {
        name: "Clothing",
        popularity: 17.0,
        range: 22.0,
        median_price: 3_400.0,
        spread: 0.6,
        several_percent: 28,
        returned_permille: 130,
        season: [1.1, 0.9, 1.0, 1.1, 1.1, 1.0, 1.0, 0.9, 1.1, 1.1, 1.0, 1.0, 1.2],
    },
    Category {
        name: "Home & Kitchen",
        popularity: 15.0,
        range: 16.0,
        median_price: 3_900.0,
        spread: 0.8,
        several_percent: 18,
        returned_permille: 45,
        season: [1.1, 1.0, 1.0, 1.0, 1.0, 0.9, 0.9, 0.9, 1.0, 1.0, 1.1, 1.1, 1.3],
    },
    Category {
        name: "Beauty",
        popularity: 11.0,
        range: 10.0,
        median_price: 1_900.0,
        spread: 0.6,
        several_percent: 34,
        returned_permille: 20,
        season: [0.9, 1.2, 1.0, 1.0, 1.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.2, 1.1],
    },
    Category {
        name: "Books",
        popularity: 10.0,
        range: 14.0,
        median_price: 1_500.0,
        spread: 0.45,
        several_percent: 30,
        returned_permille: 12,
        season: [1.0, 0.9, 0.9, 0.9, 0.9, 1.0, 1.1, 1.1, 1.1, 1.0, 1.0, 1.3, 0.7],
    },
    Category {
        name: "Grocery",
        popularity: 9.0,
        range: 6.0,
        median_price: 900.0,
        spread: 0.55,
        several_percent: 62,
        returned_permille: 6,
        season: EVEN,
    },
    Category {
        name: "Toys & Games",
        popularity: 7.0,
        range: 7.0,
        median_price: 2_400.0,
        spread: 0.65,
        several_percent: 24,
        returned_permille: 25,
        season: [0.7, 0.7, 0.8, 0.9, 0.8, 0.8, 0.9, 0.9, 0.9, 1.0, 1.7, 2.7, 1.6],
    },
    Category {
        name: "Sports",
        popularity: 6.0,
        range: 5.0,
        median_price: 4_400.0,
        spread: 0.75,
        several_percent: 16,
        returned_permille: 60,
        season: [1.3, 1.0, 1.1, 1.2, 1.2, 1.2, 1.1, 1.0, 0.9, 0.8, 0.8, 0.9, 0.9],
    },
    Category {
        name: "Garden",
        popularity: 4.0,
        range: 3.0,
        median_price: 3_200.0,
        spread: 0.8,
        several_percent: 26,
        returned_permille: 30,
        season: [0.3, 0.5, 1.2, 2.0, 2.1, 1.8, 1.4, 1.1, 0.9, 0.7, 0.4, 0.3, 0.3],
    },
    Category {
        name: "Pet Supplies",
        popularity: 3.0,
        range: 3.0,
        median_price: 2_100.0,
        spread: 0.55,
        several_percent: 48,
        returned_permille: 10,
        season: EVEN,
    },
];

/// One product. What identifies it is its index in the catalogue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// Before the month's variation, in cents.
    base_price: u32,
    pub(super) category: u8,
    /// 0 is the best, [`QUALITIES`] - 1 the worst: ratings follow it.
    pub(super) quality: u8,
}

pub(super) const QUALITIES: usize = 5;

impl Category {
    /// Whether an order is of more than one piece.
    pub(super) fn takes_several(&self, bits: u64) -> bool {
        scale(bits, 100) < self.several_percent
    }
}

#[derive(Clone, Debug)]
pub(super) struct Catalogue {
    key: u64,
    products: Vec<Product>,
    /// The products of each category, the most popular first, as indices: `first..first + n`.
    first: [u32; CATEGORIES.len()],
    popularity: Vec<Zipf>,
    /// Which category is ordered: by month, and last the week of Black Friday.
    by_season: Vec<Alias>,
    ids: Shuffle,
    /// A hundredth of all products, but at least one: the cheapest, and the dearest.
    cheapest: Vec<u32>,
    dearest: Vec<u32>,
}

impl Catalogue {
    /// `count` products, at least 1; the same ones for the same key.
    pub(super) fn new(count: u32, key: u64) -> Self {
        let counts = apportion(count);
        let mut products = Vec::with_capacity(count as usize);
        let mut first = [0; CATEGORIES.len()];
        for (index, category) in CATEGORIES.iter().enumerate() {
            first[index] = products.len() as u32;
            products.extend((0..counts[index]).map(|rank| {
                let mut random = Random::new(hash(key, index as u64), u64::from(rank));
                let price = category.median_price * exp(category.spread * normal(&mut random));
                let quality = [0, 1, 1, 2, 2, 2, 2, 3, 3, 4][random.below(10) as usize];
                let base_price = charm(price, random.next());
                Product { base_price, category: index as u8, quality }
            }));
        }
        let by_season = (0..13)
            .map(|season| {
                let weight = |(category, &count): (&Category, &u32)| {
                    category.popularity * category.season[season] * f64::from(count.min(1))
                };
                Alias::new(&CATEGORIES.iter().zip(&counts).map(weight).collect::<Vec<_>>())
            })
            .collect();
        let mut by_price: Vec<u32> = (0..count).collect();
        by_price.sort_by_key(|&index| (products[index as usize].base_price, index));
        let few = (count as usize).div_ceil(100);
        Catalogue {
            key,
            first,
            popularity: counts.iter().map(|&count| Zipf::new(count.max(1), 4.0)).collect(),
            by_season,
            ids: Shuffle::new(count, key),
            cheapest: by_price[..few].to_vec(),
            dearest: by_price[by_price.len() - few..].to_vec(),
            products,
        }
    }

    /// What somebody orders on that day, as an index.
    pub(super) fn draw(&self, day: &Day, random: &mut Random) -> u32 {
        let season = if day.sale == Sale::BlackWeek { 12 } else { day.month };
        let category = self.by_season[season].draw(random.next());
        self.first[category] + self.popularity[category].draw(random)
    }

    /// One of the cheapest products.
    pub(super) fn draw_cheap(&self, random: &mut Random) -> u32 {
        self.cheapest[random.below(self.cheapest.len() as u64) as usize]
    }

    /// One of the dearest products.
    pub(super) fn draw_dear(&self, random: &mut Random) -> u32 {
        self.dearest[random.below(self.dearest.len() as u64) as usize]
    }

    pub(super) fn product(&self, index: u32) -> &Product {
        &self.products[index as usize]
    }

    /// What stands in the column `product_id`.
    pub(super) fn id(&self, index: u32) -> u32 {
        100_001 + self.ids.of(index)
    }

    /// The price on that day, in cents: in one month of four it is a little off its base.
    pub(super) fn price(&self, index: u32, day: &Day) -> u32 {
        let base = self.products[index as usize].base_price;
        let bits = hash(self.key ^ u64::from(day.month_number), u64::from(index));
        if bits & 3 != 0 {
            return base;
        }
        let percent = 94 + scale(bits, 13);
        charm(f64::from(base) * percent as f64 / 100.0, u64::from(base))
    }
}

/// The number of products in each category: largest remainders, so that they sum up to `count`.
fn apportion(count: u32) -> [u32; CATEGORIES.len()] {
    let total: f64 = CATEGORIES.iter().map(|category| category.range).sum();
    let mut counts = [0; CATEGORIES.len()];
    let mut remainders = Vec::new();
    for (index, category) in CATEGORIES.iter().enumerate() {
        let share = f64::from(count) * category.range / total;
        counts[index] = share as u32;
        remainders.push((share - share.floor(), index));
    }
    remainders.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let missing = (count - counts.iter().sum::<u32>()) as usize;
    for &(_, index) in &remainders[..missing] {
        counts[index] += 1;
    }
    counts
}

/// A price as shops write it, near `cents`: 12.99, 12.95 or 12.49, and below 3.00 such as 1.79.
fn charm(cents: f64, bits: u64) -> u32 {
    let cents = cents.clamp(49.0, 999_999.0) as u32;
    if cents < 300 {
        return cents / 10 * 10 + 9;
    }
    cents / 100 * 100 + [99, 99, 95, 49][(bits & 3) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_apportioned_to_the_last_one() {
        for count in [1, 2, 9, 10, 11, 999, 5_000, 100_000] {
            assert_eq!(apportion(count).iter().sum::<u32>(), count);
            assert_eq!(Catalogue::new(count, 1).products.len(), count as usize);
        }
    }

    #[test]
    fn prices_are_log_normal_around_the_median() {
        let catalogue = Catalogue::new(50_000, 3);
        for (index, category) in CATEGORIES.iter().enumerate() {
            let mut prices: Vec<f64> = catalogue
                .products
                .iter()
                .filter(|product| usize::from(product.category) == index)
                .map(|product| f64::from(product.base_price))
                .collect();
            prices.sort_by(f64::total_cmp);
            let at = |share: f64| prices[(prices.len() as f64 * share) as usize];
            let median = at(0.5) / category.median_price;
            assert!((0.93..1.12).contains(&median), "{}: {median}", category.name);
            let spread = (at(0.841) / at(0.159)).ln() / 2.0;
            assert!((spread - category.spread).abs() < 0.1, "{}: {spread}", category.name);
        }
    }

    #[test]
    fn prices_are_written_as_in_shops() {
        let check = |cents: f64, bits, expect| assert_eq!(charm(cents, bits), expect);
        check(1234.0, 0, 1299);
        check(1234.0, 2, 1295);
        check(1234.0, 3, 1249);
        check(171.0, 0, 179);
        check(1.0, 0, 49);
        check(1e9, 0, 999_999);
    }

    #[test]
    fn cheap_and_dear_products_are_apart() {
        let catalogue = Catalogue::new(5_000, 3);
        let price = |index: &u32| catalogue.products[*index as usize].base_price;
        let cheap = catalogue.cheapest.iter().map(price).max().unwrap();
        let dear = catalogue.dearest.iter().map(price).min().unwrap();
        assert!(cheap < 500 && dear > 30_000, "{cheap} {dear}");
    }
}
