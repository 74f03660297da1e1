//! The PROXY header that a load balancer begins a connection with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sallyport::listen::read_proxy_header;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    if let Some(Some(address)) = read_proxy_header(&mut rest) {
        assert_eq!(address.ip(), address.ip().to_canonical());
    }
    assert!(data.ends_with(rest), "only the front is read");
});
