//! How our own pages look.

use std::path::PathBuf;

/// `[pages]`
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// Colour of buttons and links, as it is written.
    pub accent: Option<String>,
    /// Stands in place of our mark and the site's name.
    pub logo: Option<PathBuf>,
    /// Link to the imprint.
    pub imprint: Option<String>,
    /// Link to the privacy notice.
    pub privacy: Option<String>,
    /// A style sheet that is loaded after ours.
    pub style: Option<PathBuf>,
    /// Templates and texts that lie over ours.
    pub folder: Option<PathBuf>,
    /// Whether a form that meets a dead session is kept over the login.
    pub keep_forms: bool,
}
