#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| passerelle_fuzz::evidence::hash_chain(data));
