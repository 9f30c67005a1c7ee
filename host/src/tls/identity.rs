//! A node's key and certificate.

use super::config::provider;
use super::der;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha1::Digest;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tallac_core::identity::TubId;
use tallac_core::nurl::Pin;

const LIFETIME: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Clocks differ: a certificate is valid a little before it was made.
const BACKDATE: Duration = Duration::from_secs(24 * 60 * 60);

/// A private key and the self-signed certificate that shows its public half.
///
/// Kept in one PEM file, as Tahoe-LAFS keeps its `private/node.pem`, and that file can be used as
/// it is: RSA keys, PKCS#1 and certificates of X.509 version 1 included.
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    pin: Pin,
}

impl Identity {
    /// Reads the identity in a PEM file. If there is no such file, makes an ECDSA P-256 key with a
    /// certificate for ten years and writes the file: all or nothing, durable, mode 0600.
    pub fn create_or_load(path: &Path) -> Result<Identity, IdentityError> {
        match fs::read(path) {
            Ok(pem) => Identity::from_pem(&pem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = generate()?;
                match write_new(path, pem.as_bytes()) {
                    Ok(()) => Identity::from_pem(pem.as_bytes()),
                    // Another process was faster: its key is the node's key.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        Identity::from_pem(&fs::read(path)?)
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an identity that is kept nowhere.
    pub fn ephemeral() -> Result<Identity, IdentityError> {
        Identity::from_pem(generate()?.as_bytes())
    }

    /// Reads a PEM text with a certificate and its private key, in any order. Of several
    /// certificates the first is taken.
    pub fn from_pem(pem: &[u8]) -> Result<Identity, IdentityError> {
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| IdentityError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| IdentityError::NoKey)?;
        let info = der::public_key_info(&certificate).ok_or(IdentityError::NoCertificate)?;
        let pin = Pin(sha2::Sha256::digest(info).into());
        let key = provider().key_provider.load_private_key(key).map_err(|_| IdentityError::UnusableKey)?;
        if key.public_key().is_some_and(|of_key| *of_key != *info) {
            return Err(IdentityError::UnusableKey);
        }
        Ok(Identity { certified: Arc::new(CertifiedKey::new(vec![certificate], key)), pin })
    }

    /// What others know this node by: SHA-256 of the DER SubjectPublicKeyInfo.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// The node's name in the grid's older parts: SHA-1 of the DER certificate.
    pub fn tub_id(&self) -> TubId {
        TubId(sha1::Sha1::digest(&self.certified.cert[0]).into())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("pin", &self.pin).finish_non_exhaustive()
    }
}

/// Why there is no identity.
#[derive(Debug)]
pub enum IdentityError {
    /// The file cannot be read or written.
    File(io::Error),
    /// There is no certificate in it that we can read.
    NoCertificate,
    /// There is no private key in it that we can read.
    NoKey,
    /// The key is of a kind we cannot sign with, or it is not the certificate's key.
    UnusableKey,
    /// No key could be made.
    Generate(String),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityError::File(error) => write!(f, "the node's key file cannot be used: {error}"),
            IdentityError::NoCertificate => f.write_str("the node's key file holds no readable certificate"),
            IdentityError::NoKey => f.write_str("the node's key file holds no readable private key"),
            IdentityError::UnusableKey => {
                f.write_str("the private key in the node's key file is not that of its certificate, or of an unknown kind")
            }
            IdentityError::Generate(why) => write!(f, "no key could be made: {why}"),
        }
    }
}

impl std::error::Error for IdentityError {}

impl From<io::Error> for IdentityError {
    fn from(error: io::Error) -> IdentityError {
        IdentityError::File(error)
    }
}

fn generate() -> Result<String, IdentityError> {
    let failed = |error: rcgen::Error| IdentityError::Generate(error.to_string());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "tallac");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + now + LIFETIME;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

/// Writes a file that must not exist yet. It appears whole or not at all, and survives a crash
/// once this returns.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const REFERENCE: &[u8] = include_bytes!("testdata/reference-node.pem");
    const REFERENCE_PKCS1: &[u8] = include_bytes!("testdata/reference-node-pkcs1.pem");

    #[test]
    fn a_reference_node_keeps_its_names() {
        for pem in [REFERENCE, REFERENCE_PKCS1] {
            let identity = Identity::from_pem(pem).unwrap();
            assert_eq!(
                hex(&identity.pin().0),
                "677f6736488a289f51599dd6c86024616c4ee10f6e81b3ded1c1aa0a5623bcf1"
            );
            assert_eq!(hex(&identity.tub_id().0), "660f4f603dd492940f42d0f206cb1b859de69482");
        }
    }

    #[test]
    fn an_identity_is_made_once_and_then_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.pem");
        let made = Identity::create_or_load(&path).unwrap();
        let loaded = Identity::create_or_load(&path).unwrap();
        assert_eq!((made.pin(), made.tub_id()), (loaded.pin(), loaded.tub_id()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        assert_eq!(write_new(&path, b"other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_broken_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.pem");
        fs::write(&path, b"nonsense").unwrap();
        assert!(matches!(Identity::create_or_load(&path), Err(IdentityError::NoCertificate)));
        assert_eq!(fs::read(&path).unwrap(), b"nonsense");
    }

    /// Skipped where there is no openssl.
    #[test]
    fn openssl_sees_the_same_key_and_dates() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.pem");
        let identity = Identity::create_or_load(&path).unwrap();
        let openssl = |arguments: &str, input: &[u8]| {
            let mut command = Command::new("openssl");
            command.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().ok()?;
            child.stdin.take()?.write_all(input).ok()?;
            let output = child.wait_with_output().ok()?;
            assert!(output.status.success(), "openssl {arguments}");
            Some(output.stdout)
        };
        let pem = fs::read(&path).unwrap();
        let Some(public) = openssl("x509 -noout -pubkey", &pem) else { return };
        let info = openssl("pkey -pubin -outform DER", &public).unwrap();
        assert_eq!(Pin(sha2::Sha256::digest(&info).into()), identity.pin());
        let certificate = openssl("x509 -outform DER", &pem).unwrap();
        assert_eq!(TubId(sha1::Sha1::digest(&certificate).into()), identity.tub_id());
        let private = openssl("pkey -pubout -outform DER", &pem).unwrap();
        assert_eq!(private, info, "the private key is that of the certificate");
        let nine_years = (9 * 365 * 24 * 60 * 60).to_string();
        openssl(&format!("x509 -checkend {nine_years}"), &pem).unwrap();
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
