//! `[pages]`: what is named must be there.

use std::path::Path;

use super::problems::of;
use super::{DEV, parse};

#[test]
fn the_looks_of_pages_are_read_and_their_files_start_at_the_config() {
    let config = parse(&format!(
        "{DEV}[pages]\naccent = \"#123\"\nimprint = \"/imprint\"\nprivacy = \"mailto:a@b.test\"\n\
         logo = \"Cargo.toml\"\nfolder = \"docs\"\n"
    ));
    assert_eq!(config.pages.accent.as_deref(), Some("#123"));
    assert_eq!(config.pages.imprint.as_deref(), Some("/imprint"));
    assert_eq!(config.pages.privacy.as_deref(), Some("mailto:a@b.test"));
    assert_eq!(config.pages.logo.as_deref(), Some(Path::new("Cargo.toml")));
    assert_eq!(config.pages.folder.as_deref(), Some(Path::new("docs")));
    assert_eq!(config.pages.style, None);
}

#[test]
fn a_brand_file_that_is_missing_is_told_with_its_line() {
    let told = of("[pages]\nlogo = \"no/logo.svg\"\nstyle = \"no.css\"\nfolder = \"no/pages\"\n");
    assert_eq!(told.len(), 3, "{told:?}");
    for (line, start) in told.iter().zip([
        "gateway.toml:4: pages.logo: no/logo.svg: ",
        "gateway.toml:5: pages.style: no.css: ",
        "gateway.toml:6: pages.folder: no/pages: ",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
}
