//! Orders and fraud as CSV.

use super::calendar::{DAY_SECS, date};
use super::catalogue::CATEGORIES;
use super::customers::{COUNTRIES, PAYMENTS};
use super::orders::{Fraud, Order, Orders, Status};

pub(super) const HEADER: &str = "order_id,product_id,customer_id,product_category,price,quantity,\
    order_timestamp,user_rating,payment_method,delivery_status,is_prime,delivery_days,discount,\
    country\n";
pub(super) const TRUTH_HEADER: &str = "order_id,pattern,case_id\n";

/// Writes orders as lines of CSV. No value needs quotes.
pub(super) struct Writer {
    line: Line,
    /// The day of which `date` is the text.
    day: i64,
    date: Text,
    categories: [Text; CATEGORIES.len()],
    payments: [Text; PAYMENTS.len()],
    countries: [Text; COUNTRIES.len()],
}

impl Writer {
    pub(super) fn new() -> Self {
        Writer {
            line: Line { bytes: [0; LINE], len: 0 },
            day: i64::MIN,
            date: Text::new(""),
            categories: CATEGORIES.map(|category| Text::new(category.name)),
            payments: PAYMENTS.map(Text::new),
            countries: COUNTRIES.each_ref().map(|country| Text::new(country.code)),
        }
    }

    /// Appends the order to `out`.
    pub(super) fn write(&mut self, order: &Order, out: &mut Vec<u8>) {
        self.line.len = 0;
        self.line.number(order.order_id);
        self.line.comma();
        self.line.number(u64::from(order.product_id));
        self.line.comma();
        if let Some(customer) = order.customer_id {
            self.line.number(u64::from(customer));
        }
        self.line.comma();
        self.line.text(&self.categories[usize::from(order.category)]);
        self.line.comma();
        if let Some(price) = order.price {
            self.line.hundredths(price);
        }
        self.line.comma();
        self.line.number(u64::from(order.quantity));
        self.line.comma();
        self.timestamp(order);
        self.line.comma();
        if let Some(rating) = order.rating {
            self.line.number(u64::from(rating));
        }
        self.line.comma();
        self.line.text(&self.payments[usize::from(order.payment)]);
        self.line.comma();
        self.line.text(status(order.status));
        self.line.comma();
        self.line.text(if order.prime { &TRUE } else { &FALSE });
        self.line.comma();
        if let Some(days) = order.delivery_days {
            self.line.number(u64::from(days));
        }
        self.line.comma();
        self.line.hundredths(i64::from(order.discount));
        self.line.comma();
        self.line.text(&self.countries[usize::from(order.country)]);
        self.line.byte(b'\n');
        out.extend_from_slice(&self.line.bytes[..self.line.len]);
    }

    fn timestamp(&mut self, order: &Order) {
        if let Some(variant) = order.broken {
            self.line.str(&broken_timestamp(order.time, variant));
            return;
        }
        let day = order.time.div_euclid(DAY_SECS);
        if day != self.day {
            self.day = day;
            self.date = Text::new(&date(day).to_string());
        }
        let second = order.time.rem_euclid(DAY_SECS) as u32;
        self.line.text(&self.date);
        self.line.byte(b'T');
        self.line.pair(second / 3_600);
        self.line.byte(b':');
        self.line.pair(second / 60 % 60);
        self.line.byte(b':');
        self.line.pair(second % 60);
        self.line.byte(b'Z');
    }
}

/// A timestamp in RFC 3339, UTC, whole seconds.
pub(super) fn timestamp(time: i64) -> String {
    let second = time.rem_euclid(DAY_SECS);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", date(time.div_euclid(DAY_SECS)))
}

/// A text in the place of a timestamp that no reader takes for one, nor for an empty value.
pub(super) fn broken_timestamp(time: i64, variant: u8) -> String {
    let good = timestamp(time);
    let (date, clock) = good.split_at(10);
    match variant % 5 {
        0 => format!("{}-13-{}{clock}", &date[..4], &date[8..]),
        1 => format!("{}32{clock}", &date[..8]),
        2 => format!("{date}T25{}", &clock[3..]),
        3 => "not a time".to_owned(),
        _ => format!("{}-02-30{clock}", &date[..4]),
    }
}

/// Appends what `truth` tells of a fraudulent row.
pub(super) fn write_truth(orders: &Orders, row: u64, fraud: &Fraud, out: &mut Vec<u8>) {
    let (order, case) = (orders.order_id(row), orders.order_id(fraud.first_row));
    let line = format!("{order},{},{case}\n", fraud.pattern.as_str());
    out.extend_from_slice(line.as_bytes());
}

const TRUE: Text = Text::new("true");
const FALSE: Text = Text::new("false");

