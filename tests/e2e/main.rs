//! End-to-end tests: they drive the binary as a person does.

mod project;
mod recovery;
mod shell;
mod verbs;
