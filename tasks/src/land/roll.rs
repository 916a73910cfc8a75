//! Rolls: the pieces in which a topic is landed.

use orchestrator::event::Offsets;
use std::fmt;
use std::str::FromStr;

/// A roll's name, which says how far the landing has come with it. A later attempt reads it back
/// from the staged piece or the commit that bears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roll {
    /// Counts from 1.
    pub(super) number: u64,
    /// Rows in it and in all before it.
    pub(super) rows: u64,
    /// Their size as stored, without this one: the name is needed before that is known.
    pub(super) bytes_before: u64,
    /// Every record before these offsets is in it or in one before it, or is not landed here.
    pub(super) ends: Offsets,
}

impl Roll {
    /// The one behind this one.
    pub(super) fn next(&self, rows: u64, bytes_of_this: u64, ends: Offsets) -> Roll {
        Roll {
            number: self.number + 1,
            rows: self.rows + rows,
            bytes_before: self.bytes_before + bytes_of_this,
            ends,
        }
    }
}

/// `roll-00000007.rows-3500.bytes-81230.p0-1234.p1-99`
impl fmt::Display for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Roll { number, rows, bytes_before, ends } = self;
        write!(f, "roll-{number:08}.rows-{rows}.bytes-{bytes_before}")?;
        ends.iter().try_for_each(|(partition, end)| write!(f, ".p{partition}-{end}"))
    }
}

/// Not the name of a roll.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoll;

impl FromStr for Roll {
    type Err = NoRoll;

    fn from_str(text: &str) -> Result<Self, NoRoll> {
        let mut parts = text.split('.').map(|part| part.split_once('-').ok_or(NoRoll));
        let mut number = |key: &str| {
            let (found, value) = parts.next().ok_or(NoRoll)??;
            if found == key { value.parse().map_err(|_| NoRoll) } else { Err(NoRoll) }
        };
        let (roll, rows, bytes_before) = (number("roll")?, number("rows")?, number("bytes")?);
        let mut ends = Offsets::new();
        for part in parts {
            let (key, end) = part?;
            let partition = key.strip_prefix('p').and_then(|p| p.parse().ok()).ok_or(NoRoll)?;
            ends.insert(partition, end.parse().map_err(|_| NoRoll)?);
        }
        Ok(Roll { number: roll, rows, bytes_before, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let ends = Offsets::from([(0, 1234), (1, 99), (17, 0)]);
        let roll = Roll { number: 7, rows: 3500, bytes_before: 81230, ends };
        assert_eq!(roll.to_string().parse(), Ok(roll.clone()));
        assert_eq!(Roll::default().to_string().parse(), Ok(Roll::default()));
        let next = roll.next(5, 10, Offsets::from([(0, 2000)]));
        assert_eq!(next.to_string(), "roll-00000008.rows-3505.bytes-81240.p0-2000");
        assert!(roll.to_string() < next.to_string(), "they sort as they follow");
        for bad in
            ["", "part-0000", "roll-1", "roll-1.rows-2.bytes-x", "roll-1.rows-2.bytes-0.q1-2"]
        {
            assert_eq!(bad.parse::<Roll>(), Err(NoRoll), "{bad}");
        }
    }
}
