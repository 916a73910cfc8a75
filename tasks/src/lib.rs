//! The built-in task kinds of tidemill and their connections to the outside.

pub mod places;
