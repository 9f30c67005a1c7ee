//! Finds the public key in an X.509 certificate.
//!
//! Tahoe-LAFS nodes show certificates of X.509 version 1, which web-minded parsers refuse. All we
//! want of a certificate is its key, so we walk there ourselves (RFC 5280, 4.1).

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;

/// The SubjectPublicKeyInfo of a certificate, with its header; `None` if that is no certificate.
pub(super) fn public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, rest) = element(SEQUENCE, certificate)?;
    if !rest.is_empty() {
        return None;
    }
    let (mut fields, _) = element(SEQUENCE, certificate.content)?;
    if fields.content.first() == Some(&VERSION) {
        fields.content = element(VERSION, fields.content)?.1;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    let mut rest = fields.content;
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        rest = element(tag, rest)?.1;
    }
    Some(element(SEQUENCE, rest)?.0.whole)
}

struct Element<'a> {
    whole: &'a [u8],
    content: &'a [u8],
}

/// Splits an element with this tag off the front.
fn element(tag: u8, input: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&[found, first], after) = input.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (len, content) = match first {
        0..=0x7f => (first as usize, after),
        0x81..=0x83 => {
            let (digits, content) = after.split_at_checked((first & 0x7f) as usize)?;
            (digits.iter().fold(0, |len, digit| len << 8 | *digit as usize), content)
        }
        _ => return None,
    };
    let (content, rest) = content.split_at_checked(len)?;
    let whole = &input[..input.len() - rest.len()];
    Some((Element { whole, content }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_of_a_certificate_is_taken_for_one() {
        let pem = include_bytes!("testdata/reference-node.pem");
        use rustls_pki_types::pem::PemObject;
        let certificate = rustls_pki_types::CertificateDer::from_pem_slice(pem).unwrap();
        assert!(public_key_info(&certificate).is_some());
        for len in 0..certificate.len() {
            assert_eq!(public_key_info(&certificate[..len]), None, "{len} bytes");
        }
        let mut longer = certificate.to_vec();
        longer.push(0);
        assert_eq!(public_key_info(&longer), None);
    }

    #[test]
    fn lengths_are_read_in_every_form() {
        for len in [0usize, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let mut input = match len {
                0..128 => vec![SEQUENCE, len as u8],
                128..256 => vec![SEQUENCE, 0x81, len as u8],
                256..65_536 => vec![SEQUENCE, 0x82, (len >> 8) as u8, len as u8],
                _ => vec![SEQUENCE, 0x83, (len >> 16) as u8, (len >> 8) as u8, len as u8],
            };
            input.resize(input.len() + len + 3, 7);
            let (found, rest) = element(SEQUENCE, &input).unwrap();
            assert_eq!((found.content.len(), rest.len()), (len, 3));
        }
        assert!(element(SEQUENCE, &[SEQUENCE, 0x80, 0, 0]).is_none(), "no indefinite lengths");
    }
}
