//! The language: from texts to plans or diagnostics.

mod cases;
mod kinds;
mod properties;
