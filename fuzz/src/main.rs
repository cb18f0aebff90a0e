//! Hands the inputs of libFuzzer to the target that `MAMEY_FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mamey_fuzz_targets::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("MAMEY_FUZZ_TARGET").unwrap_or_default();
    TARGETS.into_iter().find(|target| target.name == name).unwrap_or_else(|| {
        let known = TARGETS.map(|target| target.name).join(", ");
        eprintln!("error: MAMEY_FUZZ_TARGET is `{name}`; the targets are {known}");
        std::process::exit(2)
    })
});

fuzz_target!(|input: &[u8]| (TARGET.run)(input));
