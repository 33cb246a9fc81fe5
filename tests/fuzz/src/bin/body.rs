//! libFuzzer's door to `murmuration_fuzz::body`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    murmuration_fuzz::body::play(data);
});
