//! Where our own endpoints are.

use http::Method;

use super::Endpoint;
use crate::config::Config;
use crate::message::reject::Rejection;

/// All paths that are ours.
#[derive(Debug)]
pub(super) struct Places {
    base: String,
    /// Below the base, where everything is ours.
    near: Vec<Place>,
    /// Everywhere else. Few: each request of an application is compared with them.
    far: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    endpoint: Endpoint,
    path: String,
    /// It is at all that begins with `path`, and has a name behind it.
    under: bool,
    /// Other methods of its path are not ours.
    shared: bool,
    method: Method,
}

impl Places {
    pub(super) fn of(config: &Config) -> Self {
        let base = config.login.base.clone();
        let place = |endpoint: Endpoint| {
            let shape = config.shapes.of(endpoint);
            let (under, shared, method) = (shape.under, shape.moved, shape.method.clone());
            Some(Place { endpoint, path: shape.path.clone()?, under, shared, method })
        };
        let all = Endpoint::ALL.into_iter().filter_map(place);
        let (near, far) = all.partition(|place| is_below(&base, &place.path));
        Self { base, near, far }
    }

    /// Which endpoint a request means; see [`super::Endpoints::find`].
    pub(super) fn find(&self, path: &str, method: &Method) -> Result<Option<Endpoint>, Rejection> {
        let below = is_below(&self.base, path);
        let places = if below { &self.near } else { &self.far };
        let mut here = places.iter().filter(|place| place.has(path)).peekable();
        let Some(first) = here.peek() else {
            return if below { Err(Rejection::NotFound) } else { Ok(None) };
        };
        let shared = first.shared;
        let asked = if *method == Method::HEAD { &Method::GET } else { method };
        match here.find(|place| place.method == *asked) {
            Some(place) => Ok(Some(place.endpoint)),
            None if shared => Ok(None),
            None => Err(Rejection::MethodNotAllowed(allowed(places, path).into())),
        }
    }
}

impl Place {
    fn has(&self, path: &str) -> bool {
        match self.under {
            true => path.strip_prefix(self.path.as_str()).is_some_and(|name| !name.is_empty()),
            false => self.path == path,
        }
    }
}

fn is_below(base: &str, path: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The methods that a path of ours takes.
fn allowed(places: &[Place], path: &str) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for place in places.iter().filter(|place| place.has(path)) {
        match place.method == Method::GET {
            true => methods.extend(["GET", "HEAD"]),
            false => methods.push(place.method.as_str()),
        }
    }
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}
