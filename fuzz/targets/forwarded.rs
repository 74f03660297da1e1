//! Where a request came from and which host it asks for, from fields that anybody can send: one a
//! line, `name:value`. The first line is the request's target.
#![no_main]

use std::net::IpAddr;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Uri};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use sallyport::message::forwarded::client_address;
use sallyport::message::host::requested;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let uri = lines.next().and_then(|line| Uri::try_from(line).ok()).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), &line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let proxies: [IpNet; 2] = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("it is one"));
    let stranger: IpAddr = "192.0.2.1".parse().expect("it is one");
    assert_eq!(client_address(stranger, &headers, &proxies), stranger);
    let proxy: IpAddr = "10.0.0.1".parse().expect("it is one");
    let client = client_address(proxy, &headers, &proxies);
    assert_eq!(client, client.to_canonical());
    if !headers.contains_key("x-forwarded-for") && !headers.contains_key("forwarded") {
        assert_eq!(client, proxy, "nobody said otherwise");
    }
    for https in [false, true] {
        if let Ok(host) = requested(&uri, &headers, https) {
            assert!(!host.name.is_empty() && host.name.is_ascii(), "{host:?}");
            assert_eq!(host.name, host.name.to_ascii_lowercase());
            assert!(!host.name.contains(['/', '@', '?', '#', ' ', ',']), "{host:?}");
        }
    }
});
