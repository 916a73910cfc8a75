//! Fuzzes what becomes of a pipeline's file, from its bytes to a plan or problems:
//! `cargo xtask fuzz`.

#![no_main]

mod check;
#[path = "../../orchestrator/tests/language/kinds.rs"]
mod kinds;
mod lines;

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(init: check::words(), |bytes: &[u8]| check::pipeline(bytes));

// Half of the changes are libFuzzer's own, to bytes and with the words of pipeline.dict; half are to
// lines, because those make other pipelines of a pipeline.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match lines::change(&data[..size], seed).filter(|changed| changed.len() <= max_size) {
        Some(changed) => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    let mixed = lines::mix(one, other, seed);
    let size = mixed.len().min(out.len());
    out[..size].copy_from_slice(&mixed[..size]);
    size
});
