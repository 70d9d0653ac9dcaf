#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vdm_fuzz::fuzz("png", input));
