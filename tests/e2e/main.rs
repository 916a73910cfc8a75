//! End-to-end tests: they drive the binary as a person does.

mod bad_input;
mod crash;
mod documents;
mod ecommerce;
mod nights;
mod project;
mod recovery;
mod shell;
mod verbs;
