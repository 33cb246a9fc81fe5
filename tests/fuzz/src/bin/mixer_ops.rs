//! libFuzzer's door to `murmuration_fuzz::mixer_ops`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    murmuration_fuzz::mixer_ops::play(data);
});
