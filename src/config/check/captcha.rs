//! `[captcha]`: where tokens are verified, and what our own pages show.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{DAY, Findings, HOUR, MINUTE};
use crate::config::file;
use crate::config::{Act, Captcha, CaptchaWhen, Origin, Quota, Verifier, Widget};
use crate::secret::Secret;

/// Where Turnstile's script is.
const TURNSTILE: &str = "https://challenges.cloudflare.com/turnstile/v0/api.js";
/// The key with which everybody passes, as Turnstile documents it.
const TEST_SECRET: &str = "1x0000000000000000000000000000000AA";

pub(super) fn captcha(
    file: Option<&file::Captcha>,
    listen: &file::Listen,
    found: &mut Findings<'_>,
) -> Option<Option<Captcha>> {
    let Some(file) = file else { return Some(None) };
    let before = found.problems.len();
    let stand_in = file.stand_in.as_ref().map(|text| stand_in(text, listen, found));
    let verifier = verifier(file, stand_in, found);
    let secret = secret(file, found);
    name("captcha.field", &file.field, 64, found);
    name("captcha.widget", &file.widget, 64, found);
    if let Some(action) = &file.action {
        name("captcha.action", action, 32, found);
    }
    let when = when(&file.when, found);
    let bounds = (Duration::from_millis(100), Duration::from_secs(30));
    let timeout = found.period("captcha.timeout", &file.timeout, bounds);
    if file.on.is_empty() {
        let hint = "leave the whole section out for no captcha";
        found.wrong_but("captcha.on", "names nothing to ask it for", hint);
    }
    let widget = widget(file, found);
    if matches!(file.on_failure, file::OnFailure::Allow) {
        let text = "whoever can keep us from reaching the service gets past it";
        found.warn("captcha.on_failure", text, None);
    }
    if file.site_key.is_none() {
        let text = "our own pages show no widget, so that only programs can log in";
        found.warn("captcha", text, Some("set captcha.site_key".to_owned()));
    }
    if found.problems.len() > before {
        return None;
    }
    let mut on: Vec<Act> = file.on.iter().map(|one| act(*one)).collect();
    on.dedup();
    Some(Some(Captcha {
        verifier: verifier?,
        secret: secret?,
        field: file.field.clone(),
        when: when?,
        on,
        allow_on_failure: matches!(file.on_failure, file::OnFailure::Allow),
        timeout: timeout?,
        calls: usize::try_from(file.calls).ok()?,
        hostnames: file.hostnames.iter().map(|host| host.to_ascii_lowercase()).collect(),
        action: file.action.clone(),
        send_address: file.send_address,
        authorities: file.ca.as_ref().map(|path| found.base.join(path)),
        widget,
    }))
}

const fn act(file: file::Asked) -> Act {
    match file {
        file::Asked::Login => Act::Login,
        file::Asked::Signup => Act::Signup,
    }
}

fn name(key: &str, text: &str, most: usize, found: &mut Findings<'_>) {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if text.is_empty() || text.len() > most || !text.bytes().all(fine) {
        found.wrong(key, format!("{text:?} is not 1 to {most} letters, digits, _, - or ."));
    }
}

fn verifier(
    file: &file::Captcha,
    stand_in: Option<Option<SocketAddr>>,
    found: &mut Findings<'_>,
) -> Option<Verifier> {
    let Some(text) = &file.url else {
        if stand_in.is_none() {
            found.wrong("captcha", "needs the key url");
        }
        return stand_in?.map(Verifier::StandIn);
    };
    if stand_in.is_some() {
        found.wrong("captcha.url", "the stand-in is the one that is asked");
        return None;
    }
    let Some((origin, path)) = url(text) else {
        found.wrong("captcha.url", format!("{text:?} is not a URL"));
        return None;
    };
    if !origin.https && !is_loopback(&origin) {
        let text = "the secret would travel in plain text: only https, or http on the loopback";
        found.wrong("captcha.url", text);
        return None;
    }
    Some(Verifier::Service { origin, path })
}

/// Origin, and path with its query.
fn url(text: &str) -> Option<(Origin, String)> {
    let start = text.find("://")? + 3;
    let end = text.get(start..)?.find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    let (origin, path) = text.split_at_checked(end)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"'<>\\".contains(&byte));
    plain.then_some((Origin::parse(origin)?, path))
}

