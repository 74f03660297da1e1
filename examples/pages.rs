//! Writes every page in every variant and language into a folder, to be looked at in a browser:
//! `cargo run --example pages -- /tmp/pages`. The folder's path is plain ASCII and absolute.

use std::error::Error;
use std::fs;
use std::path::Path;

use sallyport::endpoints::pages::{PageSettings, Pages, samples};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: pages FOLDER")?;
    // The folder stands in for the base path, so that links to assets work from a file.
    let pages = Pages::new(PageSettings {
        base: folder.clone(),
        site_name: "Field Notes".to_owned(),
        signup: true,
        reset: true,
        ..PageSettings::default()
    })?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder.join("assets"))?;
    for name in ["style.css", "page.js", "icon.svg"] {
        if let Some(asset) = pages.asset(name) {
            fs::write(folder.join("assets").join(name), &asset.body)?;
        }
    }
    for tag in ["en", "de"] {
        let language = pages.language(Some(tag));
        for (number, page) in samples().iter().enumerate() {
            let name = format!("{}-{number:02}-{tag}.html", page.name());
            fs::write(folder.join(name), pages.render(page, language).html)?;
        }
    }
    Ok(())
}
