//! Orders as a pure function of their number.

use super::calendar::{Calendar, DAY_SECS, Day, Sale};
use super::catalogue::{CATEGORIES, Catalogue, QUALITIES};
use super::customers::{COUNTRIES, CREDIT_CARD, Customer, Customers, GIFT_CARD};
use super::random::{Alias, Random, hash};

/// What the orders are determined by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) rows: u64,
    pub(super) seed: u64,
    /// All orders lie in `[start, end)`, in seconds since 1970.
    pub(super) start: i64,
    pub(super) end: i64,
    /// One day instead of a year.
    pub(super) day: bool,
    pub(super) dirty: f64,
    pub(super) fraud: f64,
    pub(super) products: u32,
    pub(super) customers: u32,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    pub(super) order_id: u64,
    pub(super) product_id: u32,
    pub(super) customer_id: Option<u32>,
    /// An index into [`CATEGORIES`].
    pub(super) category: u8,
    /// For one piece before the discount, in cents.
    pub(super) price: Option<i64>,
    pub(super) quantity: u8,
    /// In seconds since 1970.
    pub(super) time: i64,
    /// Set in rows whose timestamp can't be read: which of the ways it is spoilt.
    pub(super) broken: Option<u8>,
    pub(super) rating: Option<u8>,
    /// An index into [`super::customers::PAYMENTS`].
    pub(super) payment: u8,
    pub(super) status: Status,
    pub(super) prime: bool,
    pub(super) delivery_days: Option<u8>,
    /// In percent.
    pub(super) discount: u8,
    /// Where it is delivered, an index into [`COUNTRIES`].
    pub(super) country: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Processing,
    Shipped,
    Delivered,
    Returned,
    Cancelled,
}

impl Status {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Status::Processing => "Processing",
            Status::Shipped => "Shipped",
            Status::Delivered => "Delivered",
            Status::Returned => "Returned",
            Status::Cancelled => "Cancelled",
        }
    }
}

/// How a fraudulent order came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Stolen cards are tried out: many tiny orders of one customer within minutes.
    CardTesting,
    /// An account is plundered: several dear orders within an hour.
    SpendingSpree,
    /// A dear order of a regular customer goes to a country that is not the customer's.
    CountryMismatch,
}

impl Pattern {
    pub(super) const ALL: [Pattern; 3] =
        [Pattern::CardTesting, Pattern::SpendingSpree, Pattern::CountryMismatch];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Pattern::CardTesting => "card_testing",
            Pattern::SpendingSpree => "spending_spree",
            Pattern::CountryMismatch => "country_mismatch",
        }
    }
}

/// A row's part in a fraud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraud {
    pub(super) pattern: Pattern,
    /// The row of the case's first order: it names the case and determines who is behind it.
    pub(super) first_row: u64,
    /// The row's time is no later, where rows are too sparse for orders within minutes.
    pub(super) not_after: i64,
}

/// Makes the orders.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    rows: u64,
    key: u64,
    first_id: u64,
    /// What became of the orders is told as of this time.
    known_at: i64,
    pub(super) calendar: Calendar,
    catalogue: Catalogue,
    customers: Customers,
    abroad: Alias,
    several: Alias,
    discounts: [Alias; 3],
    /// By membership and congestion.
    delivery_days: [[Alias; 2]; 2],
    /// By quality and lateness.
    ratings: Vec<[Alias; 4]>,
}

/// Days within which an order is to be delivered; after them it is late.
pub(super) const PROMISED_DAYS: u8 = 5;
pub(super) const PROMISED_DAYS_PRIME: u8 = 2;

impl Orders {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { rows, seed, start, end, day, .. } = *settings;
        // Products and customers belong to the seed alone: every night sees the same ones.
        let population = hash(seed, 0x7469_6465);
        let key = hash(hash(population, start as u64), end as u64);
        let month = 28 * DAY_SECS;
        Orders {
            rows,
            key,
            first_id: first_id(settings),
            known_at: if day { end + month } else { end },
            calendar: Calendar::new(start, end, population),
            catalogue: Catalogue::new(settings.products, population),
            customers: Customers::new(settings.customers, population),
            abroad: Alias::new(&[1.0; COUNTRIES.len() - 1]),
            several: Alias::new(&[60.0, 22.0, 10.0, 5.0, 3.0]),
            discounts: [
                Alias::new(&[85.0, 5.0, 6.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0]),
                Alias::new(&[55.0, 0.0, 15.0, 0.0, 15.0, 0.0, 10.0, 0.0, 5.0]),
                Alias::new(&[35.0, 0.0, 15.0, 10.0, 20.0, 0.0, 15.0, 0.0, 5.0]),
            ],
            delivery_days: delivery_days(),
            ratings: ratings(),
        }
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    /// The identifier of a row's order.
    pub(super) fn order_id(&self, row: u64) -> u64 {
        self.first_id + row
    }