fn is_loopback(origin: &Origin) -> bool {
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn secret(file: &file::Captcha, found: &mut Findings<'_>) -> Option<Secret<String>> {
    let secret = match &file.secret {
        None if file.stand_in.is_some() => Ok(TEST_SECRET.to_owned()),
        None => Err("is needed to ask the service".to_owned()),
        Some(file::TextOrSecret::Text(text)) => Ok(text.clone()),
        Some(file::TextOrSecret::Secret(secret)) => secret.read(found.base).and_then(|bytes| {
            String::from_utf8(bytes.expose().clone()).map_err(|_| "is not text".to_owned())
        }),
    };
    match secret {
        Ok(text) if text.is_empty() || text.len() > 512 || text.chars().any(char::is_control) => {
            found.wrong("captcha.secret", "must have 1 to 512 characters, none of them a control");
            None
        }
        Ok(text) => Some(Secret::new(text)),
        Err(text) => {
            found.wrong("captcha.secret", text);
            None
        }
    }
}

fn when(file: &file::When, found: &mut Findings<'_>) -> Option<CaptchaWhen> {
    let file::When::After(after) = file else { return Some(CaptchaWhen::Always) };
    let per = match &after.per {
        Some(per) => found.period("captcha.when.per", per, (MINUTE, 7 * DAY))?,
        None => HOUR,
    };
    let count = NonZeroU32::new(after.after_failures)?;
    Some(CaptchaWhen::AfterFailures(Quota { count, per }))
}

fn stand_in(text: &str, listen: &file::Listen, found: &mut Findings<'_>) -> Option<SocketAddr> {
    const KEY: &str = "captcha.stand_in";
    let address = found.address(KEY, text)?;
    if !address.ip().is_loopback() {
        found.wrong(KEY, format!("{address} is not on the loopback"));
        return None;
    }
    let open = [&listen.https, &listen.http]
        .into_iter()
        .flatten()
        .find(|text| !text.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback()));
    if let Some(open) = open {
        let text = format!("everybody passes it, and {open} is open to others than this machine");
        found.wrong_but(KEY, text, "it is for demonstrations on the loopback");
        return None;
    }
    let text = "a stand-in for a captcha: everybody passes who asks it";
    found.warn(KEY, text, Some("name a service by captcha.url".to_owned()));
    Some(address)
}

fn widget(file: &file::Captcha, found: &mut Findings<'_>) -> Option<Widget> {
    let key_fits = |key: &String| key.len() <= 128 && key.bytes().all(|b| b.is_ascii_graphic());
    let site_key = file.site_key.as_ref()?;
    if site_key.is_empty() || !key_fits(site_key) {
        found.wrong("captcha.site_key", format!("{site_key:?} is not a site key"));
    }
    let script = match (&file.script, &file.stand_in) {
        (Some(script), _) => Some(script.clone()),
        (None, Some(_)) => None,
        (None, None) => Some(TURNSTILE.to_owned()),
    };
    let mut origins = Vec::new();
    if let Some(script) = &script {
        match url(script) {
            Some((origin, _)) => origins.push(origin.ascii()),
            None => found.wrong("captcha.script", format!("{script:?} is not a URL")),
        }
    }
    for (index, text) in file.origins.iter().flatten().enumerate() {
        match source(text) {
            Some(source) if !origins.contains(&source) => origins.push(source),
            Some(_) => {}
            None => found.wrong_but(
                &format!("captcha.origins[{index}]"),
                format!("{text:?} is not a whole origin"),
                "write scheme and host, such as \"https://hcaptcha.com\"",
            ),
        }
    }
    let (site_key, class) = (site_key.clone(), file.widget.clone());
    Some(Widget { site_key, script, class, origins })
}

