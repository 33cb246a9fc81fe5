//! libFuzzer's door to `murmuration_fuzz::header`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    murmuration_fuzz::header::play(data);
});
