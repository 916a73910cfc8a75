//! Which rows are fraudulent and which are dirty, decided before any row is made.

use super::orders::{Fraud, Order, Orders, Pattern, Settings};
use super::random::{Alias, Random};
use std::ops::Range;

/// What is wrong with a dirty row. A row has at most one defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    MissingCustomer,
    MissingPrice,
    NegativePrice,
    BrokenTimestamp,
    /// The order of an earlier row once more.
    Repeated {
        of: u64,
    },
}

/// The defects' names in the report, in the order of [`Defect::index`].
pub(super) const DEFECTS: [&str; 5] =
    ["missing_customer", "missing_price", "negative_price", "broken_timestamp", "repeated"];
/// How frequent they are among dirty rows.
const FREQUENCIES: [f64; DEFECTS.len()] = [30.0, 20.0, 15.0, 10.0, 25.0];

impl Defect {
    const fn index(self) -> usize {
        match self {
            Defect::MissingCustomer => 0,
            Defect::MissingPrice => 1,
            Defect::NegativePrice => 2,
            Defect::BrokenTimestamp => 3,
            Defect::Repeated { .. } => 4,
        }
    }
}

/// Counts of what was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    /// By [`DEFECTS`].
    pub(super) dirty: [u64; DEFECTS.len()],
    /// By [`Pattern::ALL`].
    pub(super) fraud: [u64; Pattern::ALL.len()],
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.rows += other.rows;
        self.dirty.iter_mut().zip(other.dirty).for_each(|(sum, count)| *sum += count);
        self.fraud.iter_mut().zip(other.fraud).for_each(|(sum, count)| *sum += count);
    }

    pub(super) fn dirty_rows(&self) -> u64 {
        self.dirty.iter().sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Fraud(Fraud),
    Defect(Defect),
}

/// The rows of a chunk that are not ordinary, in order. All that is decided here concerns rows of
/// the chunk alone.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) rows: Range<u64>,
    pub(super) special: Vec<(u64, Role)>,
    pub(super) tally: Tally,
}

impl Plan {
    pub(super) fn new(orders: &Orders, settings: &Settings, rows: Range<u64>) -> Plan {
        let len = rows.end - rows.start;
        let fraud = quota(&rows, settings.fraud).min(len);
        let dirty = quota(&rows, settings.dirty).min(len - fraud);
        let mut planner = Planner {
            orders,
            random: Random::new(orders.key() ^ 0x91a7, rows.start),
            taken: vec![false; len as usize],
            plan: Plan {
                rows,
                special: Vec::new(),
                tally: Tally { rows: len, ..Tally::default() },
            },
        };
        planner.plan_fraud(fraud);
        planner.plan_dirt(dirty);
        let mut plan = planner.plan;
        plan.special.sort_unstable_by_key(|&(row, _)| row);
        plan
    }

    /// Calls `each` with every row's order, in order.
    pub(super) fn for_each(&self, orders: &Orders, mut each: impl FnMut(&Order)) {
        let mut special = self.special.iter().peekable();
        let mut cursor = 0;
        for row in self.rows.clone() {
            let role = special.next_if(|&&(special, _)| special == row).map(|&(_, role)| role);
            match role {
                None => each(&orders.order(row, None, &mut cursor)),
                Some(Role::Fraud(fraud)) => each(&orders.order(row, Some(&fraud), &mut cursor)),
                Some(Role::Defect(defect)) => each(&spoilt(orders, row, defect, &mut cursor)),
            }
        }
    }
}

/// How many of the rows are of a kind that has `share` of all rows: rounded over all rows, not in
/// every chunk.
fn quota(rows: &Range<u64>, share: f64) -> u64 {
    let before = |row: u64| (row as f64 * share + 0.5) as u64;
    before(rows.end) - before(rows.start)
}

fn spoilt(orders: &Orders, row: u64, defect: Defect, cursor: &mut usize) -> Order {
    let mut random = Random::new(orders.key() ^ 0xdef, row);
    if let Defect::Repeated { of } = defect {
        let mut order = orders.order(of, None, cursor);
        vary(&mut order, &mut random);
        return order;
    }
    let mut order = orders.order(row, None, cursor);
    match defect {
        Defect::MissingCustomer => order.customer_id = None,
        Defect::MissingPrice => order.price = None,
        Defect::NegativePrice => order.price = order.price.map(|price| -price),
        Defect::BrokenTimestamp => order.broken = Some(random.below(u64::from(u8::MAX)) as u8),
        Defect::Repeated { .. } => {}
    }
    order
}

