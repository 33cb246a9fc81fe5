//! libFuzzer's door to `murmuration_fuzz::process`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    murmuration_fuzz::process::play(data);
});
