//! libFuzzer's door to `murmuration_fuzz::surb`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    murmuration_fuzz::surb::play(data);
});
