//! End-to-end tests: they drive the binary as a person does.

mod backfill;
mod bad_input;
mod browser;
mod cluster;
mod command_line;
mod crash;
mod daemon;
mod doctor;
mod documents;
mod ecommerce;
mod errors;
mod faults;
mod json;
mod logs;
mod mistakes;
mod nights;
mod pages;
mod project;
mod recovery;
mod secrets;
mod serve;
mod servers;
mod shell;
mod tools;
mod verbs;
