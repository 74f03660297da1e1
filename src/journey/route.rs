//! Step 2: which route a request takes. The most specific one, never the first of the file; and no
//! route at all when none names the request.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use http::Method;

use crate::config::{HostPattern, Route, Segment};

/// All routes, arranged for finding. Finding costs the same with ten routes and with ten thousand.
///
/// Of the routes whose host, path and methods all name the request, that one wins whose
/// 1. host is more specific: exact, then wildcard, then any;
/// 2. path is more specific at the first segment in which they differ: a literal, then `*`, then
///    `**` (so a longer literal path wins over a shorter one with `**`);
/// 3. methods are named, over any method.
///
/// A route with other methods does not name the request, so less specific ones are asked: `POST
/// /admin/**` with permissions leaves `GET /admin/x` to `/**`. A route that names GET names HEAD
/// too, unless another one with the same host and path names HEAD itself: otherwise HEAD would be a
/// way around what GET asks.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Route>,
    /// Roots by exact host.
    exact: HashMap<String, NodeId>,
    /// Roots by what follows the first label of a host.
    wildcard: HashMap<String, NodeId>,
    /// The root of the routes for any host.
    any: NodeId,
    nodes: Vec<Node>,
}

type NodeId = usize;

/// What the routes say of the paths that begin as the way to this node does.
#[derive(Debug, Default)]
struct Node {
    literals: Literals,
    /// `*`
    one: Option<NodeId>,
    /// Routes whose path ends here.
    here: ByMethod,
    /// Routes whose path goes on with `**`.
    rest: ByMethod,
}

/// The ways on from a node by a literal segment.
#[derive(Debug)]
enum Literals {
    /// Up to [`FEW`]: comparing them all costs less than a hash, and they lie side by side.
    Few(Vec<(Box<str>, NodeId)>),
    Many(HashMap<Box<str>, NodeId, BuildHasherDefault<SegmentHasher>>),
}

const FEW: usize = 6;

/// Routes with one host and path, by method.
#[derive(Debug, Default)]
struct ByMethod {
    named: Vec<(Method, usize)>,
    any: Option<usize>,
}

impl RouteTable {
    /// Arranges `routes`. Of two that tie, which the config's check refuses, the first stays.
    pub fn new(routes: Vec<Route>) -> Self {
        let mut table = Self {
            routes: Vec::new(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            any: 0,
            nodes: vec![Node::default()],
        };
        for (index, route) in routes.iter().enumerate() {
            table.add(index, route);
        }
        table.routes = routes;
        table
    }

    /// The route for a request: `host` as `message::host` has read it, `path` canonical. `None`
    /// when no route names it; it is refused then.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Option<&Route> {
        self.routes.get(self.find_index(host, path, method)?)
    }

    /// The same as its place in [`Self::routes`].
    pub fn find_index(&self, host: &str, path: &str, method: &Method) -> Option<usize> {
        let path = path.strip_prefix('/')?;
        let among = |root: NodeId| self.search(root, Some(path), method);
        // Most configs name no host; then there is nothing to hash.
        let exact = if self.exact.is_empty() { None } else { self.exact.get(host) };
        let wildcard = if self.wildcard.is_empty() { None } else { self.parent(host) };
        exact
            .and_then(|&root| among(root))
            .or_else(|| wildcard.and_then(among))
            .or_else(|| among(self.any))
    }

    /// All routes, in the order of the file.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The root for `*.suffix` that `host` belongs to: any one label before it.
    fn parent(&self, host: &str) -> Option<NodeId> {
        let (label, suffix) = host.split_once('.')?;
        if label.is_empty() { None } else { self.wildcard.get(suffix).copied() }
    }

    /// The most specific route below `node` for what is left of a path; `None` when all of it has
    /// been matched.
    ///
    /// Each branch that could match is tried in the order of specificity, so the first hit wins. A
    /// node has one parent and can be reached at one depth only; therefore no node is visited twice,
    /// and the work is bounded by the number of patterns that could still match, which the operator
    /// wrote, whatever the path is. The recursion is as deep as the deepest pattern at most.
    fn search(&self, node: NodeId, left: Option<&str>, method: &Method) -> Option<usize> {
        let node = self.nodes.get(node)?;
        let Some(left) = left else {
            return node.here.find(method).or_else(|| node.rest.find(method));
        };
        let (segment, left) = match left.split_once('/') {
            Some((segment, left)) => (segment, Some(left)),
            None => (left, None),
        };
        let literal = node.literals.get(segment);
        // A trailing slash makes an empty segment, which `*` does not match.
        let one = node.one.filter(|_| !segment.is_empty());
        literal
            .and_then(|next| self.search(next, left, method))
            .or_else(|| one.and_then(|next| self.search(next, left, method)))
            .or_else(|| node.rest.find(method))
    }

