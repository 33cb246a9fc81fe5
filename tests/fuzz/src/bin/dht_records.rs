//! libFuzzer's door to `murmuration_fuzz::dht_records`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    murmuration_fuzz::dht_records::play(data);
});
