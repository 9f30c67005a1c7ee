//! The certificate of the web port: a chain that somebody has signed, or one made here.

use super::config::provider;
use super::der;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::Digest;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tallac_core::nurl::Pin;

/// What browsers and programs agree on with the web port (RFC 7301).
const ALPN_HTTP: &[u8] = b"http/1.1";
/// How long a certificate made here is valid: browsers refuse longer ones.
const LIFETIME: Duration = Duration::from_secs(397 * 24 * 60 * 60);
/// Clocks differ: a certificate is valid a little before it was made.
const BACKDATE: Duration = Duration::from_secs(24 * 60 * 60);
/// Most certificates of a chain.
const CHAIN_MAX: usize = 16;

/// What the web port shows of itself: a chain of certificates, and the key of the first.
#[derive(Clone)]
pub struct WebIdentity {
    certified: Arc<CertifiedKey>,
}

impl WebIdentity {
    /// Reads a chain (PEM, the web port's own certificate first) and the private key of its first
    /// certificate (PEM).
    ///
    /// # Errors
    /// If one of them holds nothing that can be used, or the key is that of another certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<WebIdentity, WebIdentityError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .take(CHAIN_MAX + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| WebIdentityError::BadCertificate)?;
        let first = chain.first().ok_or(WebIdentityError::NoCertificate)?;
        if chain.len() > CHAIN_MAX {
            return Err(WebIdentityError::LongChain);
        }
        let info = der::public_key_info(first).ok_or(WebIdentityError::BadCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| WebIdentityError::NoKey)?;
        let key = provider().key_provider.load_private_key(key).map_err(|_| WebIdentityError::UnusableKey)?;
        if key.public_key().is_some_and(|of_key| *of_key != *info) {
            return Err(WebIdentityError::OtherKey);
        }
        Ok(WebIdentity { certified: Arc::new(CertifiedKey::new(chain, key)) })
    }

    /// SHA-256 of the first certificate, as browsers show it: pairs of hex digits with colons.
    pub fn fingerprint(&self) -> String {
        let digest = sha2::Sha256::digest(&self.certified.cert[0]);
        digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has suites of TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(self.certified.clone())));
        config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }
}

/// A connection of a program of this node's owner to its web port: whoever shows exactly the certificate
/// in the node directory is the node, whatever its names and dates are.
pub type WebStream = rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>;

impl WebIdentity {
    /// Speaks TLS on a connection to the web port that shows this certificate. The first certificate of
    /// the chain is enough; the handshake is made with the first bytes.
    ///
    /// # Errors
    /// If the chain holds nothing that can be used.
    pub fn connect(chain: &[u8], stream: std::net::TcpStream) -> Result<WebStream, WebIdentityError> {
        let first = CertificateDer::pem_slice_iter(chain).next().ok_or(WebIdentityError::NoCertificate)?;
        let first = first.map_err(|_| WebIdentityError::BadCertificate)?;
        let info = der::public_key_info(&first).ok_or(WebIdentityError::BadCertificate)?;
        let client = super::config::pinned_client(Pin(sha2::Sha256::digest(info).into()), ALPN_HTTP);
        let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        let connection = rustls::ClientConnection::new(Arc::new(client), name)
            .map_err(|error| WebIdentityError::Generate(error.to_string()))?;
        Ok(rustls::StreamOwned::new(connection, stream))
    }
}

impl fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentity").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// Makes an ECDSA P-256 key and a self-signed certificate for these names and addresses, valid for 397
/// days: the certificate and the key, both as PEM.
///
/// # Errors
/// If a name cannot be in a certificate.
pub fn self_signed(names: &[String]) -> Result<(String, String), WebIdentityError> {
    let failed = |error: rcgen::Error| WebIdentityError::Generate(error.to_string());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Tallac web port");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let begin = rcgen::date_time_ymd(1970, 1, 1) + now.saturating_sub(BACKDATE);
    params.not_before = begin;
    params.not_after = begin + LIFETIME;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Why a certificate or key cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WebIdentityError {
    /// There is no certificate in the text.
    NoCertificate,
    /// One of the certificates cannot be read.
    BadCertificate,
    /// There are too many certificates.
    LongChain,
    /// There is no private key in the text.
    NoKey,
    /// The private key is of a kind that cannot sign.
    UnusableKey,
    /// The private key is not that of the first certificate.
    OtherKey,
    /// No certificate could be made.
    Generate(String),
}

impl fmt::Display for WebIdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebIdentityError::NoCertificate => f.write_str("there is no PEM certificate in it"),
            WebIdentityError::BadCertificate => f.write_str("a certificate in it cannot be read"),
            WebIdentityError::LongChain => write!(f, "it has more than {CHAIN_MAX} certificates"),
            WebIdentityError::NoKey => f.write_str("there is no PEM private key in it, or it is encrypted"),
            WebIdentityError::UnusableKey => f.write_str("its private key is of a kind that cannot be used"),
            WebIdentityError::OtherKey => f.write_str(
                "its private key is not that of the first certificate; the web port's own certificate must come first",
            ),
            WebIdentityError::Generate(why) => write!(f, "no certificate could be made: {why}"),
        }
    }
}

impl std::error::Error for WebIdentityError {}
