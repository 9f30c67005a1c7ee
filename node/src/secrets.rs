//! The keys and secrets in a node directory: made once, mode 0600, kept for ever.
//!
//! Names and content of the files are Tahoe-LAFS's, so that a directory can go either way.

use anyhow::{Context, Result, anyhow};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use tallac_core::base32;
use tallac_core::nurl::Swissnum;
use tallac_core::secret::Secret;
use tallac_host::unix::{self, Mode};
use tallac_web::gateway::{ApiToken, LoginToken};
use tallac_web::pages::PageKeys;

/// Holds the token of who uses the web port.
const LOGIN: &str = "web-login";

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow!("the operating system gives no randomness: {error}"))?;
    Ok(bytes)
}

/// Makes a directory that only its owner enters.
pub(crate) fn make_private_dir(path: &Path) -> Result<()> {
    match unix::create_dir(path, Mode::Private) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("making the directory {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a small file whole, durable, mode 0600: beside, then renamed.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        file.write_all(content.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(parent)?.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Makes a small file whole, durable, mode 0600. Fails if it is there by now: no secret is ever
/// overwritten, and a crash leaves none half written.
pub(crate) fn write_new_private(path: &Path, content: &str) -> std::io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    File::open(parent)?.sync_all()
}

/// The content of a file, made first if it is not there.
fn get_or_make(path: &Path, make: impl FnOnce() -> Result<String>) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(content.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let content = make()?;
            write_new_private(
                path,
                &format!(
                    "{content}
"
                ),
            )
            .with_context(|| format!("making {}", path.display()))?;
            Ok(content)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn damaged(path: &Path, form: &str) -> anyhow::Error {
    anyhow!("{} is damaged: it must hold {form}. Restore it from a copy", path.display())
}

/// `private/node.privkey`: the Ed25519 key that signs announcements.
pub(crate) fn announcement_key(private: &Path) -> Result<Secret<32>> {
    let path = private.join("node.privkey");
    let text = get_or_make(&path, || Ok(format!("priv-v0-{}", base32::encode(&random::<32>()?))))?;
    let key = text.strip_prefix("priv-v0-").and_then(base32::decode_array);
    Ok(Secret::from_bytes(key.ok_or_else(|| damaged(&path, "priv-v0- and 52 base32 characters"))?))
}

/// `private/secret`: the master secret for leases.
pub(crate) fn lease_secret(private: &Path) -> Result<Secret<32>> {
    let path = private.join("secret");
    let text = get_or_make(&path, || Ok(base32::encode(&random::<32>()?)))?;
    let secret = base32::decode_array(&text).ok_or_else(|| damaged(&path, "52 base32 characters"))?;
    Ok(Secret::from_bytes(secret))
}

/// `private/convergence`: what makes the same content the same file only within one node.
pub(crate) fn convergence(private: &Path) -> Result<Vec<u8>> {
    let path = private.join("convergence");
    let text = get_or_make(&path, || Ok(base32::encode(&random::<32>()?)))?;
    let secret = base32::decode(&text).filter(|secret| !secret.is_empty());
    secret.ok_or_else(|| damaged(&path, "base32 characters"))
}

/// `private/api_auth_token`: who can read it may do at the web port what only the node's owner may.
pub(crate) fn api_token(private: &Path) -> Result<ApiToken> {
    let path = private.join("api_auth_token");
    let text = get_or_make(&path, || Ok(base32::encode(&random::<32>()?)))?;
    ApiToken::new(&text).ok_or_else(|| damaged(&path, "at least 16 printable characters"))
}

/// `private/web-login`: what who uses the web port must show, if that is asked for. Its owner may write
/// another.
pub(crate) fn login_token(private: &Path, secure: bool) -> Result<LoginToken> {
    let path = private.join(LOGIN);
    let text = get_or_make(&path, || Ok(base32::encode(&random::<32>()?)))?;
    LoginToken::new(&text, secure).ok_or_else(|| damaged(&path, "at least 16 printable characters"))
}

/// What is in `private/web-login`, if there is such a file.
pub(crate) fn read_login_token(private: &Path) -> Result<Option<String>> {
    let path = private.join(LOGIN);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// `private/pages_secret`: what the addresses of the web port's pages are sealed with.
pub(crate) fn page_keys(private: &Path) -> Result<PageKeys> {
    let path = private.join("pages_secret");
    let text = get_or_make(&path, || Ok(base32::encode(&random::<32>()?)))?;
    let secret = base32::decode_array(&text).ok_or_else(|| damaged(&path, "52 base32 characters"))?;
    Ok(PageKeys::new(&secret))
}

/// What is in `private/api_auth_token` of a node that has run.
pub(crate) fn read_api_token(private: &Path) -> Result<String> {
    let path = private.join("api_auth_token");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// The swissnum at the end of the furl in a file such as `private/storage.furl`. `None` if there is
/// no file yet.
pub(crate) fn swissnum(path: &Path) -> Result<Option<Swissnum>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let name = line.and_then(|line| line.trim_end_matches("#v=1").rsplit_once('/')).map(|(_, name)| name);
    let swissnum = name.and_then(Swissnum::new).ok_or_else(|| damaged(path, "a furl"))?;
    Ok(Some(swissnum))
}

/// A new name of a service: 160 random bits, as long as Tahoe-LAFS's.
pub(crate) fn new_swissnum() -> Result<Swissnum> {
    let name = base32::encode(&random::<20>()?);
    Swissnum::new(&name).ok_or_else(|| anyhow!("base32 text is a swissnum"))
}

/// `permutation-seed`: the node's place on the ring, by default its public key.
pub(crate) fn permutation_seed(directory: &Path, public_key: &[u8; 32]) -> Result<Vec<u8>> {
    let path = directory.join("permutation-seed");
    let text = get_or_make(&path, || Ok(base32::encode(public_key)))?;
    let seed = base32::decode(&text).filter(|seed| !seed.is_empty());
    seed.ok_or_else(|| damaged(&path, "base32 characters"))
}

/// `announcement-seqnum`: a number greater than in any earlier run, noted before it is used. The
/// date is a lower bound, so that a node that lost the file is heard again.
pub(crate) fn next_sequence(directory: &Path, unix_seconds: u64) -> Result<u64> {
    let path = directory.join("announcement-seqnum");
    let last: u64 = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let next = (last + 1).max(unix_seconds);
    write_private(&path, &format!("{next}\n"))?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_are_made_once_and_are_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let first = announcement_key(dir.path()).unwrap();
        assert_eq!(announcement_key(dir.path()).unwrap(), first);
        let mode = fs::metadata(dir.path().join("node.privkey")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.path().join("node.privkey"), "nonsense").unwrap();
        let error = announcement_key(dir.path()).unwrap_err().to_string();
        assert!(error.contains("node.privkey is damaged"), "{error}");
    }

    #[test]
    fn sequence_numbers_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(next_sequence(dir.path(), 100).unwrap(), 100);
        assert_eq!(next_sequence(dir.path(), 50).unwrap(), 101);
        fs::remove_file(dir.path().join("announcement-seqnum")).unwrap();
        assert_eq!(next_sequence(dir.path(), 200).unwrap(), 200);
    }

    #[test]
    fn swissnums_are_read_from_either_form() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("storage.furl");
        assert_eq!(swissnum(&path).unwrap(), None);
        for line in ["pb://tubid@tcp:h:1/name23\n", "pb://hash@h:1/name23#v=1\n"] {
            fs::write(&path, line).unwrap();
            assert_eq!(swissnum(&path).unwrap(), Swissnum::new("name23"));
        }
        fs::write(&path, "nothing").unwrap();
        assert!(swissnum(&path).is_err());
    }
}