    /// The time of a row in seconds since 1970; ascends with the rows.
    pub(super) fn time(&self, row: u64, cursor: &mut usize) -> i64 {
        self.time_from(row, &mut Random::new(self.key, row), cursor)
    }

    /// Each row has its own share of the period's intensity, and a random place in it. So every
    /// span of time has exactly the orders that its season deserves.
    fn time_from(&self, row: u64, random: &mut Random, cursor: &mut usize) -> i64 {
        self.calendar.time_at((row as f64 + random.unit()) / self.rows as f64, cursor)
    }

    /// The average time of one row's share near a row, in seconds.
    pub(super) fn pace(&self, row: u64) -> f64 {
        let from = row.saturating_sub(8);
        let to = (from + 16).min(self.rows);
        let at = |row: u64| self.calendar.time_at(row as f64 / self.rows as f64, &mut 0);
        (at(to) - at(from)).max(0) as f64 / (to - from).max(1) as f64
    }

    /// The order of a row.
    pub(super) fn order(&self, row: u64, fraud: Option<&Fraud>, cursor: &mut usize) -> Order {
        let mut random = Random::new(self.key, row);
        let mut time = self.time_from(row, &mut random, cursor);
        if let Some(fraud) = fraud {
            time = time.min(fraud.not_after);
        }
        let day = self.calendar.day(time);
        let (customer, country, payment) = self.buyer(fraud, &mut random);
        let index = match fraud.map(|fraud| fraud.pattern) {
            None => self.catalogue.draw(day, &mut random),
            Some(Pattern::CardTesting) => self.catalogue.draw_cheap(&mut random),
            Some(_) => self.catalogue.draw_dear(&mut random),
        };
        let product = self.catalogue.product(index);
        let (quantity, discount) = self.amount(product.category, day, fraud, &mut random);
        let mut order = Order {
            order_id: self.order_id(row),
            product_id: self.catalogue.id(index),
            customer_id: Some(self.customers.id(customer.rank)),
            category: product.category,
            price: Some(i64::from(self.catalogue.price(index, day))),
            quantity,
            time,
            broken: None,
            rating: None,
            payment,
            status: Status::Cancelled,
            prime: customer.prime,
            delivery_days: None,
            discount,
            country,
        };
        self.deliver(&mut order, day, product.quality, &mut random);
        order
    }

    /// Who orders, whereto, and how it is paid.
    fn buyer(&self, fraud: Option<&Fraud>, random: &mut Random) -> (Customer, u8, u8) {
        let Some(fraud) = fraud else {
            let customer = self.customers.draw(random);
            let bits = random.next();
            let gift = bits & 63 == 0;
            let country = if gift { self.other_country(customer, bits) } else { customer.country };
            return (customer, country, self.customers.payment(customer, random));
        };
        // A stream of the case, so that all of its orders come from one customer.
        let mut case = Random::new(self.key ^ 0xf4a0d, fraud.first_row);
        match fraud.pattern {
            Pattern::CardTesting | Pattern::SpendingSpree => {
                let customer = self.customers.draw_any(&mut case);
                (customer, customer.country, CREDIT_CARD)
            }
            Pattern::CountryMismatch => {
                let customer = self.customers.draw(&mut case);
                let bits = case.next();
                let payment = if bits & 1 == 0 { CREDIT_CARD } else { GIFT_CARD };
                (customer, self.other_country(customer, bits), payment)
            }
        }
    }

    /// A country that is not the customer's.
    fn other_country(&self, customer: Customer, bits: u64) -> u8 {
        let other = self.abroad.draw(bits.rotate_left(32)) as u8;
        if other >= customer.country { other + 1 } else { other }
    }

    /// How many pieces, and the discount in percent.
    fn amount(
        &self,
        category: u8,
        day: &Day,
        fraud: Option<&Fraud>,
        random: &mut Random,
    ) -> (u8, u8) {
        match fraud.map(|fraud| fraud.pattern) {
            Some(Pattern::CardTesting) => return (1, 0),
            Some(_) => return (random.between(1, 3) as u8, 0),
            None => {}
        }
        let several = CATEGORIES[usize::from(category)].takes_several(random.next());
        let quantity = if several { 2 + self.several.draw(random.next()) as u8 } else { 1 };
        let discounts = match day.sale {
            Sale::None => &self.discounts[0],
            Sale::Seasonal => &self.discounts[1],
            Sale::BlackWeek => &self.discounts[2],
        };
        (quantity, 5 * discounts.draw(random.next()) as u8)
    }

