//! libFuzzer's door to `murmuration_fuzz::dht_pki`.
#![no_main]
libfuzzer_sys::fuzz_target!(
    init: {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            eprintln!("all that was played: {}", murmuration_fuzz::dht_pki::history());
            before(info);
        }));
    },
    |data: &[u8]| {
        murmuration_fuzz::dht_pki::fuzz(data);
    }
);
