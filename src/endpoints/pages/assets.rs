//! What a page loads besides itself: style, script, icon, and the operator's logo and style. Named
//! by their content, so that a browser may keep them for ever.

use std::path::Path;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::PageError;
use super::theme::{self, Colour};

/// Most bytes of a file that the operator brings.
pub(super) const FILE: u64 = 256 * 1024;

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/page.js");

/// A file under `<base>/assets/`.
#[derive(Debug, Clone)]
pub struct Asset {
    /// The last part of its path.
    pub name: String,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The file.
    pub body: Bytes,
    /// What `?v=` of its URL carries: a hash of the body.
    pub version: String,
    /// `ETag`, with its quotes.
    pub etag: String,
}

impl Asset {
    fn new(name: impl Into<String>, content_type: &'static str, body: Bytes) -> Self {
        let hash = digest::digest(&digest::SHA256, &body);
        let version: String =
            hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let etag = format!("\"{version}\"");
        Self { name: name.into(), content_type, body, version, etag }
    }

    /// `Cache-Control` for a request that asked for `version`: for ever if it is this one. During
    /// an update another replica's page may ask for a version that is not here; what it gets must
    /// not be kept under that name.
    pub fn cache_control(&self, version: Option<&str>) -> &'static str {
        if version == Some(self.version.as_str()) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        }
    }
}

/// Our own assets in the operator's accent.
pub(super) fn built_in(accent: Colour) -> Vec<Asset> {
    let style = format!("{}\n{}", theme::rules(accent), STYLE);
    vec![
        Asset::new("style.css", "text/css; charset=utf-8", style.into()),
        Asset::new(
            "page.js",
            "text/javascript; charset=utf-8",
            Bytes::from_static(SCRIPT.as_bytes()),
        ),
        Asset::new("icon.svg", "image/svg+xml", theme::icon(accent).into()),
    ]
}

/// The operator's style, loaded after ours.
pub(super) fn brand_style(path: &Path) -> Result<Asset, PageError> {
    Ok(Asset::new("brand.css", "text/css; charset=utf-8", read(path)?.into()))
}

/// The operator's logo. Its kind is told by the name's ending.
pub(super) fn logo(path: &Path) -> Result<Asset, PageError> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let (name, content_type) = match ending.as_str() {
        "svg" => ("logo.svg", "image/svg+xml"),
        "png" => ("logo.png", "image/png"),
        "webp" => ("logo.webp", "image/webp"),
        "jpg" | "jpeg" => ("logo.jpg", "image/jpeg"),
        _ => return Err(PageError::LogoKind { path: path.to_owned() }),
    };
    Ok(Asset::new(name, content_type, read(path)?.into()))
}

/// A file of the operator's, at start; refused if it is too large to be meant.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, PageError> {
    use std::io::Read as _;
    let failed = |source| PageError::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut body = Vec::new();
    file.take(FILE.saturating_add(1)).read_to_end(&mut body).map_err(failed)?;
    if u64::try_from(body.len()).is_ok_and(|length| length > FILE) {
        return Err(PageError::TooLarge { path: path.to_owned() });
    }
    Ok(body)
}
