//! A cookie jar that obeys as a browser does (RFC 6265bis section 5): names and their prefixes,
//! paths, lifetimes. One host over TLS, so domains play no part but to be refused.

use std::time::Duration;

use sallyport::clock::Timestamp;

/// The cookies that one browser holds for the gateway.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jar(Vec<Kept>);

#[derive(Debug, Clone)]
struct Kept {
    name: String,
    value: String,
    path: String,
    /// `None`: until the browser ends.
    expires: Option<Timestamp>,
}

impl Jar {
    /// Takes a `Set-Cookie` field in; what no browser would keep is dropped.
    pub(crate) fn learn(&mut self, field: &str, now: Timestamp) {
        let mut parts = field.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let (mut path, mut age, mut secure, mut domain) = ("/", None, false, false);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.to_ascii_lowercase().as_str() {
                "path" => path = value,
                "max-age" => age = value.parse::<i64>().ok(),
                "secure" => secure = true,
                "domain" => domain = true,
                _ => {}
            }
        }
        let host_rules = !name.starts_with("__Host-") || (secure && path == "/" && !domain);
        let secure_rules = !name.starts_with("__Secure-") || secure;
        // Nobody but `localhost` itself is ever asked here.
        if !host_rules || !secure_rules || domain || field.len() > 4096 + 1024 {
            return;
        }
        self.0.retain(|one| (one.name.as_str(), one.path.as_str()) != (name, path));
        let age = age.map(|secs| u64::try_from(secs).unwrap_or(0));
        if age != Some(0) {
            let expires = age.map(|secs| now.plus(Duration::from_secs(secs)));
            let (name, value) = (name.to_owned(), value.to_owned());
            self.0.push(Kept { name, value, path: path.to_owned(), expires });
        }
    }

    /// The `Cookie` field for a request to `path`, if there is anything to send.
    pub(crate) fn field(&self, path: &str, now: Timestamp) -> Option<String> {
        let path = path.split('?').next().unwrap_or_default();
        let under = |cookie: &&Kept| {
            // RFC 6265bis section 5.1.4.
            path.strip_prefix(cookie.path.as_str()).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('/') || cookie.path.ends_with('/')
            })
        };
        let alive = |cookie: &&Kept| cookie.expires.is_none_or(|end| now < end);
        let sent = self.0.iter().filter(under).filter(alive);
        let pairs: Vec<_> = sent.map(|one| format!("{}={}", one.name, one.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The value of a cookie, whether or not its time is over.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|one| one.name == name).map(|one| one.value.as_str())
    }

    /// Puts a cookie in by hand, for `/` and until the browser ends.
    pub(crate) fn put(&mut self, name: &str, value: &str) {
        self.remove(name);
        let (name, value) = (name.to_owned(), value.to_owned());
        self.0.push(Kept { name, value, path: "/".to_owned(), expires: None });
    }

    /// Takes a cookie out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|one| one.name != name);
    }

    /// Takes all out.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The browser is closed and opened again: what has no lifetime of its own is gone.
    pub(crate) fn end_browser(&mut self) {
        self.0.retain(|one| one.expires.is_some());
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is nothing in it by which anybody would be signed in. The device cookie outlives
    /// sessions.
    pub(crate) fn opens_nothing(&self) -> bool {
        self.0.iter().all(|one| one.name.ends_with("sallyport_device"))
    }
}
