//! `[pages]` as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The looks of the gateway's own pages. The site's name is `login.site_name`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Pages {
    /// Colour of buttons and links, `"#rgb"` or `"#rrggbb"`. Where it could not be read on the light
    /// or the dark ground, the nearest shade that can be stands in. Default: deep pine.
    pub accent: Option<String>,
    /// File that stands in place of our mark and the site's name: `.svg`, `.png`, `.webp` or
    /// `.jpg`, at most 256 KiB. Default: none.
    pub logo: Option<String>,
    /// Link to the imprint: `https://...`, `mailto:...`, or a path of this site. Default: none.
    pub imprint: Option<String>,
    /// Link to the privacy notice, likewise. Default: none.
    pub privacy: Option<String>,
    /// Style sheet that is loaded after ours, at most 256 KiB. Pages load nothing from other sites,
    /// and neither can it. Default: none.
    pub style: Option<String>,
    /// Folder with `templates/*.html` and `texts/LANGUAGE.txt` that lie over ours: a template takes
    /// the place of the one of its name, a text that of the one of its key. A file of texts in a new
    /// language (`texts/fr.txt`) adds it; what it leaves out is shown in English. Read once, at
    /// start; a mistake is told with file and line. Default: none.
    pub folder: Option<String>,
    /// Whether a form that a person sends after their session has ended is kept over the login, and
    /// sent on by one click afterwards: forms of browsers (not uploads) of at most 64 KiB, from a
    /// page of the same origin, for 15 minutes, and only if the same account logs in. It is sealed
    /// into the login page, and given back once. Needs `cookies.device`.
    pub keep_forms: bool,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            accent: None,
            logo: None,
            imprint: None,
            privacy: None,
            style: None,
            folder: None,
            keep_forms: true,
        }
    }
}
