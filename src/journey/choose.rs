//! Step 2: host, path and method -> the one route that rules. No match is closed.

use http::Method;
use http::request::Parts as Head;

use super::admit::{Target, Visit};
use super::{Journey, cors};
use crate::config::Route;
use crate::message::path;
use crate::message::reject::Rejection;

impl Journey {
    /// The route of a request.
    pub(super) fn route(
        &self,
        target: &Target<'_>,
        method: &Method,
        visit: &mut Visit,
    ) -> Result<&Route, Rejection> {
        let routes = &self.shared.routes;
        let find = |path: &str| routes.find_index(&target.host.name, path, method);
        let found = find(&target.path);
        // `/admin;x` is `/admin` to some applications and another path to others, and `/admin%21` is
        // `/admin!`. Where the rule would differ, neither reading is ours to choose.
        let elsewhere =
            |path: &str| path::without_parameters(path).is_some_and(|cut| find(&cut) != found);
        let plain_elsewhere = |plain: &str| find(plain) != found || elsewhere(plain);
        if !path::is_plain_to_all(&target.path)
            && (elsewhere(&target.path)
                || path::with_plain_delimiters(&target.path)
                    .is_some_and(|plain| plain_elsewhere(&plain)))
        {
            return Err(Rejection::AmbiguousPath);
        }
        visit.route = found;
        found.and_then(|index| routes.routes().get(index)).ok_or(Rejection::NotFound)
    }

    /// The same for a preflight: a route that names `OPTIONS`, else the one of the request to come.
    pub(super) fn route_of_preflight(
        &self,
        target: &Target<'_>,
        head: &Head,
        visit: &mut Visit,
    ) -> Result<&Route, Rejection> {
        let asked = self.route(target, &head.method, visit);
        if matches!(&asked, Ok(route) if route.methods.is_some()) {
            return asked;
        }
        match cors::wanted_method(head) {
            Some(wanted) => self.route(target, &wanted, visit),
            None => asked,
        }
    }
}
