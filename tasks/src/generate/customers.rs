//! Who orders: customers with their home country, their membership and how they like to pay.

use super::random::{Alias, Random, Shuffle, Zipf, hash};

pub(super) struct Country {
    pub(super) code: &'static str,
    customers: f64,
    /// How its people pay, in the order of [`PAYMENTS`].
    payments: [f64; PAYMENTS.len()],
}

pub(super) const PAYMENTS: [&str; 6] =
    ["Credit Card", "Debit Card", "PayPal", "Gift Card", "Bank Transfer", "Cash on Delivery"];
pub(super) const CREDIT_CARD: u8 = 0;
pub(super) const GIFT_CARD: u8 = 3;

pub(super) const COUNTRIES: [Country; 12] = [
    Country { code: "US", customers: 34.0, payments: [46.0, 27.0, 18.0, 7.0, 2.0, 0.0] },
    Country { code: "DE", customers: 14.0, payments: [16.0, 14.0, 40.0, 4.0, 25.0, 1.0] },
    Country { code: "GB", customers: 13.0, payments: [30.0, 40.0, 22.0, 6.0, 2.0, 0.0] },
    Country { code: "FR", customers: 8.0, payments: [34.0, 38.0, 18.0, 4.0, 6.0, 0.0] },
    Country { code: "IN", customers: 6.0, payments: [18.0, 26.0, 4.0, 6.0, 16.0, 30.0] },
    Country { code: "CA", customers: 6.0, payments: [52.0, 22.0, 18.0, 6.0, 2.0, 0.0] },
    Country { code: "IT", customers: 5.0, payments: [24.0, 22.0, 36.0, 4.0, 4.0, 10.0] },
    Country { code: "ES", customers: 4.0, payments: [30.0, 30.0, 26.0, 3.0, 5.0, 6.0] },
    Country { code: "JP", customers: 4.0, payments: [58.0, 8.0, 6.0, 6.0, 14.0, 8.0] },
    Country { code: "NL", customers: 3.0, payments: [12.0, 12.0, 20.0, 4.0, 52.0, 0.0] },
    Country { code: "BR", customers: 2.0, payments: [44.0, 12.0, 6.0, 3.0, 33.0, 2.0] },
    Country { code: "AU", customers: 1.0, payments: [42.0, 30.0, 22.0, 4.0, 2.0, 0.0] },
];

/// A customer: what identifies one is the rank by the number of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Customer {
    pub(super) rank: u32,
    pub(super) prime: bool,
    /// An index into [`COUNTRIES`].
    pub(super) country: u8,
    bits: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Customers {
    key: u64,
    count: u32,
    loyalty: Zipf,
    ids: Shuffle,
    country: Alias,
    payment: Vec<Alias>,
}

impl Customers {
    /// `count` customers, at least 1; the same ones for the same key.
    pub(super) fn new(count: u32, key: u64) -> Self {
        Customers {
            key,
            count,
            // A flat top: even the best customer has no more than about a thousandth of all orders.
            loyalty: Zipf::new(count, 120.0),
            ids: Shuffle::new(count, key),
            country: Alias::new(&COUNTRIES.map(|country| country.customers)),
            payment: COUNTRIES.iter().map(|country| Alias::new(&country.payments)).collect(),
        }
    }

    /// Who orders next: some order every week, most once or twice a year.
    pub(super) fn draw(&self, random: &mut Random) -> Customer {
        self.customer(self.loyalty.draw(random))
    }

    /// Any customer, each as likely as the next.
    pub(super) fn draw_any(&self, random: &mut Random) -> Customer {
        self.customer(random.below(u64::from(self.count)) as u32)
    }

    fn customer(&self, rank: u32) -> Customer {
        let bits = hash(self.key, u64::from(rank));
        // Of two neighbours in rank, who order about equally often, one is a member. Therefore half
        // of the orders are Prime, however the orders are spread over the customers.
        let prime = (hash(self.key ^ 0x9413e, u64::from(rank / 2)) as u32 ^ rank) & 1 == 1;
        Customer { rank, prime, country: self.country.draw(bits) as u8, bits }
    }

    /// How the customer pays this time, as an index into [`PAYMENTS`]: mostly as always.
    pub(super) fn payment(&self, customer: Customer, random: &mut Random) -> u8 {
        let bits = random.next();
        let usual = bits & 3 != 0;
        let bits = if usual { customer.bits.rotate_left(17) } else { bits };
        self.payment[usize::from(customer.country)].draw(bits) as u8
    }

    /// What stands in the column `customer_id`.
    pub(super) fn id(&self, rank: u32) -> u32 {
        1_000_001 + self.ids.of(rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_orders_are_prime_whatever_the_seed() {
        for key in 0..20 {
            for count in [2, 100, 200_000] {
                let customers = Customers::new(count, key);
                let mut random = Random::new(key, 5);
                let prime = (0..100_000).filter(|_| customers.draw(&mut random).prime).count();
                assert!(prime.abs_diff(50_000) < 1_000, "{key} {count}: {prime}");
            }
        }
    }

    #[test]
    fn a_tail_of_customers_returns_often() {
        let customers = Customers::new(20_000, 1);
        let mut orders = vec![0u32; 20_000];
        let mut random = Random::new(1, 1);
        for _ in 0..100_000 {
            orders[customers.draw(&mut random).rank as usize] += 1;
        }
        orders.sort_unstable_by(|a, b| b.cmp(a));
        let of_a_tenth: u32 = orders[..2_000].iter().sum();
        assert!((45_000..70_000).contains(&of_a_tenth), "{of_a_tenth}");
        assert!(orders[0] < 400, "{}", orders[0]);
    }

    #[test]
    fn countries_and_payments_follow_their_weights() {
        let customers = Customers::new(100_000, 1);
        let mut random = Random::new(1, 1);
        let (mut american, mut by_card) = (0u32, 0u32);
        for _ in 0..100_000 {
            let customer = customers.draw_any(&mut random);
            if COUNTRIES[usize::from(customer.country)].code == "US" {
                american += 1;
                by_card += u32::from(customers.payment(customer, &mut random) == CREDIT_CARD);
            }
        }
        assert!(american.abs_diff(34_000) < 1_000, "{american}");
        let share = f64::from(by_card) / f64::from(american);
        assert!((share - 0.46).abs() < 0.02, "{share}");
    }
}
