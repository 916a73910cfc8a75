//! `uses: report`

mod canvas;
mod dashboard;
mod data;
mod draw;
mod figure;
mod format;
mod page;
mod plotly;
mod query;
mod render;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod theme;
mod ticks;
mod yaml;
