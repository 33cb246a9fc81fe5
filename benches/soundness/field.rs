//! Arithmetic modulo 2^255 − 19 and the decoding of RFC 9496, section 4.3.1, step by step, so that each string of 32 bytes
//! can be told the reason for which it is no element, by other code than the one under test. Slow, not in constant time.

/// A number below p, in four words, the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fe([u64; 4]);

const P: [u64; 4] = [
    0xffff_ffff_ffff_ffed,
    u64::MAX,
    u64::MAX,
    0x7fff_ffff_ffff_ffff,
];

/// What RFC 9496 says about 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Not below p: the top bit is set, or the number is p to 2^255 − 1.
    NonCanonical,
    /// Odd: the other sign's encoding.
    Negative,
    /// No point has this number.
    NonSquare,
    /// The product of the coordinates would be negative.
    NegativeProduct,
    /// y would be zero.
    ZeroY,
    /// An encoding, but of the identity.
    Identity,
    /// The one encoding of an element.
    Element,
}

impl Fe {
    pub(crate) const ZERO: Self = Self([0; 4]);
    pub(crate) const ONE: Self = Self([1, 0, 0, 0]);

    /// The number that these bytes spell; `None` if it is not below p.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
            *word = u64::from_le_bytes(chunk.try_into().unwrap());
        }
        (!at_least(&words, &P)).then_some(Self(words))
    }

    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn is_negative(self) -> bool {
        self.0[0] & 1 == 1
    }

    pub(crate) fn add(self, other: Self) -> Self {
        let mut words = [0; 4];
        let mut carry = 0;
        for ((word, a), b) in words.iter_mut().zip(self.0).zip(other.0) {
            let sum = u128::from(a) + u128::from(b) + carry;
            *word = sum as u64;
            carry = sum >> 64;
        }
        Self::reduced(words)
    }

    pub(crate) fn neg(self) -> Self {
        Self::reduced(minus(&P, &self.0))
    }

    pub(crate) fn sub(self, other: Self) -> Self {
        self.add(other.neg())
    }

    pub(crate) fn mul(self, other: Self) -> Self {
        let mut wide = [0u64; 8];
        for i in 0..4 {
            let mut carry = 0;
            for j in 0..4 {
                let sum = u128::from(wide[i + j])
                    + u128::from(self.0[i]) * u128::from(other.0[j])
                    + carry;
                wide[i + j] = sum as u64;
                carry = sum >> 64;
            }
            wide[i + 4] = carry as u64;
        }
        // 2^256 is 38 modulo p; what overflows after the first fold is folded again.
        let mut words = [0; 4];
        let mut carry = 0u128;
        for i in 0..4 {
            let sum = u128::from(wide[i]) + 38 * u128::from(wide[i + 4]) + carry;
            words[i] = sum as u64;
            carry = sum >> 64;
        }
        let mut carry = 38 * carry;
        for word in &mut words {
            let sum = u128::from(*word) + carry;
            *word = sum as u64;
            carry = sum >> 64;
        }
        words[0] += 38 * carry as u64;
        Self::reduced(words)
    }

    fn square(self) -> Self {
        self.mul(self)
    }

    /// This number to the power (p − 5) / 8 = 2^252 − 3.
    fn pow_p58(self) -> Self {
        let mut result = Self::ONE;
        for bit in (0..252).rev() {
            result = result.square();
            // All bits of 2^252 − 3 but the second lowest are set.
            if bit != 1 {
                result = result.mul(self);
            }
        }
        result
    }

    /// RFC 9496, section 4.2: whether u/v is a square, and its nonnegative root (or that of u/v times a root of −1).
    pub(crate) fn sqrt_ratio(u: Self, v: Self) -> (bool, Self) {
        let v3 = v.square().mul(v);
        let v7 = v3.square().mul(v);
        let mut r = u.mul(v3).mul(u.mul(v7).pow_p58());
        let check = v.mul(r.square());
        let i = Self::sqrt_minus_one();
        let (correct, flipped) = (check == u, check == u.neg());
        if flipped || check == u.neg().mul(i) {
            r = r.mul(i);
        }
        (correct || flipped, r.abs())
    }

    pub(crate) fn abs(self) -> Self {
        if self.is_negative() { self.neg() } else { self }
    }

    /// 2^((p − 1) / 4), and (p − 1) / 4 is 2 (p − 5) / 8 + 1.
    pub(crate) fn sqrt_minus_one() -> Self {
        let two = Self([2, 0, 0, 0]);
        two.pow_p58().square().mul(two)
    }

    /// −121665 / 121666, the curve's d: 121666 to the power p − 2, which is 8 (p − 5) / 8 + 3.
    pub(crate) fn d() -> Self {
        let b = Self([121_666, 0, 0, 0]);
        let inverse = b
            .pow_p58()
            .square()
            .square()
            .square()
            .mul(b.square().mul(b));
        Self([121_665, 0, 0, 0]).neg().mul(inverse)
    }

    fn reduced(mut words: [u64; 4]) -> Self {
        while at_least(&words, &P) {
            words = minus(&words, &P);
        }
        Self(words)
    }
}