    fn add(&mut self, index: usize, route: &Route) {
        let mut node = self.root(route.host.as_ref());
        for segment in &route.path.segments {
            node = match segment {
                Segment::Literal(text) => self.below(node, text),
                Segment::One => self.below_any(node),
                Segment::Rest => {
                    if let Some(node) = self.nodes.get_mut(node) {
                        node.rest.add(index, route);
                    }
                    return;
                }
            };
        }
        if let Some(node) = self.nodes.get_mut(node) {
            node.here.add(index, route);
        }
    }

    fn root(&mut self, host: Option<&HostPattern>) -> NodeId {
        let fresh = self.nodes.len();
        let root = match host {
            None => return self.any,
            Some(HostPattern::Exact(name)) => *self.exact.entry(name.clone()).or_insert(fresh),
            Some(HostPattern::Wildcard(suffix)) => {
                *self.wildcard.entry(suffix.clone()).or_insert(fresh)
            }
        };
        self.grow(root);
        root
    }

    fn below(&mut self, node: NodeId, literal: &str) -> NodeId {
        let fresh = self.nodes.len();
        let next = self
            .nodes
            .get_mut(node)
            .map_or(fresh, |node| node.literals.get_or_insert(literal, fresh));
        self.grow(next);
        next
    }

    fn below_any(&mut self, node: NodeId) -> NodeId {
        let fresh = self.nodes.len();
        let next = self.nodes.get_mut(node).map_or(fresh, |node| *node.one.get_or_insert(fresh));
        self.grow(next);
        next
    }

    /// Makes the node `id`, if it is the next one.
    fn grow(&mut self, id: NodeId) {
        if id == self.nodes.len() {
            self.nodes.push(Node::default());
        }
    }
}

impl Default for Literals {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Literals {
    fn get(&self, segment: &str) -> Option<NodeId> {
        match self {
            Self::Few(few) => {
                few.iter().find_map(|(literal, next)| (**literal == *segment).then_some(*next))
            }
            Self::Many(many) => many.get(segment).copied(),
        }
    }

    fn get_or_insert(&mut self, literal: &str, fresh: NodeId) -> NodeId {
        if let Some(next) = self.get(literal) {
            return next;
        }
        match self {
            Self::Few(few) if few.len() < FEW => few.push((literal.into(), fresh)),
            Self::Few(few) => {
                let mut many: HashMap<_, _, _> = std::mem::take(few).into_iter().collect();
                many.insert(literal.into(), fresh);
                *self = Self::Many(many);
            }
            Self::Many(many) => _ = many.insert(literal.into(), fresh),
        }
        fresh
    }
}

impl ByMethod {
    fn add(&mut self, index: usize, route: &Route) {
        match &route.methods {
            None => _ = self.any.get_or_insert(index),
            Some(methods) => {
                self.named.extend(methods.iter().map(|method| (method.clone(), index)));
            }
        }
    }

    fn find(&self, method: &Method) -> Option<usize> {
        let named = |wanted: &Method| {
            self.named.iter().find_map(|(named, index)| (named == wanted).then_some(*index))
        };
        if self.named.is_empty() {
            return self.any;
        }
        // RFC 9110 section 9.3.2: HEAD is GET without the content.
        let as_get = || if method == Method::HEAD { named(&Method::GET) } else { None };
        named(method).or_else(as_get).or(self.any)
    }
}

/// A multiplicative hash, eight bytes at a time, for the literals of a node. What is *in* the map
/// comes from the config; a client only chooses what is looked up, and cannot make the map's chains
/// longer by it. So nothing is gained by a keyed hash, which costs several times as much on short
/// segments.
#[derive(Debug, Default)]
struct SegmentHasher(u64);

impl Hasher for SegmentHasher {
    fn write(&mut self, bytes: &[u8]) {
        const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
        let (words, rest) = bytes.as_chunks::<8>();
        let mut hash = self.0;
        for word in words {
            hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME);
        }
        for &byte in rest {
            hash = (hash.rotate_left(5) ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        // The map takes its group from the low bits and its tag from the high ones: mix both.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
