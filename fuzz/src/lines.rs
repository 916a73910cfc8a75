//! Changes to the lines of a text.

/// Numbers that a seed leads to (SplitMix64).
struct Random(u64);

impl Random {
    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    /// Some neighbouring lines, few rather than many.
    fn some<'a, 't>(&mut self, lines: &'a [&'t [u8]]) -> &'a [&'t [u8]] {
        let start = self.below(lines.len());
        let most = 1 + self.below(6);
        &lines[start..lines.len().min(start + 1 + self.below(most))]
    }
}

/// The text with its lines changed once; nothing where the seed wants another sort of change.
pub(crate) fn change(text: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut random = Random(seed.into());
    let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    if lines.is_empty() || random.below(2) == 0 {
        return None;
    }
    let at = random.below(lines.len());
    let other = random.below(lines.len());
    let line = lines[at];
    let changed: Vec<u8>;
    match random.below(7) {
        0 => drop(lines.remove(at)),
        1 => lines.swap(at, other),
        2 => {
            let some = random.some(&lines).to_vec();
            lines.splice(at..at, some);
        }
        3 => {
            changed = [&b"        "[..2 * (1 + random.below(3))], line].concat();
            lines[at] = &changed;
        }
        4 => {
            let blanks = line.iter().take_while(|byte| **byte == b' ').count();
            lines[at] = &line[blanks.min(2)..];
        }
        // The key of one line with the value of another, and the other way round.
        5 => {
            changed = [parts(line).0, parts(lines[other]).1].concat();
            lines[at] = &changed;
        }
        _ => {
            let blanks = line.iter().take_while(|byte| **byte == b' ').count();
            changed =
                [&line[..blanks], parts(lines[other]).0.trim_ascii_start(), parts(line).1].concat();
            lines[at] = &changed;
        }
    }
    Some(lines.concat())
}

/// One text with some lines of another in it.
pub(crate) fn mix(one: &[u8], other: &[u8], seed: u32) -> Vec<u8> {
    let mut random = Random(seed.into());
    let mut lines: Vec<&[u8]> = one.split_inclusive(|byte| *byte == b'\n').collect();
    let others: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
    if !others.is_empty() {
        let at = random.below(lines.len() + 1);
        let end = lines.len().min(at + random.below(3));
        lines.splice(at..end, random.some(&others).iter().copied());
    }
    lines.concat()
}

/// A line up to its first colon, and from there.
fn parts(line: &[u8]) -> (&[u8], &[u8]) {
    line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(0))
}