fn at_least(a: &[u64; 4], b: &[u64; 4]) -> bool {
    a.iter().rev().ge(b.iter().rev())
}

fn minus(a: &[u64; 4], b: &[u64; 4]) -> [u64; 4] {
    let mut words = [0; 4];
    let mut borrow = false;
    for i in 0..4 {
        let (word, one) = a[i].overflowing_sub(b[i]);
        let (word, two) = word.overflowing_sub(u64::from(borrow));
        words[i] = word;
        borrow = one || two;
    }
    words
}

/// RFC 9496, section 4.3.1, and our own rule that the identity is no key.
pub(crate) fn judge(bytes: &[u8; 32]) -> Verdict {
    let Some(s) = Fe::from_bytes(bytes) else {
        return Verdict::NonCanonical;
    };
    if s.is_negative() {
        return Verdict::Negative;
    }
    let ss = s.square();
    let (u1, u2) = (Fe::ONE.sub(ss), Fe::ONE.add(ss));
    let u2_sqr = u2.square();
    let v = Fe::d().mul(u1.square()).neg().sub(u2_sqr);
    let (square, invsqrt) = Fe::sqrt_ratio(Fe::ONE, v.mul(u2_sqr));
    let den_x = invsqrt.mul(u2);
    let den_y = invsqrt.mul(den_x).mul(v);
    let x = s.add(s).mul(den_x).abs();
    let y = u1.mul(den_y);
    if y == Fe::ZERO {
        Verdict::ZeroY
    } else if !square {
        Verdict::NonSquare
    } else if x.mul(y).is_negative() {
        Verdict::NegativeProduct
    } else if s == Fe::ZERO {
        Verdict::Identity
    } else {
        Verdict::Element
    }
}

/// Section 4.3.2 on affine coordinates, whether or not the point belongs to the group.
pub(crate) fn encode(x: Fe, y: Fe) -> [u8; 32] {
    let t = x.mul(y);
    let u1 = Fe::ONE.add(y).mul(Fe::ONE.sub(y));
    let (_, invsqrt) = Fe::sqrt_ratio(Fe::ONE, u1.mul(t.square()));
    let (den1, den2) = (invsqrt.mul(u1), invsqrt.mul(t));
    let z_inv = den1.mul(den2).mul(t);
    let (mut u, mut v, mut den) = (x, y, den2);
    if t.mul(z_inv).is_negative() {
        let i = Fe::sqrt_minus_one();
        let minus_one_minus_d = Fe::ONE.neg().sub(Fe::d());
        (u, v) = (y.mul(i), x.mul(i));
        den = den1.mul(Fe::sqrt_ratio(Fe::ONE, minus_one_minus_d).1);
    }
    if u.mul(z_inv).is_negative() {
        v = v.neg();
    }
    den.mul(Fe::ONE.sub(v)).abs().to_bytes()
}

/// The affine coordinates of a compressed Edwards point (RFC 8032), which must be one.
pub(crate) fn edwards(bytes: &[u8; 32]) -> (Fe, Fe) {
    let mut y = *bytes;
    y[31] &= 0x7f;
    let y = Fe::from_bytes(&y).unwrap();
    let yy = y.square();
    let (_, x) = Fe::sqrt_ratio(yy.sub(Fe::ONE), Fe::d().mul(yy).add(Fe::ONE));
    let x = if bytes[31] >> 7 == 1 { x.neg() } else { x };
    (x, y)
}
