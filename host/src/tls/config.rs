//! What we speak and whom we believe.

use super::identity::Identity;
use super::session::TlsSession;
use super::web::WebIdentity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};
use sha2::Digest;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};
use subtle::ConstantTimeEq;
use tallac_core::nurl::Pin;

/// The application protocol of Tallac's frames.
pub const ALPN: &[u8] = b"tallac/1";

/// Makes sessions of both sides with one node's identity. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    /// For the web port, if that speaks TLS.
    web: Option<Arc<ServerConfig>>,
    pin: Pin,
}

impl Tls {
    /// Takes on an identity.
    pub fn new(identity: &Identity) -> Tls {
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has suites of TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified.clone())));
        server.alpn_protocols = vec![ALPN.to_vec()];
        // OpenSSL's clients would have AES-256.
        server.ignore_client_order = true;
        // No resumption: each handshake proves the key anew.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Tls { server: Arc::new(server), web: None, pin: identity.pin() }
    }

    /// The same with what the web port shows of itself.
    pub fn with_web(self, web: &WebIdentity) -> Tls {
        Tls { web: Some(web.config()), ..self }
    }

    /// The session of who accepted a connection to the web port; `None` if that does not speak TLS.
    pub fn web(&self) -> Option<TlsSession> {
        let session = UnbufferedServerConnection::new(self.web.clone()?);
        Some(TlsSession::server(session.expect("the configuration is complete")))
    }

    /// The node's own pin.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// The session of who accepted a connection.
    pub fn server(&self) -> TlsSession {
        let session = UnbufferedServerConnection::new(self.server.clone());
        TlsSession::server(session.expect("the configuration is complete"))
    }

    /// The session of who asked for a connection to the holder of a key.
    pub fn client(&self, pin: Pin) -> TlsSession {
        let client = pinned_client(pin, ALPN);
        // Names play no part; rustls wants one.
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let session = UnbufferedClientConnection::new(Arc::new(client), name);
        TlsSession::client(session.expect("the configuration is complete"))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("pin", &self.pin).finish_non_exhaustive()
    }
}

/// What a client believes that looks for the holder of a key.
pub(super) fn pinned_client(pin: Pin, alpn: &[u8]) -> ClientConfig {
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinVerifier { pin }))
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    // A resumed session would skip the verifier.
    client.resumption = Resumption::disabled();
    client.enable_sni = false;
    client
}

/// Our choice of cryptography, never the process's default. AES-128-GCM is the fastest on the
/// machines we meet.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                TLS13_AES_128_GCM_SHA256,
                TLS13_AES_256_GCM_SHA384,
                TLS13_CHACHA20_POLY1305_SHA256,
            ],
            ..aws_lc_rs::default_provider()
        })
    });
    PROVIDER.clone()
}

/// What a session fails with when the certificate has another key than the pin says. Nothing else
/// in our configuration uses this error.
pub(super) const WRONG_KEY: Error =
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

/// Believes the holder of the pinned key and nobody else.
#[derive(Debug)]
struct PinVerifier {
    pin: Pin,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pin = sha2::Sha256::digest(public_key_info(certificate)?);
        if bool::from(pin.as_slice().ct_eq(&self.pin.0)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(WRONG_KEY)
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let info = SubjectPublicKeyInfoDer::from(public_key_info(certificate)?);
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &info, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn public_key_info<'a>(certificate: &'a CertificateDer<'_>) -> Result<&'a [u8], Error> {
    super::der::public_key_info(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}
