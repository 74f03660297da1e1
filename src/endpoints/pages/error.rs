//! What can be wrong with the pages at start, in the operator's words. Once they stand, showing
//! them does not fail.

use std::path::PathBuf;

/// Why the pages cannot be made from these settings.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A file of the operator's cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the operator's is too large to be meant.
    #[error("{}: larger than {} KiB", path.display(), super::assets::FILE / 1024)]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A file is not text in UTF-8.
    #[error("{}: not UTF-8", path.display())]
    NotText {
        /// Which.
        path: PathBuf,
    },
    /// A folder has more files than a set of pages needs.
    #[error("{}: more than {} files", path.display(), super::MOST_FILES)]
    TooMany {
        /// Which.
        path: PathBuf,
    },
    /// A template does not parse, or fails on a page that it must be able to show.
    #[error("{file}, line {line}: {detail}")]
    Template {
        /// Path of the operator's file, or the name of one of ours.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// A file of texts has a wrong line.
    #[error("{file}, line {line}: {detail}")]
    Text {
        /// Path of the file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// The accent colour.
    #[error("accent: `{0}` is not a colour: expected `#rgb` or `#rrggbb`")]
    Colour(String),
    /// The logo's kind cannot be told.
    #[error("{}: a logo is a .svg, .png, .webp or .jpg file", path.display())]
    LogoKind {
        /// Which.
        path: PathBuf,
    },
    /// A link that is not `https://...`, `http://...`, `mailto:...` or a path of this site.
    #[error("`{0}` is neither an http(s) or mailto link nor a path that begins with one slash")]
    Link(String),
    /// A logo's URL that another site would have to be asked for.
    #[error("`{0}` is not a path of this site: pages make no request to third parties")]
    ForeignLogo(String),
    /// The base path.
    #[error("`{0}` is not a base path: expected one like `/auth`")]
    Base(String),
    /// An origin that forms may lead to.
    #[error("`{0}` is not an origin: expected one like `https://app.example.org`")]
    Origin(String),
}
