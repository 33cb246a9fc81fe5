//! libFuzzer's door to `murmuration_fuzz::dht_faults`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    murmuration_fuzz::dht_faults::play(data);
});
