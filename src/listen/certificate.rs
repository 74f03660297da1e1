//! The development certificate: self-signed, for `localhost` only, made when it is missing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

/// Its life; shorter than what browsers accept at most (825 days).
const LIFE: time::Duration = time::Duration::days(800);
/// It is made anew when the file is older than this.
const RENEW_AFTER: Duration = Duration::from_secs(700 * 24 * 3600);

/// Where the two files are.
#[derive(Debug, Clone)]
pub struct Files {
    /// PEM, one certificate.
    pub certificate: PathBuf,
    /// PEM, PKCS#8; readable by the owner only.
    pub key: PathBuf,
    /// Whether they were made just now.
    pub made: bool,
}

/// Why there is no development certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or folder could not be written.
    #[error("{path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate could not be made.
    #[error("no development certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// The development certificate in `folder`, made now if it is missing or too old.
///
/// # Errors
/// If it cannot be made or written.
pub fn development(folder: &Path, now: crate::clock::Timestamp) -> Result<Files, CertificateError> {
    let mut files = Files {
        certificate: folder.join("development.pem"),
        key: folder.join("development-key.pem"),
        made: false,
    };
    if files.key.exists() && fresh(&files.certificate, now) {
        return Ok(files);
    }
    fs::create_dir_all(folder).map_err(|error| write_error(folder, error))?;
    let (certificate, key) = make(now)?;
    write_private(&files.key, key.as_bytes()).map_err(|error| write_error(&files.key, error))?;
    fs::write(&files.certificate, certificate)
        .map_err(|error| write_error(&files.certificate, error))?;
    files.made = true;
    Ok(files)
}

fn fresh(certificate: &Path, now: crate::clock::Timestamp) -> bool {
    let modified = fs::metadata(certificate).and_then(|meta| meta.modified());
    let since_epoch = modified.ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since_epoch.is_some_and(|at| {
        now.since(crate::clock::Timestamp::EPOCH).saturating_sub(at) < RENEW_AFTER
    })
}

fn make(now: crate::clock::Timestamp) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    for address in ["127.0.0.1", "::1"] {
        params.subject_alt_names.extend(address.parse().ok().map(SanType::IpAddress));
    }
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Sallyport development, worthless");
    let now = time::OffsetDateTime::from_unix_timestamp(now.secs())
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + LIFE;
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn write_error(path: &Path, source: io::Error) -> CertificateError {
    CertificateError::Write { path: path.to_owned(), source }
}

/// Readable by the owner only from the first byte on.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "file times are the system's")]
    fn it_is_made_once_private_and_usable() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = crate::clock::Timestamp::EPOCH.plus(since);
        let files = development(folder.path(), now).unwrap();
        assert!(files.made);
        assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        let pair = crate::listen::Pair { certificate: files.certificate, key: files.key };
        crate::listen::TlsConfig::new(&[pair], false, false).unwrap();
        assert!(!development(folder.path(), now).unwrap().made);
        // The file is somewhat younger than `now`, by as long as the machine took to make it.
        let later = now.plus(RENEW_AFTER).plus(Duration::from_secs(600));
        assert!(development(folder.path(), later).unwrap().made);
    }
}
