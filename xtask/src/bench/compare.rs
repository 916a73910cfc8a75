//! Showing figures, and two files of them side by side.

use super::{Figure, Figures};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;

pub(super) fn print(figures: &BTreeMap<String, Figure>) {
    println!("{:<44} {:>12} {:>12} {:>12}", "figure", "median", "min", "max");
    for (name, figure) in figures {
        let Figure { unit, median, min, max } = figure;
        println!("{name:<44} {median:>12.3} {min:>12.3} {max:>12.3} {unit}");
    }
}

pub(super) fn compare(before: &Path, after: &Path) -> Result<()> {
    let (before, after) = (read(before)?, read(after)?);
    if (before.rows, before.processors) != (after.rows, after.processors) {
        println!(
            "not alike: {} rows on {} processors, and {} rows on {}",
            before.rows, before.processors, after.rows, after.processors
        );
    }
    println!("{:<44} {:>12} {:>12} {:>8}", "figure", "before", "after", "ratio");
    for (name, old) in &before.figures {
        if let Some(new) = after.figures.get(name) {
            let ratio = new.median / old.median;
            let (old, unit) = (old.median, &old.unit);
            println!("{name:<44} {old:>12.3} {:>12.3} {ratio:>8.2} {unit}", new.median);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Figures> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("`{}` holds no figures of this program", path.display()))
}
