//! Cookie names, prefixes and the domain that they are shared in (RFC 6265bis sections 4.1.3, 5.7).

use std::net::IpAddr;

use super::Findings;
use crate::config::file;
use crate::config::shape::Shapes;
use crate::config::{Cookies, Endpoint, Origin, PathPattern, SameSite, split_host_port};

const HOST: &str = "__Host-";
const SECURE: &str = "__Secure-";

/// Where browsers send the refresh cookie: to the base only, if nothing but our own endpoints asks
/// for it and they are all there.
pub(super) fn refresh_path(
    style: file::RefreshStyle,
    base: Option<&PathPattern>,
    shapes: Option<&Shapes>,
) -> String {
    let askers = [Endpoint::Refresh, Endpoint::Logout, Endpoint::Login];
    let near = shapes.is_none_or(|shapes| askers.iter().all(|one| !shapes.of(*one).moved));
    match base.filter(|_| near && matches!(style, file::RefreshStyle::Explicit)) {
        Some(base) => base.to_string(),
        None => "/".to_owned(),
    }
}

pub(super) fn cookies(
    file: &file::Cookies,
    refresh_path: String,
    public_url: Option<&Origin>,
    dev: bool,
    found: &mut Findings<'_>,
) -> Option<Cookies> {
    let before = found.problems.len();
    let narrow = refresh_path != "/";
    let domain = file.domain.as_deref().and_then(|text| domain(text, public_url, found));
    let shared = file.domain.is_some();
    let access = name("access", file.access.as_deref(), shared, false, found);
    let refresh = name("refresh", file.refresh.as_deref(), shared, narrow, found);
    let device = device(file.device.as_ref(), shared, found);
    let [access, refresh] = if dev { [bare(access), bare(refresh)] } else { [access, refresh] };
    let device = if dev { device.map(bare) } else { device };
    if access.eq_ignore_ascii_case(&refresh) {
        found.wrong("cookies.refresh", "the same name as cookies.access");
    }
    for (other, name) in [("cookies.access", &access), ("cookies.refresh", &refresh)] {
        if device.as_ref().is_some_and(|device| device.eq_ignore_ascii_case(name)) {
            found.wrong("cookies.device", format!("the same name as {other}"));
        }
    }
    let minted = file.minted.as_deref().map(|text| {
        let minted = name("minted", Some(text), shared, false, found);
        if dev { bare(minted) } else { minted }
    });
    if let Some(minted) = &minted {
        let others = [("access", Some(&access)), ("refresh", Some(&refresh))];
        for (which, other) in others.into_iter().chain([("device", device.as_ref())]) {
            let Some(other) = other else { continue };
            if minted.eq_ignore_ascii_case(other) {
                found.wrong("cookies.minted", format!("the same name as cookies.{which}"));
            }
        }
    }
    let same_site = match file.same_site {
        file::SameSite::Lax => SameSite::Lax,
        file::SameSite::Strict => SameSite::Strict,
        file::SameSite::None => SameSite::None,
    };
    if dev && same_site == SameSite::None {
        let text = "browsers take such cookies over TLS only, so not on dev_http";
        found.wrong("cookies.same_site", text);
    }
    if found.problems.len() > before {
        return None;
    }
    let secure = !dev;
    Some(Cookies { access, refresh, device, minted, refresh_path, domain, same_site, secure })
}

/// The name of one cookie. `narrow`: it goes to one path only.
fn name(
    which: &str,
    text: Option<&str>,
    shared: bool,
    narrow: bool,
    found: &mut Findings<'_>,
) -> String {
    let Some(text) = text else {
        let prefix = if shared || narrow { SECURE } else { HOST };
        return format!("{prefix}sallyport_{which}");
    };
    let key = format!("cookies.{which}");
    let prefixed = |prefix: &str| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    // RFC 6265bis section 4.1.1: a token (RFC 9110 section 5.6.2).
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let bare = text.len() - bare_of(text).len();
    if text.len() == bare || text.len() > 128 || !text.bytes().all(token) {
        found.wrong(&key, format!("{text:?} is not a cookie name"));
    } else if bare == 0 && (prefixed(HOST) || prefixed(SECURE)) {
        // Browsers read the prefixes in any case and hold such cookies to the same rules.
        found.wrong(&key, format!("{text:?}: write the prefix as {HOST} or {SECURE}"));
    } else if text.starts_with(HOST) && shared {
        let hint = format!("write {SECURE}{}", bare_of(text));
        found.wrong_but(&key, format!("{HOST} does not go with cookies.domain"), hint);
    } else if text.starts_with(HOST) && narrow {
        let hint = format!("write {SECURE}{}", bare_of(text));
        let text = format!("{HOST} demands Path=/, and in the explicit style it has the base path");
        found.wrong_but(&key, text, hint);
    }
    text.to_owned()
}

fn device(
    file: Option<&file::NameOrOff>,
    shared: bool,
    found: &mut Findings<'_>,
) -> Option<String> {
    match file {
        None => Some(name("device", None, shared, false, found)),
        Some(file::NameOrOff::Name(text)) => Some(name("device", Some(text), shared, false, found)),
        Some(file::NameOrOff::Off(false)) => None,
        Some(file::NameOrOff::Off(true)) => {
            found.wrong("cookies.device", "is a name, or false for none");
            None
        }
    }
}

fn bare_of(name: &str) -> &str {
    name.strip_prefix(HOST).or_else(|| name.strip_prefix(SECURE)).unwrap_or(name)
}

fn bare(name: String) -> String {
    bare_of(&name).to_owned()
}

fn domain(text: &str, public_url: Option<&Origin>, found: &mut Findings<'_>) -> Option<String> {
    const KEY: &str = "cookies.domain";
    if let Some(plain) = text.strip_prefix('.') {
        found.wrong_but(KEY, "begins with a dot", format!("write {plain:?}"));
        return None;
    }
    let Some((domain, None)) = split_host_port(text) else {
        found.wrong(KEY, format!("{text:?} is not a domain"));
        return None;
    };
    if domain.parse::<IpAddr>().is_ok() || domain.starts_with('[') {
        found.wrong(KEY, "an address has no hosts below it");
        return None;
    }
    if !domain.contains('.') {
        found.wrong(KEY, format!("browsers set no cookies for all of {domain:?}"));
        return None;
    }
    if let Some(url) = public_url {
        let below = url.host.strip_suffix(domain.as_str());
        if !below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) {
            let text = format!("does not hold the host of listen.public_url ({})", url.host);
            found.wrong(KEY, text);
            return None;
        }
    }
    if looks_public(&domain) {
        let hint = "name a domain of your own below it".to_owned();
        found.warn(KEY, "looks like a public suffix, for which browsers drop cookies", Some(hint));
    }
    Some(domain)
}

/// `co.uk`, `com.au`: a short label under a country. The whole list of public suffixes would be a
/// dependency that is out of date the day after.
fn looks_public(domain: &str) -> bool {
    domain.split_once('.').is_some_and(|(label, country)| label.len() <= 3 && country.len() == 2)
}
