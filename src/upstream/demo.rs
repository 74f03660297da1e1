//! The built-in demonstration application: shows the method, path and headers that an application
//! behind the gateway receives. A real server on a loopback port, reached like any other.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// Bytes of a request body that it reads; it only says how many there were.
const BODY_BYTES: usize = 16 * 1024 * 1024;

/// Starts it on a free loopback port of the present runtime, and says where.
///
/// # Errors
/// If no port could be bound.
pub async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service_fn(show));
                // The gateway is its only client, and sees for itself what went wrong.
                let _closed = connection.await;
            });
        }
    });
    Ok(address)
}

async fn show(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let length = match Limited::new(body, BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes().len(),
        Err(_) => 0,
    };
    let wants_page = head
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let (kind, text) = if wants_page {
        ("text/html; charset=utf-8", page(&head, length))
    } else {
        ("application/json", json(&head, length))
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

fn json(head: &http::request::Parts, length: usize) -> String {
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| {
            serde_json::json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
        })
        .collect();
    let shown = serde_json::json!({
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
        "headers": headers,
        "body_bytes": length,
    });
    format!("{shown:#}\n")
}

fn page(head: &http::request::Parts, length: usize) -> String {
    let mut rows = String::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let own = if name.as_str().starts_with("x-auth-") { " class=\"own\"" } else { "" };
        let (name, value) = (escape(name.as_str()), escape(&value));
        let _ = write!(rows, "<tr{own}><th scope=\"row\">{name}</th><td>{value}</td></tr>");
    }
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let (method, path) = (escape(head.method.as_str()), escape(path));
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Demo application</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;\
         padding:0 1rem;color-scheme:light dark}}table{{border-collapse:collapse;width:100%}}\
         th,td{{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884;\
         font-family:ui-monospace,monospace;font-size:.9rem;overflow-wrap:anywhere}}\
         th{{white-space:nowrap;font-weight:400}}.own{{background:#4a90d922}}</style>\
         <main><h1>Demo application</h1><p>This is what an application behind the gateway \
         received. The marked rows say who you are; a visitor cannot forge them.</p>\
         <p><code>{method} {path}</code>, {length} bytes of body</p>\
         <table><tbody>{rows}</tbody></table>\
         <p><a href=\"/auth/logout\">Log out</a></p></main></html>\n"
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