/// An origin, or all hosts below one (CSP3 section 2.3.1).
fn source(text: &str) -> Option<String> {
    match text.split_once("://*.") {
        Some((scheme, host)) => {
            let origin = Origin::parse(&format!("{scheme}://{host}"))?;
            Some(origin.ascii().replacen("://", "://*.", 1))
        }
        None => Origin::parse(text).map(|origin| origin.ascii()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{CaptchaWhen, Config, Verifier};

    const REST: &str = "[[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n\
                        [[route]]\npath = \"/**\"\n";

    fn parse(listen: &str, lines: &str) -> Result<Config, String> {
        let text = format!("[listen]\n{listen}\n[captcha]\n{lines}\n{REST}");
        Config::parse(&text, Path::new("gateway.toml")).map_err(|error| error.to_string())
    }

    const DEV: &str = "dev_http = \"127.0.0.1:0\"";
    const OPEN: &str = "https = \"0.0.0.0:8443\"";

    #[test]
    fn a_service_needs_a_url_and_a_secret_and_the_rest_has_defaults() {
        let lines = "url = \"https://siteverify.example/v0/siteverify?x=1\"\nsecret = \"s\"\n\
                     site_key = \"k\"";
        let config = parse(OPEN, lines).unwrap();
        let captcha = config.captcha.unwrap();
        let Verifier::Service { origin, path } = captcha.verifier else { panic!("a service") };
        assert_eq!(origin.ascii(), "https://siteverify.example");
        assert_eq!(path, "/v0/siteverify?x=1");
        assert_eq!(captcha.when, CaptchaWhen::Always);
        assert!(!captcha.allow_on_failure && !captcha.send_address);
        let widget = captcha.widget.unwrap();
        assert_eq!(widget.origins, ["https://challenges.cloudflare.com"]);
        assert_eq!(config.warnings, []);
        assert_eq!(format!("{:?}", captcha.secret), "Secret(..)");
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        for (listen, lines, says) in [
            (OPEN, "secret = \"s\"", "needs the key url"),
            (OPEN, "url = \"https://a.example/x\"", "is needed to ask the service"),
            (OPEN, "url = \"http://a.example/x\"\nsecret = \"s\"", "in plain text"),
            (OPEN, "url = \"siteverify\"\nsecret = \"s\"", "is not a URL"),
            (OPEN, "url = \"https://a.example/x y\"\nsecret = \"s\"", "is not a URL"),
            (OPEN, "url = \"https://a.example/\"\nsecret = \"s\"\non = []", "names nothing"),
            (OPEN, "url = \"https://a.example/\"\nsecret = { env = \"NO_SUCH\" }", "is not set"),
            (OPEN, "url = \"https://a.example/\"\nsecret = \"s\"\nfield = \"a b\"", "letters"),
            (
                OPEN,
                "url = \"https://a.example/\"\nsecret = \"s\"\nfield = \"password\"",
                "captcha.field: \"password\" is password already",
            ),
            (
                OPEN,
                "url = \"https://a.example/\"\nsecret = \"s\"\non = [\"login\"]\n\
                 [endpoints.signup]\nfields = { captcha = \"x\" }",
                "endpoints.signup.fields.captcha: no field of this endpoint",
            ),
            (
                OPEN,
                "url = \"https://a.example/\"\nsecret = \"s\"\nsite_key = \"k\"\n\
                 origins = [\"hcaptcha.com; script-src *\"]",
                "is not a whole origin",
            ),
            (OPEN, "stand_in = \"127.0.0.1:9155\"", "open to others"),
            (DEV, "stand_in = \"192.0.2.1:9155\"", "is not on the loopback"),
            (
                DEV,
                "stand_in = \"127.0.0.1:9155\"\nurl = \"https://a.example/\"",
                "the stand-in is the one",
            ),
            (
                OPEN,
                "url = \"https://a.example/\"\nsecret = \"s\"\nwhen = { after_failures = 0 }",
                "captcha.when",
            ),
        ] {
            let error = parse(listen, lines).unwrap_err();
            assert!(error.contains(says), "{lines}: {error}");
        }
    }

    #[test]
    fn the_stand_in_says_at_start_what_it_is() {
        let config = parse(DEV, "stand_in = \"127.0.0.1:0\"\nsite_key = \"k\"").unwrap();
        let told = config.warnings.iter().any(|one| one.text.contains("everybody passes"));
        assert!(told, "{:?}", config.warnings);
        let captcha = config.captcha.unwrap();
        assert!(matches!(captcha.verifier, Verifier::StandIn(_)));
        assert_eq!(captcha.widget.unwrap().script, None);
    }

    #[test]
    fn origins_may_name_all_hosts_below_one() {
        let lines = "url = \"https://a.example/\"\nsecret = \"s\"\nsite_key = \"k\"\n\
                     script = \"https://js.hcaptcha.com/1/api.js\"\nwidget = \"h-captcha\"\n\
                     origins = [\"https://hcaptcha.com\", \"https://*.hcaptcha.com\"]";
        let widget = parse(OPEN, lines).unwrap().captcha.unwrap().widget.unwrap();
        assert_eq!(
            widget.origins,
            ["https://js.hcaptcha.com", "https://hcaptcha.com", "https://*.hcaptcha.com"]
        );
    }
}
