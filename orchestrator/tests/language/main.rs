//! The language: from texts to plans or diagnostics.

mod cases;
mod document;
mod files;
mod kinds;
mod late;
mod mistakes;
mod properties;