fn status(status: Status) -> &'static Text {
    const TEXTS: [Text; 5] = [
        Text::new(Status::Processing.as_str()),
        Text::new(Status::Shipped.as_str()),
        Text::new(Status::Delivered.as_str()),
        Text::new(Status::Returned.as_str()),
        Text::new(Status::Cancelled.as_str()),
    ];
    static STATIC: [Text; 5] = TEXTS;
    &STATIC[status as usize]
}

/// Longer than any line: 20 digits at most for each number, 16 bytes for each text.
const LINE: usize = 256;
const TEXT: usize = 16;

/// A short text that is copied as a whole, which is faster than copying its exact length.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; TEXT],
    len: u8,
}

impl Text {
    const fn new(text: &str) -> Self {
        let from = text.as_bytes();
        let mut bytes = [0; TEXT];
        let mut i = 0;
        while i < from.len() {
            bytes[i] = from[i];
            i += 1;
        }
        Text { bytes, len: from.len() as u8 }
    }
}

/// A line in the making.
struct Line {
    bytes: [u8; LINE],
    len: usize,
}

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

impl Line {
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn comma(&mut self) {
        self.byte(b',');
    }

    fn text(&mut self, text: &Text) {
        self.bytes[self.len..self.len + TEXT].copy_from_slice(&text.bytes);
        self.len += usize::from(text.len);
    }

    fn str(&mut self, text: &str) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text.as_bytes());
        self.len += text.len();
    }

    /// Two digits of a number below 100.
    fn pair(&mut self, number: u32) {
        self.bytes[self.len..self.len + 2].copy_from_slice(&PAIRS[number as usize]);
        self.len += 2;
    }

    fn number(&mut self, mut number: u64) {
        let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut at = self.len + digits;
        self.len = at;
        while number >= 10 {
            at -= 2;
            self.bytes[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
            number /= 100;
        }
        if digits % 2 == 1 {
            self.bytes[at - 1] = b'0' + number as u8;
        }
    }

    /// A number of hundredths with two digits behind the point.
    fn hundredths(&mut self, number: i64) {
        if number < 0 {
            self.byte(b'-');
        }
        let number = number.unsigned_abs();
        self.number(number / 100);
        self.byte(b'.');
        self.pair((number % 100) as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(write: impl Fn(&mut Line)) -> String {
        let mut line = Line { bytes: [0; LINE], len: 0 };
        write(&mut line);
        String::from_utf8(line.bytes[..line.len].to_vec()).unwrap()
    }

    #[test]
    fn numbers() {
        for number in [0, 1, 9, 10, 11, 99, 100, 101, 1_234_567, 10_000_000, u64::MAX] {
            assert_eq!(line(|line| line.number(number)), number.to_string());
        }
        assert_eq!(line(|line| line.hundredths(1299)), "12.99");
        assert_eq!(line(|line| line.hundredths(-5)), "-0.05");
        assert_eq!(line(|line| line.hundredths(0)), "0.00");
    }

    #[test]
    fn an_order() {
        let order = Order {
            order_id: 498_960_420_000_017,
            product_id: 100_042,
            customer_id: Some(1_000_007),
            category: 2,
            price: Some(1_299),
            quantity: 3,
            time: 1_795_524_302,
            broken: None,
            rating: Some(4),
            payment: 5,
            status: Status::Delivered,
            prime: true,
            delivery_days: Some(2),
            discount: 15,
            country: 0,
        };
        let check = |order: &Order, expect: &str| {
            let mut out = Vec::new();
            Writer::new().write(order, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        };
        check(
            &order,
            "498960420000017,100042,1000007,Home & Kitchen,12.99,3,2026-11-24T12:45:02Z,4,\
             Cash on Delivery,Delivered,true,2,0.15,US\n",
        );
        let bare = Order {
            customer_id: None,
            price: None,
            rating: None,
            delivery_days: None,
            broken: Some(0),
            ..order
        };
        check(
            &bare,
            "498960420000017,100042,,Home & Kitchen,,3,2026-13-24T12:45:02Z,,\
             Cash on Delivery,Delivered,true,,0.15,US\n",
        );
    }

    #[test]
    fn a_broken_timestamp_is_one_for_every_reader() {
        use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
        assert!(string_to_timestamp_nanos(&timestamp(1_795_524_302)).is_ok());
        for variant in 0..5 {
            let text = broken_timestamp(1_795_524_302, variant);
            assert!(string_to_timestamp_nanos(&text).is_err(), "{text}");
            assert!(text.parse::<jiff::Timestamp>().is_err(), "{text}");
            assert!(text.parse::<jiff::civil::DateTime>().is_err(), "{text}");
        }
    }
}
