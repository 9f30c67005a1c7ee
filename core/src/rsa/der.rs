//! The DER of RSA keys (X.690, RFC 8017 appendix A.1, RFC 5208, RFC 5280), read strictly: every
//! key has one spelling, and its hash is a capability.

use alloc::vec::Vec;

use super::{KeyError, MODULUS_BITS, PRIVATE_KEY_LEN_MAX, PUBLIC_KEY_LEN_MAX};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// Algorithm identifiers begin with these bytes (an object identifier and nothing).
const RSA_ENCRYPTION: [u8; 13] =
    [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The numbers of a public key, big-endian without leading zeros.
pub(super) struct PublicNumbers<'a> {
    modulus: &'a [u8],
    exponent: &'a [u8],
}

/// Reads a SubjectPublicKeyInfo.
pub(super) fn public_key(der: &[u8]) -> Result<PublicNumbers<'_>, KeyError> {
    if der.len() > PUBLIC_KEY_LEN_MAX {
        return Err(KeyError::TooLong);
    }
    let mut key = Reader(Reader(der).whole(SEQUENCE)?);
    key.rsa()?;
    let bits = key.take(BIT_STRING)?;
    key.end()?;
    // The first byte counts unused bits.
    let (0, numbers) = bits.split_first().map(|(unused, rest)| (*unused, rest)).ok_or(KeyError::Malformed)?
    else {
        return Err(KeyError::Malformed);
    };
    let mut numbers = Reader(Reader(numbers).whole(SEQUENCE)?);
    let public = numbers.public_numbers()?;
    numbers.end()?;
    Ok(public)
}

/// Reads an RSA private key in PKCS#8 and gives the public numbers in it.
pub(super) fn private_key(der: &[u8]) -> Result<PublicNumbers<'_>, KeyError> {
    if der.len() > PRIVATE_KEY_LEN_MAX {
        // A whole key that is too large is told apart from noise, before anything is computed.
        return Err(match private_numbers(der) {
            Err(error @ KeyError::ModulusLength { .. }) => error,
            _ => KeyError::TooLong,
        });
    }
    private_numbers(der)
}

fn private_numbers(der: &[u8]) -> Result<PublicNumbers<'_>, KeyError> {
    let mut key = Reader(Reader(der).whole(SEQUENCE)?);
    key.version()?;
    key.rsa()?;
    let inner = key.take(OCTET_STRING)?;
    key.end()?;
    let mut numbers = Reader(Reader(inner).whole(SEQUENCE)?);
    numbers.version()?;
    let public = numbers.public_numbers()?;
    // Private exponent, two primes, two exponents, a coefficient.
    for _ in 0..6 {
        let number = numbers.number()?;
        if number.len() > MODULUS_BITS / 8 {
            return Err(KeyError::Malformed);
        }
    }
    numbers.end()?;
    Ok(public)
}

/// Puts PKCS#1 into PKCS#8, as the peer does. What is inside is not looked at.
pub(super) fn wrap_private_key(pkcs1: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    write(&mut content, INTEGER, &[0]);
    write(&mut content, SEQUENCE, &RSA_ENCRYPTION);
    // Room for all that follows: the buffer holds a secret and must not leave copies behind.
    let mut content = with_room(content, pkcs1.len() + 8);
    write(&mut content, OCTET_STRING, pkcs1);
    let mut der = Vec::with_capacity(content.len() + 8);
    write(&mut der, SEQUENCE, &content);
    zeroize::Zeroize::zeroize(&mut content);
    der
}

/// Writes a SubjectPublicKeyInfo.
pub(super) fn write_public_key(numbers: &PublicNumbers<'_>) -> Vec<u8> {
    let mut pair = Vec::new();
    for number in [numbers.modulus, numbers.exponent] {
        let sign = number.first().is_some_and(|first| first & 0x80 != 0);
        let padded: Vec<u8> = sign.then_some(0).into_iter().chain(number.iter().copied()).collect();
        write(&mut pair, INTEGER, &padded);
    }
    let mut bits = Vec::from([0]);
    write(&mut bits, SEQUENCE, &pair);
    let mut content = Vec::new();
    write(&mut content, SEQUENCE, &RSA_ENCRYPTION);
    write(&mut content, BIT_STRING, &bits);
    let mut der = Vec::new();
    write(&mut der, SEQUENCE, &content);
    der
}

fn with_room(content: Vec<u8>, len: usize) -> Vec<u8> {
    let mut roomy = Vec::with_capacity(content.len() + len);
    roomy.extend(content);
    roomy
}

fn write(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let len = content.len();
    let bytes = len.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    if len >= 0x80 {
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    } else {
        out.push(len as u8);
    }
    out.extend_from_slice(content);
}

/// Takes values off the front of DER.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, tag: u8) -> Result<&'a [u8], KeyError> {
        let (header, rest) = self.0.split_first_chunk::<2>().ok_or(KeyError::Malformed)?;
        if header[0] != tag {
            return Err(KeyError::Malformed);
        }
        let (len, rest) = match header[1] {
            short @ 0..=0x7f => (usize::from(short), rest),
            // Two bytes of length reach 65535; nothing here is longer.
            long @ 0x81..=0x82 => {
                let (bytes, rest) = rest.split_at_checked((long & 0x7f).into()).ok_or(KeyError::Malformed)?;
                let len = bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
                if len < 0x80 || (bytes.len() == 2 && len < 0x100) {
                    return Err(KeyError::Malformed);
                }
                (len, rest)
            }
            _ => return Err(KeyError::Malformed),
        };
        let (content, rest) = rest.split_at_checked(len).ok_or(KeyError::Malformed)?;
        self.0 = rest;
        Ok(content)
    }

    fn end(&self) -> Result<(), KeyError> {
        if self.0.is_empty() { Ok(()) } else { Err(KeyError::Malformed) }
    }

    /// The only value there is.
    fn whole(mut self, tag: u8) -> Result<&'a [u8], KeyError> {
        let content = self.take(tag)?;
        self.end()?;
        Ok(content)
    }

    fn version(&mut self) -> Result<(), KeyError> {
        if self.take(INTEGER)? == [0] { Ok(()) } else { Err(KeyError::Malformed) }
    }

    fn rsa(&mut self) -> Result<(), KeyError> {
        match self.take(SEQUENCE)? {
            algorithm if algorithm == RSA_ENCRYPTION => Ok(()),
            _ => Err(KeyError::NotRsa),
        }
    }

    /// A positive number in as few bytes as can be, without the zero before a high bit.
    fn number(&mut self) -> Result<&'a [u8], KeyError> {
        match self.take(INTEGER)? {
            [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Ok(rest),
            number if number.first().is_some_and(|first| (1..0x80).contains(first)) => Ok(number),
            _ => Err(KeyError::Malformed),
        }
    }

    fn public_numbers(&mut self) -> Result<PublicNumbers<'a>, KeyError> {
        let modulus = self.number()?;
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        if bits != MODULUS_BITS {
            return Err(KeyError::ModulusLength { bits });
        }
        let exponent = self.number()?;
        let odd = exponent.last().is_some_and(|last| last & 1 == 1);
        if !odd || exponent == [1] || exponent.len() > 4 {
            return Err(KeyError::Exponent);
        }
        // An even modulus is no product of two large primes.
        if modulus.last().is_some_and(|last| last & 1 == 0) {
            return Err(KeyError::Malformed);
        }
        Ok(PublicNumbers { modulus, exponent })
    }
}