/// Half of the repeated orders are exact copies; the others differ in a field.
fn vary(order: &mut Order, random: &mut Random) {
    match random.below(6) {
        0 => order.quantity += 1,
        1 => order.payment = (order.payment + 1) % super::customers::PAYMENTS.len() as u8,
        2 => order.rating = if order.rating == Some(5) { Some(4) } else { Some(5) },
        _ => {}
    }
}

struct Planner<'a> {
    orders: &'a Orders,
    random: Random,
    /// Rows of the chunk that already have a role.
    taken: Vec<bool>,
    plan: Plan,
}

impl Planner<'_> {
    /// Cases of several orders as long as the quota has room for a whole one, the rest single ones.
    fn plan_fraud(&mut self, quota: u64) {
        let mut left = quota;
        while left > 0 {
            let (pattern, size, gap_secs) = match self.random.below(20) {
                0..=1 => (Pattern::CardTesting, self.random.between(8, 20), 15..=45),
                2..=5 => (Pattern::SpendingSpree, self.random.between(4, 7), 180..=480),
                _ => (Pattern::CountryMismatch, 1, 0..=0),
            };
            let gap_secs = self.random.between(*gap_secs.start(), *gap_secs.end());
            if size <= left && size > 1 && self.place_case(pattern, size, gap_secs) {
                left -= size;
            } else {
                let row = self.free_row();
                let fraud = Fraud {
                    pattern: Pattern::CountryMismatch,
                    first_row: row,
                    not_after: i64::MAX,
                };
                self.assign(row, Role::Fraud(fraud));
                left -= 1;
            }
        }
    }

    /// Finds rows for a case whose orders follow each other by `gap_secs` or a little less. Where
    /// rows come faster than that, they lie apart; where rows are sparse, they are neighbours, and
    /// their times are drawn together.
    fn place_case(&mut self, pattern: Pattern, size: u64, gap_secs: u64) -> bool {
        let len = self.taken.len() as u64;
        for _ in 0..4 {
            let first = self.random.below(len);
            let first_row = self.plan.rows.start + first;
            let pace = self.orders.pace(first_row).max(1e-6);
            let step = ((gap_secs as f64 / pace) as u64).max(1);
            let offsets = (0..size).map(|nth| first + nth * step);
            if first + (size - 1) * step >= len
                || offsets.clone().any(|offset| self.taken[offset as usize])
            {
                continue;
            }
            let start = self.orders.time(first_row, &mut 0);
            for (nth, offset) in offsets.enumerate() {
                let not_after = match step {
                    1 => start + nth as i64 * gap_secs as i64,
                    _ => i64::MAX,
                };
                let fraud = Fraud { pattern, first_row, not_after };
                self.assign(self.plan.rows.start + offset, Role::Fraud(fraud));
            }
            return true;
        }
        false
    }

    fn plan_dirt(&mut self, quota: u64) {
        let kinds = Alias::new(&FREQUENCIES);
        let dirty: Vec<(u64, usize)> = (0..quota)
            .map(|_| {
                let row = self.free_row();
                self.taken[(row - self.plan.rows.start) as usize] = true;
                (row, kinds.draw(self.random.next()))
            })
            .collect();
        // Only now it is known which rows stay clean, and so may be repeated.
        for (row, kind) in dirty {
            let defect = match kind {
                0 => Defect::MissingCustomer,
                1 => Defect::MissingPrice,
                2 => Defect::NegativePrice,
                3 => Defect::BrokenTimestamp,
                _ => self
                    .earlier_ordinary_row(row)
                    .map_or(Defect::MissingCustomer, |of| Defect::Repeated { of }),
            };
            self.assign(row, Role::Defect(defect));
        }
    }

    /// An ordinary row some way before `row`, if there is one.
    fn earlier_ordinary_row(&mut self, row: u64) -> Option<u64> {
        let offset = row - self.plan.rows.start;
        let back = 1 + self.random.below(500);
        let from = offset.saturating_sub(back);
        let earlier = (0..=from).rev().find(|&offset| !self.taken[offset as usize]);
        let found = earlier.or_else(|| (0..offset).find(|&offset| !self.taken[offset as usize]));
        found.map(|offset| self.plan.rows.start + offset)
    }

    /// A random row without a role. There must be one.
    fn free_row(&mut self) -> u64 {
        let len = self.taken.len() as u64;
        let mut offset = self.random.below(len);
        while self.taken[offset as usize] {
            offset = if offset + 1 == len { 0 } else { offset + 1 };
        }
        self.plan.rows.start + offset
    }

    fn assign(&mut self, row: u64, role: Role) {
        self.taken[(row - self.plan.rows.start) as usize] = true;
        match role {
            Role::Fraud(fraud) => self.plan.tally.fraud[fraud.pattern as usize] += 1,
            Role::Defect(defect) => self.plan.tally.dirty[defect.index()] += 1,
        }
        self.plan.special.push((row, role));
    }
}
