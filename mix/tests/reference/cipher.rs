//! ChaCha20 (RFC 8439), LIONESS and the two modes of BLAKE3, as their papers write them and on vectors. SPEC.md §4 and §5.

/// `derive_key(context)(input)`, read to `len` bytes.
pub(crate) fn derive(context: &str, input: &[u8], len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(input);
    hasher.finalize_xof().fill(&mut out);
    out
}

/// `keyed(key)(input)`, 32 bytes.
pub(crate) fn keyed(key: &[u8], input: &[u8]) -> Vec<u8> {
    let key: [u8; 32] = key.try_into().unwrap();
    blake3::keyed_hash(&key, input).as_bytes().to_vec()
}

pub(crate) fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// The first `len` bytes of the key stream with nonce 0 and first counter 0.
pub(crate) fn chacha20(key: &[u8], len: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut counter = 0;
    while stream.len() < len {
        stream.extend(block(key, counter));
        counter += 1;
    }
    stream.truncate(len);
    stream
}

/// RFC 8439, section 2.3.
fn block(key: &[u8], counter: u32) -> Vec<u8> {
    assert_eq!(key.len(), 32);
    let mut start = [0u32; 16];
    for (word, bytes) in start.iter_mut().zip(b"expand 32-byte k".chunks(4)) {
        *word = u32::from_le_bytes(bytes.try_into().unwrap());
    }
    for (word, bytes) in start[4..].iter_mut().zip(key.chunks(4)) {
        *word = u32::from_le_bytes(bytes.try_into().unwrap());
    }
    start[12] = counter;
    let mut state = start;
    for _ in 0..10 {
        quarter(&mut state, 0, 4, 8, 12);
        quarter(&mut state, 1, 5, 9, 13);
        quarter(&mut state, 2, 6, 10, 14);
        quarter(&mut state, 3, 7, 11, 15);
        quarter(&mut state, 0, 5, 10, 15);
        quarter(&mut state, 1, 6, 11, 12);
        quarter(&mut state, 2, 7, 8, 13);
        quarter(&mut state, 3, 4, 9, 14);
    }
    let mut out = Vec::new();
    for (a, b) in state.iter().zip(start) {
        out.extend(a.wrapping_add(b).to_le_bytes());
    }
    out
}

/// RFC 8439, section 2.1.
fn quarter(s: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(16);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(12);
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(8);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(7);
}

pub(crate) fn wide_encrypt(key: &[u8], block: &[u8]) -> Vec<u8> {
    let [k1, k2, k3, k4] = round_keys(key);
    let (l, r) = halves(block);
    let r = xor(&r, &chacha20(&xor(&l, &k1), r.len()));
    let l = xor(&l, &keyed(&k2, &padded(&r)));
    let r = xor(&r, &chacha20(&xor(&l, &k3), r.len()));
    let l = xor(&l, &keyed(&k4, &padded(&r)));
    [l, r].concat()
}

pub(crate) fn wide_decrypt(key: &[u8], block: &[u8]) -> Vec<u8> {
    let [k1, k2, k3, k4] = round_keys(key);
    let (l, r) = halves(block);
    let l = xor(&l, &keyed(&k4, &padded(&r)));
    let r = xor(&r, &chacha20(&xor(&l, &k3), r.len()));
    let l = xor(&l, &keyed(&k2, &padded(&r)));
    let r = xor(&r, &chacha20(&xor(&l, &k1), r.len()));
    [l, r].concat()
}

fn round_keys(key: &[u8]) -> [Vec<u8>; 4] {
    assert_eq!(key.len(), 32);
    let all = derive("murmuration/v1/lioness", key, 128);
    [0, 32, 64, 96].map(|at| all[at..at + 32].to_vec())
}

/// R°: what is hashed of the right half.
fn padded(r: &[u8]) -> Vec<u8> {
    [r, &[0; 261]].concat()
}

fn halves(block: &[u8]) -> (Vec<u8>, Vec<u8>) {
    assert_eq!(block.len(), 1819);
    (block[..32].to_vec(), block[32..].to_vec())
}