    /// Fills in what became of the order: status, days of delivery and rating.
    fn deliver(&self, order: &mut Order, day: &Day, quality: u8, random: &mut Random) {
        let (prime, congested) = (usize::from(order.prime), usize::from(day.congested));
        let days = self.delivery_days[prime][congested].draw(random.next()) as u8;
        let chances = random.next();
        let fate = (chances >> 44) % 1000;
        let waited = self.known_at - order.time;
        order.status = if fate < 25 {
            Status::Cancelled
        } else if waited < DAY_SECS / 2 {
            Status::Processing
        } else if waited < (i64::from(days) + 1) * DAY_SECS {
            Status::Shipped
        } else if fate >= 1000 - self.returned(order, quality) && waited > 14 * DAY_SECS {
            Status::Returned
        } else {
            Status::Delivered
        };
        if matches!(order.status, Status::Delivered | Status::Returned) {
            order.delivery_days = Some(days);
            let promised = if order.prime { PROMISED_DAYS_PRIME } else { PROMISED_DAYS };
            let late = days.saturating_sub(promised);
            // Who waited too long is more eager to tell.
            let rates = (chances & 127) < if late > 0 { 83 } else { 70 };
            if rates {
                let lateness = usize::from(late).div_ceil(2).min(3);
                let ratings = &self.ratings[usize::from(quality)][lateness];
                order.rating = Some(1 + ratings.draw(random.next()) as u8);
            }
        }
    }

    /// How many of a thousand such orders are sent back.
    fn returned(&self, order: &Order, quality: u8) -> u64 {
        CATEGORIES[usize::from(order.category)].returned_permille * (3 + u64::from(quality)) / 5
    }
}

/// The identifier of row 0.
///
/// Hours from 1970 to the end of the period (six digits from 1981 to 2084), two digits for seed and
/// kind of period, and as many as the greatest row needs. So runs for different days or hours never
/// share an identifier, nor do a year and a day, nor seeds that differ in their last digits; and a
/// different number of digits for the rows is a different length.
fn first_id(settings: &Settings) -> u64 {
    let hours = settings.end.div_euclid(3_600) as u64;
    let kind = settings.seed % 50 + if settings.day { 50 } else { 0 };
    let digits = settings.rows.saturating_sub(1).max(1).ilog10() + 1;
    (hours * 100 + kind) * 10u64.pow(digits)
}

/// Weights of 0, 1, 2 ... days. Whoever is no member waits longer, and all do before Christmas.
fn delivery_days() -> [[Alias; 2]; 2] {
    let usual = [0.0, 2.0, 10.0, 24.0, 30.0, 22.0, 5.0, 3.0, 2.0, 1.0, 0.6, 0.4];
    let prime = [9.0, 46.0, 38.0, 3.5, 2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0];
    let congested = |weights: [f64; 12]| {
        let mut later = [0.0; 14];
        for (days, weight) in weights.into_iter().enumerate() {
            later[days] += 0.6 * weight;
            later[days + 1] += 0.25 * weight;
            later[days + 2] += 0.15 * weight;
        }
        Alias::new(&later)
    };
    [usual, prime].map(|weights| [Alias::new(&weights), congested(weights)])
}

/// Weights of one to five stars, by quality of the product and lateness of the parcel: a mixture
/// of those of a happy and of an angry customer.
fn ratings() -> Vec<[Alias; 4]> {
    let happy = [2.0, 3.0, 9.0, 30.0, 56.0];
    let angry = [42.0, 26.0, 17.0, 10.0, 5.0];
    let by_quality: [f64; QUALITIES] = [0.02, 0.06, 0.12, 0.20, 0.35];
    let by_lateness: [f64; 4] = [0.0, 0.28, 0.5, 0.75];
    let mixture = |anger: f64| {
        let weights = |star: usize| happy[star] * (1.0 - anger) + angry[star] * anger;
        Alias::new(&[0, 1, 2, 3, 4].map(weights))
    };
    by_quality
        .map(|product| by_lateness.map(|parcel| mixture((product + parcel).min(1.0))))
        .to_vec()
}
