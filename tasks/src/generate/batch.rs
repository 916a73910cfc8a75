//! Orders and fraud as Arrow, for tables.

use super::catalogue::CATEGORIES;
use super::csv::{broken_timestamp, timestamp};
use super::customers::{COUNTRIES, PAYMENTS};
use super::orders::{Fraud, Order, Orders};
use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch,
    StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use std::sync::Arc;

/// The columns of the CSV. `order_timestamp` is a text, as a broken one is no timestamp.
pub(super) fn order_schema() -> SchemaRef {
    let field = |name: &str, data_type, nullable| Field::new(name, data_type, nullable);
    Arc::new(Schema::new(vec![
        field("order_id", DataType::Int64, false),
        field("product_id", DataType::Int64, false),
        field("customer_id", DataType::Int64, true),
        field("product_category", DataType::Utf8, false),
        field("price", DataType::Float64, true),
        field("quantity", DataType::Int32, false),
        field("order_timestamp", DataType::Utf8, false),
        field("user_rating", DataType::Int32, true),
        field("payment_method", DataType::Utf8, false),
        field("delivery_status", DataType::Utf8, false),
        field("is_prime", DataType::Boolean, false),
        field("delivery_days", DataType::Int32, true),
        field("discount", DataType::Float64, false),
        field("country", DataType::Utf8, false),
    ]))
}

pub(super) fn truth_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("order_id", DataType::Int64, false),
        Field::new("pattern", DataType::Utf8, false),
        Field::new("case_id", DataType::Int64, false),
    ]))
}

/// Collects orders into a batch.
#[derive(Default)]
pub(super) struct OrderBatch {
    order_id: Int64Builder,
    product_id: Int64Builder,
    customer_id: Int64Builder,
    product_category: StringBuilder,
    price: Float64Builder,
    quantity: Int32Builder,
    order_timestamp: StringBuilder,
    user_rating: Int32Builder,
    payment_method: StringBuilder,
    delivery_status: StringBuilder,
    is_prime: BooleanBuilder,
    delivery_days: Int32Builder,
    discount: Float64Builder,
    country: StringBuilder,
}

impl OrderBatch {
    pub(super) fn push(&mut self, order: &Order) {
        self.order_id.append_value(order.order_id as i64);
        self.product_id.append_value(order.product_id.into());
        self.customer_id.append_option(order.customer_id.map(Into::into));
        self.product_category.append_value(CATEGORIES[usize::from(order.category)].name);
        self.price.append_option(order.price.map(|cents| cents as f64 / 100.0));
        self.quantity.append_value(order.quantity.into());
        self.order_timestamp.append_value(match order.broken {
            Some(variant) => broken_timestamp(order.time, variant),
            None => timestamp(order.time),
        });
        self.user_rating.append_option(order.rating.map(Into::into));
        self.payment_method.append_value(PAYMENTS[usize::from(order.payment)]);
        self.delivery_status.append_value(order.status.as_str());
        self.is_prime.append_value(order.prime);
        self.delivery_days.append_option(order.delivery_days.map(Into::into));
        self.discount.append_value(f64::from(order.discount) / 100.0);
        self.country.append_value(COUNTRIES[usize::from(order.country)].code);
    }

    pub(super) fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        self.order_id.len()
    }

    /// The orders so far; the collection is then empty.
    pub(super) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.order_id.finish()),
            Arc::new(self.product_id.finish()),
            Arc::new(self.customer_id.finish()),
            Arc::new(self.product_category.finish()),
            Arc::new(self.price.finish()),
            Arc::new(self.quantity.finish()),
            Arc::new(self.order_timestamp.finish()),
            Arc::new(self.user_rating.finish()),
            Arc::new(self.payment_method.finish()),
            Arc::new(self.delivery_status.finish()),
            Arc::new(self.is_prime.finish()),
            Arc::new(self.delivery_days.finish()),
            Arc::new(self.discount.finish()),
            Arc::new(self.country.finish()),
        ];
        RecordBatch::try_new(order_schema(), columns)
    }
}

/// What `truth` tells of fraudulent rows.
pub(super) fn truth(orders: &Orders, fraud: &[(u64, Fraud)]) -> Result<RecordBatch, ArrowError> {
    let (mut order_id, mut pattern, mut case_id) =
        (Int64Builder::new(), StringBuilder::new(), Int64Builder::new());
    for (row, fraud) in fraud {
        order_id.append_value(orders.order_id(*row) as i64);
        pattern.append_value(fraud.pattern.as_str());
        case_id.append_value(orders.order_id(fraud.first_row) as i64);
    }
    let columns: Vec<ArrayRef> =
        vec![Arc::new(order_id.finish()), Arc::new(pattern.finish()), Arc::new(case_id.finish())];
    RecordBatch::try_new(truth_schema(), columns)
}
